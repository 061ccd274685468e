//! What can be wrong with a CLIP checkpoint folder.

use std::io;
use std::path::PathBuf;

use crate::folder::FolderError;
use crate::network::Mismatch;
use crate::tokenizer::TokenizerError;
use crate::weights::WeightsError;

/// A CLIP model that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// A file that cannot be written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A weights file that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Tensors that are no CLIP's.
    #[error("{}: {what}", path.display())]
    Layout {
        /// The weights.
        path: PathBuf,
        /// What is missing or odd.
        what: String,
    },
    /// Tensors missing, left over or of the wrong shape. Names are Hugging Face's, whatever the file's.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A file of the folder that is missing or broken, contradicts the weights, or asks for what this program does not do.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No tokenizer, or one that does not fit the text tower.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
