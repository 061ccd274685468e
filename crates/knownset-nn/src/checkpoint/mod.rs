//! What the folders of released checkpoints have in common: JSON configurations, and weights in one file or several.

mod design;
mod error;
mod files;
mod image;
mod section;

pub(crate) use design::Design;
pub use error::CheckpointError;
pub(crate) use files::{HUGGING_FACE, weights};
pub(crate) use section::Section;
