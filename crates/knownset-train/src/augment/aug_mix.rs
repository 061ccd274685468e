//! AugMix: chains of operations, mixed with one another and with the picture (Hendrycks et al. 2020).
//!
//! mixed = (1 − m) x + m Σ w_i · chain_i(x), w from a Dirichlet distribution and m from a Beta distribution, all of their
//! parameters α; a chain is `depth` operations, each drawn anew with its strength. Operations and strengths are those of
//! the authors' `augmentations.py`: nine, and with `all` the four that ImageNet-C's corruptions resemble. The recipe's
//! loss, the divergence of three views, is not part of this. Deviation: a posterized picture keeps at least one bit;
//! Pillow refuses to keep none.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::Operation;
use super::picture::Picture;
use crate::mix::beta;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AugMix {
    width: usize,
    depth: usize,
    severity: f64,
    alpha: f64,
    all: bool,
}

impl Default for AugMix {
    fn default() -> Self {
        Self { width: 3, depth: 0, severity: 3.0, alpha: 1.0, all: false }
    }
}

impl Effect for AugMix {
    fn check(&self) -> Result<(), ParamError> {
        require((1..=16).contains(&self.width), "width", self.width as f64, "from 1 to 16")?;
        require(self.depth <= 16, "depth", self.depth as f64, "at most 16")?;
        require_severity(self.severity)?;
        require((0.01..=100.0).contains(&self.alpha), "alpha", self.alpha, "from 0.01 to 100")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let weights = dirichlet(rng, self.alpha, self.width);
        let share = beta(rng, self.alpha, self.alpha);
        let mut mixed: Vec<f64> = picture.values.iter().map(|&value| (1.0 - share) * f64::from(value)).collect();
        for weight in weights {
            let depth = if self.depth > 0 { self.depth } else { rng.random_range(1..=3) };
            let chain = (0..depth)
                .fold(picture.clone(), |picture, _| draw(self.severity, self.all, picture.side, rng).apply(picture));
            mixed.iter_mut().zip(chain.values).for_each(|(sum, value)| *sum += share * weight * f64::from(value));
        }
        let values = mixed.into_iter().map(|value| value.clamp(0.0, 1.0) as f32).collect();
        Picture { side: picture.side, values }
    }
}

/// Refuses a severity that strengths are not defined for.
pub(super) fn require_severity(severity: f64) -> Result<(), ParamError> {
    require((0.1..=10.0).contains(&severity), "severity", severity, "from 0.1 to 10")
}

/// An operation, its strength up to `severity` of 10.
pub(super) fn draw(severity: f64, all: bool, side: usize, rng: &mut ChaCha8Rng) -> Operation {
    let choice = rng.random_range(0..if all { 13 } else { 9 });
    let level = rng.random_range(0.1..=severity) / 10.0;
    let sign = if rng.random() { 1.0 } else { -1.0 };
    operation(choice, level, sign, side)
}

/// One of thirteen, the authors' order; its strength 0..1 and its direction ±1.
fn operation(choice: usize, level: f64, sign: f64, side: usize) -> Operation {
    let pixels = sign * (level * side as f64 / 3.0).trunc();
    let factor = 1.8 * level + 0.1;
    match choice {
        0 => Operation::AutoContrast,
        1 => Operation::Equalize,
        2 => Operation::Posterize(4 - (4.0 * level).min(3.0) as u32),
        3 => Operation::Rotate(sign * (30.0 * level).trunc()),
        4 => Operation::Solarize((256.0 - (256.0 * level).trunc()) / 255.0),
        5 => Operation::ShearX(sign * 0.3 * level),
        6 => Operation::ShearY(sign * 0.3 * level),
        7 => Operation::TranslateX(pixels),
        8 => Operation::TranslateY(pixels),
        9 => Operation::Colour(factor),
        10 => Operation::Contrast(factor),
        11 => Operation::Brightness(factor),
        _ => Operation::Sharpness(factor),
    }
}

/// n shares of 1 from a Dirichlet distribution whose parameters are all `alpha`: each is a part, from a Beta
/// distribution, of what those before it left.
fn dirichlet(rng: &mut ChaCha8Rng, alpha: f64, n: usize) -> Vec<f64> {
    let mut left = 1.0;
    let mut shares: Vec<f64> = (1..n)
        .map(|at| {
            let share = left * beta(rng, alpha, alpha * (n - at) as f64);
            left -= share;
            share
        })
        .collect();
    shares.push(left);
    shares
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "aug-mix",
    doc: "chains of operations, mixed with one another and with the picture",
    paper: "https://arxiv.org/abs/1912.02781",
    params: &[
        ("width", "number of chains, from 1 to 16"),
        ("depth", "operations in a chain, at most 16; 0 draws 1 to 3 for each"),
        ("severity", "largest strength of an operation, from 0.1 to 10"),
        ("alpha", "of the distributions of the shares, from 0.01 to 100; 1 is uniform"),
        ("all", "whether to use colour, contrast, brightness and sharpness too"),
    ],
    read: read::<AugMix>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn strengths_by_hand() {
        // At a level of 0.3 for a side of 32: 4 · 0.3 = 1, 256 · 0.3 = 76, 32 / 3 · 0.3 = 3 whole pixels.
        let found: Vec<Operation> = (0..13).map(|choice| operation(choice, 0.3, -1.0, 32)).collect();
        let factor = 1.8 * 0.3 + 0.1;
        assert_eq!(
            found,
            [
                Operation::AutoContrast,
                Operation::Equalize,
                Operation::Posterize(3),
                Operation::Rotate(-9.0),
                Operation::Solarize(180.0 / 255.0),
                Operation::ShearX(-0.09),
                Operation::ShearY(-0.09),
                Operation::TranslateX(-3.0),
                Operation::TranslateY(-3.0),
                Operation::Colour(factor),
                Operation::Contrast(factor),
                Operation::Brightness(factor),
                Operation::Sharpness(factor),
            ]
        );
        assert_eq!(operation(2, 1.0, 1.0, 32), Operation::Posterize(1));
        assert_eq!(operation(2, 0.01, 1.0, 32), Operation::Posterize(4));
    }

    /// Shares of Dirichlet(α, α, α) have the mean 1/3 and the variance 2/9 / (3 α + 1), each of them.
    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        const N: usize = 20_000;
        let rng = &mut stream(3, 0, 0);
        for alpha in [0.5, 1.0, 4.0] {
            let shares: Vec<Vec<f64>> = (0..N).map(|_| dirichlet(rng, alpha, 3)).collect();
            let variance = 2.0 / 9.0 / (3.0 * alpha + 1.0);
            for at in 0..3 {
                let mean = shares.iter().map(|shares| shares[at]).sum::<f64>() / N as f64;
                let found = shares.iter().map(|shares| (shares[at] - mean).powi(2)).sum::<f64>() / N as f64;
                assert!((mean - 1.0 / 3.0).abs() < 5.0 * (variance / N as f64).sqrt(), "{alpha} {at}: {mean}");
                assert!((found / variance - 1.0).abs() < 0.05, "{alpha} {at}: {found} {variance}");
            }
            assert!(shares.iter().all(|shares| (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        }
        assert_eq!(dirichlet(rng, 1.0, 1), [1.0]);
    }

    /// Black stays black under the paper's nine operations, and a mixture of equals is what they are.
    #[test]
    fn a_mixture_of_equals_changes_nothing() {
        let black = Picture::from_fn(8, |_, _, _| 0.0);
        for image in 0..200 {
            assert_eq!(AugMix::default().apply(black.clone(), &mut stream(0, 0, image)), black);
        }
    }

    #[test]
    fn the_picture_is_at_the_one_end_of_the_mixture() {
        // An α of 0.01 takes almost all weight to one end: half of the pictures hardly change.
        let mixing = AugMix { alpha: 0.01, ..AugMix::default() };
        let picture = Picture::from_fn(16, |channel, x, y| ((7 * channel + 3 * x + 5 * y) % 32) as f32 / 40.0);
        let same = (0..400).filter(|&image| {
            let mixed = mixing.apply(picture.clone(), &mut stream(0, 0, image));
            mixed.values.iter().zip(&picture.values).all(|(a, b)| (a - b).abs() < 1e-3)
        });
        let same = same.count();
        assert!((150..280).contains(&same), "{same}");
    }
}
