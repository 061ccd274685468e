//! What training reads: pictures, with or without a class.

use knownset_core::Preprocess;

/// Pictures of a network's input size. Reading happens on several threads.
pub trait Pictures: Sync {
    /// Number of pictures.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `[3, side, side]` values in 0..1, not normalised yet; the error names the picture.
    fn picture(&self, index: usize) -> Result<Vec<f32>, String>;
}

/// Pictures of known classes.
pub trait Labelled: Pictures {
    /// Index of a picture's class.
    fn label(&self, index: usize) -> usize;
}

/// The picture as the network wants it: (value − mean) / deviation in each channel.
pub(crate) fn normalised(mut picture: Vec<f32>, spec: &Preprocess) -> Vec<f32> {
    let plane = (spec.size * spec.size) as usize;
    for (channel, values) in picture.chunks_mut(plane).enumerate() {
        let (mean, deviation) = (spec.mean[channel], spec.std[channel]);
        for value in values {
            *value = (*value - mean) / deviation;
        }
    }
    picture
}
