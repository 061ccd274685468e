//! What can be wrong with a GroundingDINO checkpoint folder, or with what is asked of the network.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::tokenizer::TokenizerError;

/// A detector that cannot be opened or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroundingError {
    /// A file of the folder that is missing or broken, or asks for what this program does not do; tensors missing, left
    /// over or of the wrong shape.
    #[error(transparent)]
    Folder(#[from] CheckpointError),
    /// Two tensors that are one and the same in the network, but not in the file.
    #[error("{}: {copy} differs from {original}, of which it is a copy", path.display())]
    Copy {
        /// The weights.
        path: PathBuf,
        /// The copy's name.
        copy: String,
        /// The name under which the network has it.
        original: String,
    },
    /// No tokenizer, or one that does not fit the text backbone.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A prompt longer than the network reads.
    #[error("a prompt of {tokens} tokens, the network reads 1 to {most}")]
    PromptLength {
        /// Its tokens, the special ones at both ends included.
        tokens: usize,
        /// As many as the network reads.
        most: usize,
    },
    /// Input that is no image.
    #[error("an input of shape {shape:?} is no image, expected [3, height, width]")]
    Image {
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A threshold that is no probability.
    #[error("the {name} threshold is {value}, expected 0 to 1")]
    Threshold {
        /// Which.
        name: &'static str,
        /// Its value.
        value: f32,
    },
    /// The network said something that is no number.
    #[error("the network's output is not finite: the weights or the image are broken")]
    NotFinite,
}
