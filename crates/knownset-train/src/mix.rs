//! Mixing the pictures of a batch: the numbers that Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) draw.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

/// A number in 0..1 from the Beta distribution: λ of Mixup and CutMix, for a = b = α.
///
/// # Panics
/// When `a` or `b` is not positive.
pub fn beta(rng: &mut ChaCha8Rng, a: f64, b: f64) -> f64 {
    Beta::new(a, b).expect("the parameters of a Beta distribution are positive").sample(rng)
}

/// What CutMix takes from another picture: columns `x0..x1` of rows `y0..y1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// The first column.
    pub x0: usize,
    /// The first row.
    pub y0: usize,
    /// One after the last column.
    pub x1: usize,
    /// One after the last row.
    pub y1: usize,
}

impl Patch {
    /// A square of the share 1 − λ of a picture, around any pixel, cut at the picture's edges.
    pub fn draw(rng: &mut ChaCha8Rng, side: usize, lambda: f64) -> Self {
        let half = (side as f64 * (1.0 - lambda).max(0.0).sqrt()) as usize / 2;
        let mut range = || {
            let centre = rng.random_range(0..side.max(1));
            (centre.saturating_sub(half), (centre + half).min(side))
        };
        let ((x0, x1), (y0, y1)) = (range(), range());
        Self { x0, y0, x1, y1 }
    }

    /// The share of a picture outside of the patch: λ, corrected to what the patch covers.
    pub fn lambda(self, side: usize) -> f64 {
        1.0 - ((self.x1 - self.x0) * (self.y1 - self.y0)) as f64 / (side * side) as f64
    }

    /// Puts the patch of `from` into `picture`, both `[channels, side, side]`.
    pub fn paste(self, picture: &mut [f32], from: &[f32], side: usize) {
        let planes = picture.chunks_mut(side * side).zip(from.chunks(side * side));
        for (plane, from) in planes {
            for y in self.y0..self.y1 {
                let row = y * side + self.x0..y * side + self.x1;
                plane[row.clone()].copy_from_slice(&from[row]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;

    /// Beta(a, b) has the mean a / (a + b) and the variance a b / (a + b)² / (a + b + 1).
    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        const N: usize = 50_000;
        let rng = &mut stream(1, 0, 0);
        for (a, b) in [(1.0, 1.0), (0.2, 0.2), (20.0, 20.0), (3.0, 1.0), (1.0, 3.0), (0.5, 2.0)] {
            let draws: Vec<f64> = (0..N).map(|_| beta(rng, a, b)).collect();
            assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
            let mean = draws.iter().sum::<f64>() / N as f64;
            let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / N as f64;
            let (total, expected) = (a + b, a / (a + b));
            let spread = a * b / (total * total) / (total + 1.0);
            assert!((mean - expected).abs() < 5.0 * (spread / N as f64).sqrt(), "{a} {b}: {mean} {expected}");
            assert!((variance / spread - 1.0).abs() < 0.04, "{a} {b}: {variance} {spread}");
        }
    }

    #[test]
    fn patches_by_hand() {
        let rng = &mut stream(2, 0, 0);
        for _ in 0..500 {
            // A quarter of 8 × 8 is a square of 4; where its centre is less than 2 from an edge, less.
            let Patch { x0, y0, x1, y1 } = Patch::draw(rng, 8, 0.75);
            assert!(x0 < x1 && x1 <= 8 && y0 < y1 && y1 <= 8);
            for (start, end) in [(x0, x1), (y0, y1)] {
                let expected = match (start, end) {
                    (0, 2 | 3) => end,
                    (5, 8) => 3,
                    _ => 4,
                };
                assert_eq!(end - start, expected, "{start}..{end}");
            }
        }
        let nothing = Patch::draw(rng, 8, 1.0);
        assert_eq!(nothing.lambda(8), 1.0);
        assert_eq!(Patch { x0: 1, y0: 0, x1: 4, y1: 2 }.lambda(6), 1.0 - 6.0 / 36.0);
    }

    #[test]
    fn a_patch_is_pasted_in_every_channel() {
        let mut picture = vec![0.0; 18];
        let from: Vec<f32> = (0..18).map(|value| value as f32).collect();
        Patch { x0: 1, y0: 0, x1: 3, y1: 2 }.paste(&mut picture, &from, 3);
        let expected = [0., 1., 2., 0., 4., 5., 0., 0., 0., 0., 10., 11., 0., 13., 14., 0., 0., 0.];
        assert_eq!(picture, expected);
    }
}
