//! PixMix: the picture mixed with fractals and with changed versions of itself (Hendrycks et al. 2022).
//!
//! Starts from the picture, half of the time after an operation of AugMix; then 0 to k times mixes it with the picture
//! after another operation or, half of the time, with a fractal, by a weighted sum of the values in −1..1 or a weighted
//! product of the values in 0..2, and cuts the result to 0..1. Weights are Beta(β, 1) for the picture and Beta(1, β) for
//! the other, or 1 + Beta(1, β) and −Beta(1, β). Reference: the authors' `pixmix_utils.py`.
//!
//! Deviation: the paper mixes with fractals and feature visualisations from the web; here fractals are drawn for each
//! picture (`fractal.rs`). `all` adds AugMix's other four operations, as OpenOOD does.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::aug_mix::{draw, require_severity};
use super::change::{ChangeEntry, Effect, read};
use super::fractal;
use super::picture::Picture;
use crate::mix::beta;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PixMix {
    k: u32,
    beta: f64,
    severity: f64,
    all: bool,
}

impl Default for PixMix {
    fn default() -> Self {
        Self { k: 4, beta: 3.0, severity: 3.0, all: false }
    }
}

impl PixMix {
    fn operated(&self, picture: &Picture, rng: &mut ChaCha8Rng) -> Picture {
        draw(self.severity, self.all, picture.side, rng).apply(picture.clone())
    }

    fn weights(&self, rng: &mut ChaCha8Rng) -> (f64, f64) {
        if rng.random() {
            (beta(rng, self.beta, 1.0), beta(rng, 1.0, self.beta))
        } else {
            (1.0 + beta(rng, 1.0, self.beta), -beta(rng, 1.0, self.beta))
        }
    }
}

impl Effect for PixMix {
    fn check(&self) -> Result<(), ParamError> {
        require(self.k <= 32, "k", self.k.into(), "at most 32")?;
        require((0.1..=100.0).contains(&self.beta), "beta", self.beta, "from 0.1 to 100")?;
        require_severity(self.severity)
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let mut mixed = if rng.random() { self.operated(&picture, rng) } else { picture.clone() };
        let mut drawn = None;
        for _ in 0..rng.random_range(0..=self.k) {
            let operated;
            let other = if rng.random() {
                operated = self.operated(&picture, rng);
                &operated
            } else {
                &*drawn.get_or_insert_with(|| fractal::draw(picture.side, rng))
            };
            let by = if rng.random() { add } else { multiply };
            let (a, b) = self.weights(rng);
            mixed = mixed.with(other, |value, other| by(value, other, a, b).clamp(0.0, 1.0));
        }
        mixed
    }
}

/// a · value + b · other, black being −1 and white 1.
fn add(value: f32, other: f32, a: f64, b: f64) -> f32 {
    let [value, other] = [value, other].map(|value| 2.0 * f64::from(value) - 1.0);
    ((a * value + b * other + 1.0) / 2.0) as f32
}

/// valueᵃ · otherᵇ, black being 0 (of `other` nearly, for negative b) and white 2.
fn multiply(value: f32, other: f32, a: f64, b: f64) -> f32 {
    let [value, other] = [value, other].map(|value| 2.0 * f64::from(value));
    (libm::pow(value, a) * libm::pow(other.max(1e-37), b) / 2.0) as f32
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "pix-mix",
    doc: "the picture mixed with fractals and with changed versions of itself",
    paper: "https://arxiv.org/abs/2112.05135",
    params: &[
        ("k", "most rounds of mixing, at most 32"),
        ("beta", "how much the picture outweighs what it is mixed with, from 0.1 to 100"),
        ("severity", "largest strength of an operation, from 0.1 to 10"),
        ("all", "whether to use colour, contrast, brightness and sharpness too"),
    ],
    read: read::<PixMix>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn sums_and_products_by_hand() {
        // −0.5 and 0.5: 0.75 · −0.5 + 0.25 · 0.5 = −0.25, which is 0.375.
        assert_eq!(add(0.25, 0.75, 0.75, 0.25), 0.375);
        assert_eq!(add(0.25, 0.75, 1.0, 0.0), 0.25);
        // 0.5 and 1.5: 0.5² · 1.5⁻¹ / 2 = 1/12.
        assert!((multiply(0.25, 0.75, 2.0, -1.0) - 1.0 / 12.0).abs() < 1e-7);
        assert_eq!(multiply(0.25, 0.75, 1.0, 0.0), 0.25);
        assert_eq!(multiply(0.0, 0.0, 1.5, -0.9), 0.0);
        assert!(multiply(0.5, 0.0, 1.5, -0.9).is_finite());
    }

    #[test]
    fn weights_favour_the_picture() {
        let rng = &mut stream(0, 0, 0);
        let drawn: Vec<(f64, f64)> = (0..20_000).map(|_| PixMix::default().weights(rng)).collect();
        let (kept, pushed): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|(_, b)| *b >= 0.0);
        let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
        // Means of Beta(3, 1) and Beta(1, 3): 3/4 and 1/4, with a deviation of 0.19 each.
        for (pairs, a, b) in [(&kept, 0.75, 0.25), (&pushed, 1.25, -0.25)] {
            assert!(pairs.len().abs_diff(10_000) < 400);
            assert!((mean(&mut pairs.iter().map(|pair| pair.0), pairs.len()) - a).abs() < 0.01);
            assert!((mean(&mut pairs.iter().map(|pair| pair.1), pairs.len()) - b).abs() < 0.01);
        }
    }

    #[test]
    fn without_rounds_half_of_the_pictures_stay_and_rounds_change_more() {
        let picture = Picture::from_fn(16, |channel, x, y| ((7 * channel + 3 * x + 5 * y) % 32) as f32 / 40.0);
        let unchanged = |k| {
            let mixing = PixMix { k, ..PixMix::default() };
            (0..400).filter(|&image| mixing.apply(picture.clone(), &mut stream(0, 0, image)) == picture).count()
        };
        // Half have no operation before the rounds, and weak operations may change nothing; one in five has no round.
        let (without, with) = (unchanged(0), unchanged(4));
        assert!((200..300).contains(&without) && (25..90).contains(&with), "{without} {with}");
    }
}
