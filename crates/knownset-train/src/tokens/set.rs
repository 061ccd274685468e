//! Labelled tokens.

use knownset_core::Features;
use knownset_core::digest::Hasher;
use ndarray::{Array3, Axis};

/// What a frozen network says about the patches of labelled images.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSet {
    /// `[n, P, d]`: P tokens of every image.
    tokens: Array3<f32>,
    /// The images' classes.
    labels: Vec<usize>,
}

/// Features that hold no labelled tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenSetError {
    /// An array that is not there.
    #[error("these features have no `{array}`")]
    Missing {
        /// Its name.
        array: &'static str,
    },
    /// No image has a class.
    #[error("none of these features has a label")]
    Unlabelled,
}

impl TokenSet {
    /// The patches of all images that have a label.
    pub fn new(features: &Features) -> Result<Self, TokenSetError> {
        let patches = features.patches.as_ref().ok_or(TokenSetError::Missing { array: "patches" })?;
        let all = features.labels.as_ref().ok_or(TokenSetError::Missing { array: "labels" })?;
        let labelled = all.iter().enumerate().filter_map(|(image, &label)| Some((image, usize::try_from(label).ok()?)));
        let (images, labels): (Vec<usize>, Vec<usize>) = labelled.unzip();
        if images.is_empty() {
            return Err(TokenSetError::Unlabelled);
        }
        let whole = images.len() == all.len();
        let tokens = if whole { patches.clone() } else { patches.select(Axis(0), &images) };
        Ok(Self { tokens, labels })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number P of an image's tokens, and their length d.
    pub fn token_shape(&self) -> [usize; 2] {
        [self.tokens.len_of(Axis(1)), self.tokens.len_of(Axis(2))]
    }

    /// SHA-256 over all tokens and labels.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        for (image, label) in self.tokens.outer_iter().zip(&self.labels) {
            let bytes: Vec<u8> = image.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.field(&(*label as u64).to_le_bytes()).field(&bytes);
        }
        hasher.finish()
    }

    pub(super) fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The tokens of these images, one behind the other, and their classes.
    pub(super) fn pick(&self, images: &[usize]) -> Labelled {
        let tokens = images.iter().flat_map(|&image| self.tokens.index_axis(Axis(0), image).into_iter().copied());
        Labelled { tokens: tokens.collect(), labels: images.iter().map(|&image| self.labels[image]).collect() }
    }
}

/// The images of a step.
pub(super) struct Labelled {
    pub(super) tokens: Vec<f32>,
    pub(super) labels: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn images_with_a_label_are_taken() {
        let patches = Array3::from_shape_fn((3, 2, 2), |(image, token, d)| (image * 4 + token * 2 + d) as f32);
        let features = Features { patches: Some(patches), labels: Some(array![1, -1, 0]), ..Features::default() };
        let set = TokenSet::new(&features).unwrap();
        assert_eq!((set.len(), set.token_shape(), set.labels()), (2, [2, 2], &[1, 0][..]));
        let picked = set.pick(&[1, 0]);
        assert_eq!(picked.tokens, [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(picked.labels, [0, 1]);
        let other = Features { labels: Some(array![0, -1, 1]), ..features.clone() };
        assert_ne!(TokenSet::new(&other).unwrap().fingerprint(), set.fingerprint());
        let none = Features { labels: Some(array![-1, -1, -1]), ..features.clone() };
        assert!(matches!(TokenSet::new(&none), Err(TokenSetError::Unlabelled)));
        let bare = Features { patches: None, ..features };
        assert!(matches!(TokenSet::new(&bare), Err(TokenSetError::Missing { array: "patches" })));
    }
}
