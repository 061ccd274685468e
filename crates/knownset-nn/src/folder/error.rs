//! What can be wrong with the files of a checkpoint folder.

use std::io;
use std::path::PathBuf;

use crate::weights::WeightsError;

/// A checkpoint folder whose files cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
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
    /// A configuration that is broken, contradicts the weights, or asks for what this program does not do.
    #[error("{}: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
