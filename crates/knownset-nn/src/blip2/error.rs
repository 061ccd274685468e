//! What can go wrong between a captioner and its captions.

use crate::generate::GenerateError;
use crate::tokenizer::TokenizerError;

/// Captions that are not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptionError {
    /// Images of another size than the network's.
    #[error("images of shape {got:?}, the captioner takes [3, {side}, {side}]")]
    ImageShape {
        /// Channels, height and width.
        got: [usize; 3],
        /// Side in pixels.
        side: usize,
    },
    /// A prompt with the token that stands for the image.
    #[error("the prompt `{prompt}` holds the token that stands for the image")]
    Placeholder {
        /// The prompt.
        prompt: String,
    },
    /// A prompt that cannot be turned into tokens, or tokens that cannot be turned into text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Nothing that can be written, or a caller who asked to stop.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}
