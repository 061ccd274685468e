//! One row of a dataset, all the way to a network's input.

use knownset_core::Preprocess;

use crate::{DataError, DecodePolicy, Decoded, EncodedImage, ImageSource, Limits, decode, preprocess};

/// One image, ready for a network.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedImage {
    /// `[3, size, size]`, channel by channel.
    pub input: Vec<f32>,
    /// Whether the file was damaged and partly filled in; see [`Decoded::truncated`].
    pub truncated: bool,
}

/// Reads and decodes row `i`, and lets its dataset [alter](ImageSource::alter) it; errors name its id.
pub fn rgb(source: &dyn ImageSource, i: usize, policy: DecodePolicy, limits: &Limits) -> Result<Decoded, DataError> {
    let Decoded { image, truncated } = match source.get(i)? {
        EncodedImage::Pixels(image) => Decoded { image, truncated: false },
        EncodedImage::Bytes(bytes) => decode(&bytes, policy, limits)
            .map_err(|problem| DataError::Decode { id: source.id(i).to_owned(), problem })?,
    };
    Ok(Decoded { image: source.alter(i, image), truncated })
}

/// Reads, decodes and preprocesses row `i`; errors name its id.
pub fn load(
    source: &dyn ImageSource,
    i: usize,
    policy: DecodePolicy,
    limits: &Limits,
    spec: &Preprocess,
) -> Result<LoadedImage, DataError> {
    let Decoded { image, truncated } = rgb(source, i, policy, limits)?;
    Ok(LoadedImage { input: preprocess(&image, spec), truncated })
}
