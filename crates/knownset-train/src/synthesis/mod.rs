//! Images that nobody took, as stages with files between them.
//!
//! FodFoM (Chen et al. 2024, <https://arxiv.org/abs/2412.05293>) makes outliers in two ways: captions of training images
//! → text features → those at the edge of their class, moved outwards → conditions of a generator → images; and boxes
//! around the known object → the image with the boxes blurred. What a network does not do is here: numbers in, numbers
//! out.

mod background;
mod edges;
mod outward;

pub use background::{LARGEST, Pixels, Rejected, WINDOW, blurred};
pub use edges::{EdgeError, Nearness, edges};
pub use outward::{Direction, Outward};
