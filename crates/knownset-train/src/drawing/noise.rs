//! Noise that images come from.

use crate::augment::stream;
use crate::tensors::normals;

/// Unit noise of an image's own: a function of the seed, its class and its number in it, the same on every machine.
pub fn unit_noise(seed: u64, class: usize, number: usize, count: usize) -> Vec<f32> {
    normals(&mut stream(seed, class, number), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_its_own() {
        assert_eq!(unit_noise(1, 2, 3, 8)[..4], unit_noise(1, 2, 3, 4));
        for other in [unit_noise(1, 2, 4, 4), unit_noise(1, 3, 3, 4), unit_noise(2, 2, 3, 4)] {
            assert_ne!(unit_noise(1, 2, 3, 4), other);
        }
    }
}
