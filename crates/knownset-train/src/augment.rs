//! Random changes to a training image, each a pure function of seed, epoch and image.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Crop and flip, the standard augmentation of small images (He et al. 2016, section 4.2): a crop of the full size
/// from the image padded by `pad` black pixels on every side, mirrored half of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augment {
    /// Pixels of padding on each side; 0 for no crop.
    pub pad: usize,
    /// Whether to mirror half of the images left to right.
    pub flip: bool,
}

impl Augment {
    /// Crop from an image padded by `pad`, mirrored half of the time.
    pub fn crop_and_flip(pad: usize) -> Self {
        Self { pad, flip: true }
    }

    /// Crop from an image padded by `pad`.
    pub fn crop(pad: usize) -> Self {
        Self { pad, flip: false }
    }

    /// The changed copy of `input` `[3, side, side]` in 0..1.
    pub fn apply(&self, input: Vec<f32>, side: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (down, right) = (rng.random_range(0..=2 * self.pad), rng.random_range(0..=2 * self.pad));
        let mirrored = self.flip && rng.random::<bool>();
        let mut output = Vec::with_capacity(input.len());
        for channel in 0..3 {
            let black = 0.0;
            for y in 0..side {
                for x in 0..side {
                    let x = if mirrored { side - 1 - x } else { x };
                    // Where this pixel was before padding; below 0 or beyond the side it is padding.
                    let (source_y, source_x) = ((y + down).wrapping_sub(self.pad), (x + right).wrapping_sub(self.pad));
                    let inside = source_y < side && source_x < side;
                    output.push(if inside { input[(channel * side + source_y) * side + source_x] } else { black });
                }
            }
        }
        output
    }
}

impl std::fmt::Display for Augment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "crop:{}{}", self.pad, if self.flip { ",flip" } else { "" })
    }
}

impl std::str::FromStr for Augment {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, flip) = text.strip_suffix(",flip").map_or((text, false), |rest| (rest, true));
        Ok(Self { pad: rest.trim_start_matches("crop:").parse()?, flip })
    }
}

/// The random numbers of one image in one epoch; other images and epochs have streams of their own.
pub(crate) fn stream(seed: u64, epoch: usize, image: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.set_stream(image as u64 + 1);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_move_together_and_black_comes_in() {
        let input: Vec<f32> = (1..13).map(|value| value as f32).collect();
        assert_eq!(Augment::crop(0).apply(input.clone(), 2, &mut stream(0, 0, 0)), input);
        for image in 0..200 {
            let output = Augment::crop_and_flip(2).apply(input.clone(), 2, &mut stream(7, 0, image));
            for place in 0..4 {
                let inside = output[place] != 0.0;
                assert!(!inside || output[place + 4] == output[place] + 4.0);
                assert!(inside || output[place + 8] == 0.0);
            }
        }
    }

    #[test]
    fn streams_differ_by_image_and_epoch() {
        let draw = |epoch, image| stream(1, epoch, image).random::<u64>();
        assert_eq!(draw(2, 3), draw(2, 3));
        assert!(draw(2, 3) != draw(2, 4) && draw(2, 3) != draw(3, 3));
    }
}
