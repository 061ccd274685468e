//! Images that nobody took, as stages with files between them.
//!
//! FodFoM (Chen et al. 2024, <https://arxiv.org/abs/2412.05293>) makes outliers in two ways: captions of training images
//! → text features → those at the edge of their class, moved outwards → conditions of a generator → images; and boxes
//! around the known object → the image with the boxes blurred. What a network does not do is here: numbers in, numbers
//! out; and what a network that draws is to the rest, a [`Generator`].

mod background;
mod edges;
mod generator;
mod outward;
mod tokens;

pub use background::{Pixels, Rejected, WINDOW, blurred};
pub use edges::{EdgeError, Edges, Nearness, edges};
pub use generator::{Diffusion, Generator, Wanted};
pub use outward::{Direction, Outward};
pub use tokens::{ProjectionError, TextProjection, spliced};
