//! What checkpoint folders of Hugging Face's layout have in common, whatever network is in them: JSON files, and weights
//! in one file or in several with an index.

mod error;
mod image;
mod section;
mod weights;

pub use error::FolderError;
pub(crate) use section::Section;
pub(crate) use weights::{HUGGING_FACE, weights};
