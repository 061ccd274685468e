//! A dataset seen through a corruption.

use std::borrow::Cow;

use image::RgbImage;
use knownset_core::Filter;
use sha2::{Digest, Sha256};

use super::{CORRUPTIONS_VERSION, Corruption, Severity};
use crate::resample::resample;
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource};

/// The shorter side that photographs are shrunk to, as ImageNet-C did before its crop to 224.
const SHORTER_SIDE: u32 = 256;

/// A dataset whose images are corrupted when they are decoded, by [`rgb`](crate::rgb) or [`load`](crate::load).
///
/// An image's randomness comes from the seed and its id, so neither the order of reading nor the rest of the dataset
/// matters. Images whose shorter side is above 256 px are first shrunk to 256 (bilinear): ImageNet-C's images were, and
/// its parameters mean nothing on others. Its crop to the middle 224 is left to the network's preprocessing.
pub struct Corrupted {
    info: DatasetInfo,
    inner: Box<dyn ImageSource>,
    corruption: &'static Corruption,
    severity: Severity,
    seed: u64,
}

impl Corrupted {
    /// `inner`, corrupted. Its name becomes the reference `corrupt:KIND:SEVERITY[:SEED]@REF`.
    pub fn new(inner: Box<dyn ImageSource>, corruption: &'static Corruption, severity: Severity, seed: u64) -> Self {
        let name = reference(corruption, severity, seed, &inner.info().name);
        let info = DatasetInfo { name, class_names: inner.info().class_names.clone() };
        Self { info, inner, corruption, severity, seed }
    }
}

/// The reference of a corrupted dataset.
pub(crate) fn reference(
    corruption: &Corruption,
    severity: Severity,
    seed: u64,
    of: &(impl std::fmt::Display + ?Sized),
) -> String {
    let seed = if seed == 0 { String::new() } else { format!(":{seed}") };
    format!("corrupt:{}:{severity}{seed}@{of}", corruption.name)
}

impl ImageSource for Corrupted {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn id(&self, i: usize) -> &str {
        self.inner.id(i)
    }

    fn label(&self, i: usize) -> i64 {
        self.inner.label(i)
    }

    /// The clean image, as it is stored.
    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        self.inner.get(i)
    }

    fn alter(&self, i: usize, image: RgbImage) -> RgbImage {
        let image = self.inner.alter(i, image);
        let digest = Sha256::digest(format!("{}/{}", self.seed, self.id(i)));
        let seed = digest.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte));
        self.corruption.apply(&shrunk(&image), self.severity, seed)
    }

    /// That of the clean dataset, and everything that decides the corruption.
    fn fingerprint(&self) -> String {
        let Self { corruption, severity, seed, .. } = self;
        let inner = self.inner.fingerprint();
        format!("corrupt {CORRUPTIONS_VERSION} {} {severity} {seed} of {inner}", corruption.name)
    }
}

fn shrunk(image: &RgbImage) -> Cow<'_, RgbImage> {
    let (width, height) = image.dimensions();
    let shorter = width.min(height);
    if shorter <= SHORTER_SIDE {
        return Cow::Borrowed(image);
    }
    // The longer side is rounded down, as torchvision does.
    let side = |side: u32| (u64::from(side) * u64::from(SHORTER_SIDE) / u64::from(shorter)) as u32;
    let (width, height) = (side(width), side(height));
    Cow::Owned(resample(image, (width, height), 0..width, 0..height, Filter::Bilinear))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_shrunk_and_small_images_kept() {
        let sizes = [((256, 900), (256, 900)), ((500, 375), (341, 256)), ((300, 3000), (256, 2560)), ((8, 8), (8, 8))];
        for ((width, height), expected) in sizes {
            assert_eq!(shrunk(&RgbImage::new(width, height)).dimensions(), expected);
        }
    }
}
