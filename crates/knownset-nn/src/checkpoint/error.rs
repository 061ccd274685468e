//! What can be wrong with a checkpoint folder.

use std::io;
use std::path::PathBuf;

use crate::network::Mismatch;
use crate::tokenizer::TokenizerError;
use crate::weights::WeightsError;

/// A model that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file that cannot be opened or read; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder without weights.
    #[error("{}: no weights: none of {names}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// Names looked for.
        names: String,
    },
    /// A weights file that cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Tensors that are not this model's.
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
    /// A configuration that is broken, contradicts the weights, or asks for what this program does not do.
    #[error("{}: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No tokenizer, or one that does not fit the model.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
