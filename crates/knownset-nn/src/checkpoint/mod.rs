//! What the folders of released checkpoints have in common: JSON configurations, and weights in one file or several.

mod design;
mod error;
mod files;
mod image;
mod section;

use std::fmt::Debug;

use knownset_core::digest::Hasher;

pub(crate) use design::Design;
pub use error::CheckpointError;
pub(crate) use files::{HUGGING_FACE, weights};
pub(crate) use section::Section;

/// Digest of all that decides what a network says: that of its weights, everything else that was read, and its tokenizer.
pub(crate) fn digest(weights: &str, read: &dyn Debug, tokenizer: &str) -> String {
    let mut hasher = Hasher::default();
    hasher.field(weights.as_bytes()).field(format!("{read:?}").as_bytes()).field(tokenizer.as_bytes());
    hasher.finish()
}
