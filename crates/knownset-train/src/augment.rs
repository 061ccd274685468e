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

/// The random numbers of one image in one epoch; other images and epochs have streams of their own.
pub(crate) fn stream(seed: u64, epoch: usize, image: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.set_stream(image as u64 + 1);
    rng
}

#[cfg(test)]
mod tests {
    use knownset_core::{Filter, Resize};

    use super::*;

    fn spec() -> Preprocess {
        let resize = Resize::Exact { size: 2, filter: Filter::Bilinear };
        Preprocess { resize, size: 2, mean: [0.5; 3], std: [0.25; 3] }
    }

    #[test]
    fn without_padding_and_flip_nothing_changes() {
        let input: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let nothing = Augment { pad: 0, flip: false };
        assert_eq!(nothing.apply(&input, &spec(), &mut stream(0, 0, 0)), input);
    }

    #[test]
    fn pixels_move_together_and_black_comes_in() {
        let input: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let crop = Augment { pad: 2, flip: true };
        let (mut moved, mut mirrored) = (0, 0);
        for image in 0..200 {
            let output = crop.apply(&input, &spec(), &mut stream(7, 0, image));
            // Black is (0 − 0.5) / 0.25; every other value is its place in channel 0 plus 4 per channel.
            for place in 0..4 {
                let inside = output[place] != -2.0;
                assert!(!inside || output[place + 4] == output[place] + 4.0);
                assert!(inside || output[place + 8] == -2.0);
            }
            moved += usize::from(output.contains(&-2.0));
            mirrored += usize::from(output[0] == 1.0 && output[1] == 0.0);
        }
        assert!(moved > 150 && mirrored > 0, "{moved} moved, {mirrored} mirrored in place");
    }

    #[test]
    fn streams_differ_by_image_and_epoch() {
        let draw = |epoch, image| stream(1, epoch, image).random::<u64>();
        assert_eq!(draw(2, 3), draw(2, 3));
        assert!(draw(2, 3) != draw(2, 4) && draw(2, 3) != draw(3, 3));
    }
}
