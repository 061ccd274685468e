//! RandAugment: operations drawn at random, all of the same magnitude (Cubuk et al. 2020).
//!
//! Operations and magnitudes are those of torchvision's `RandAugment`, which OpenOOD trains with: fourteen, from nothing
//! at m = 0 (but pure white is inverted at any m) to a shear of 0.3, a translation by 45 % of the side, a turn of 30 degrees, factors of 0.1 or 1.9, 4 bits and
//! a full inversion at m = 30; those with a direction take either. Geometry is bilinear, as in OpenOOD; what comes in is
//! black.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::Operation;
use super::picture::Picture;

/// The largest magnitude.
const MOST: u32 = 30;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RandAugment {
    n: u32,
    m: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { n: 1, m: 14 }
    }
}

/// An operation from its magnitude 0..1, its direction ±1 and the picture's side.
type Choice = fn(f64, f64, f64) -> Operation;

/// In torchvision's order.
const CHOICES: [Choice; 14] = [
    |_, _, _| Operation::Identity,
    |m, sign, _| Operation::ShearX(sign * 0.3 * m),
    |m, sign, _| Operation::ShearY(sign * 0.3 * m),
    // Whole pixels.
    |m, sign, side| Operation::TranslateX(sign * (150.0 / 331.0 * side * m).trunc()),
    |m, sign, side| Operation::TranslateY(sign * (150.0 / 331.0 * side * m).trunc()),
    |m, sign, _| Operation::Rotate(sign * 30.0 * m),
    |m, sign, _| Operation::Brightness(1.0 + sign * 0.9 * m),
    |m, sign, _| Operation::Colour(1.0 + sign * 0.9 * m),
    |m, sign, _| Operation::Contrast(1.0 + sign * 0.9 * m),
    |m, sign, _| Operation::Sharpness(1.0 + sign * 0.9 * m),
    |m, _, _| Operation::Posterize(8 - (4.0 * m).round() as u32),
    |m, _, _| Operation::Solarize(1.0 - m),
    |_, _, _| Operation::AutoContrast,
    |_, _, _| Operation::Equalize,
];

impl Effect for RandAugment {
    fn check(&self) -> Result<(), ParamError> {
        require((1..=16).contains(&self.n), "n", self.n.into(), "from 1 to 16")?;
        require(self.m <= MOST, "m", self.m.into(), "from 0 to 30")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let (magnitude, side) = (f64::from(self.m) / f64::from(MOST), picture.side as f64);
        (0..self.n).fold(picture, |picture, _| {
            let choice = CHOICES[rng.random_range(0..CHOICES.len())];
            let sign = if rng.random() { 1.0 } else { -1.0 };
            choice(magnitude, sign, side).apply(picture)
        })
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "rand-augment",
    doc: "n of fourteen operations, all of magnitude m",
    paper: "https://arxiv.org/abs/1909.13719",
    params: &[("n", "number of operations, from 1 to 16"), ("m", "their magnitude, from 0 to 30")],
    read: read::<RandAugment>,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use knownset_core::{Tensor, TensorFile};

    use super::super::stream;
    use super::*;

    /// Against the table in `tests/golden/make_augment.py`, for every m and a side of 32.
    #[test]
    fn magnitudes_are_those_of_torchvision() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment.safetensors");
        let file = TensorFile::read(&path).unwrap();
        let Tensor::F32(table) = &file.tensors["rand-augment"] else { panic!("the table is not f32") };
        assert_eq!(table.shape(), [14, 31]);
        for (row, choice) in CHOICES.iter().enumerate() {
            for m in 0..=30_u32 {
                let expected = f64::from(table[[row, m as usize]]);
                let magnitude = |sign| match choice(f64::from(m) / 30.0, sign, 32.0) {
                    Operation::Identity | Operation::AutoContrast | Operation::Equalize => 0.0,
                    Operation::ShearX(level) | Operation::ShearY(level) | Operation::Rotate(level) => level,
                    Operation::TranslateX(pixels) | Operation::TranslateY(pixels) => pixels,
                    Operation::Brightness(factor)
                    | Operation::Colour(factor)
                    | Operation::Contrast(factor)
                    | Operation::Sharpness(factor) => factor - 1.0,
                    Operation::Posterize(bits) => f64::from(bits),
                    Operation::Solarize(threshold) => threshold * 255.0,
                };
                let signed = !matches!(row, 0 | 10..=13);
                // torchvision cuts translations to whole pixels when it applies them.
                let expected = if matches!(row, 3 | 4) { expected.trunc() } else { expected };
                assert!((magnitude(1.0) - expected).abs() < 1e-4, "operation {row}, m {m}");
                let other = if signed { -expected } else { expected };
                assert!((magnitude(-1.0) - other).abs() < 1e-4, "operation {row}, m {m}");
            }
        }
    }

    #[test]
    fn every_operation_comes_up() {
        let picture = Picture::from_fn(24, |channel, x, y| ((7 * channel + 3 * x + 5 * y) % 97) as f32 / 120.0 + 0.1);
        let bits = |picture: &Picture| picture.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let found: BTreeSet<_> = (0..2000)
            .map(|image| bits(&RandAugment::default().apply(picture.clone(), &mut stream(0, 0, image))))
            .collect();
        // Five without a direction, nine with two.
        assert_eq!(found.len(), 23);
        let nothing = RandAugment { n: 1, m: 0 };
        let changed = (0..200).filter(|&image| nothing.apply(picture.clone(), &mut stream(0, 0, image)) != picture);
        // Of magnitude 0 only the two operations that have none change anything: 29 expected.
        assert!((10..60).contains(&changed.count()));
    }
}
