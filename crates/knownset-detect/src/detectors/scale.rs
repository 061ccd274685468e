//! SCALE.
//!
//! Xu et al., *Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement*, ICLR 2024. As
//! ASH-S without the pruning: with s1 the sum of f and s2 that of its largest d − round(d · percentile / 100)
//! entries, the score is log Σ exp(W (exp(s1 / s2) f) + b). Reference: OpenOOD v1.5 `scale_net.py`.
//!
//! Deviations: at least one entry counts in s2; where s2 is not positive (embeddings that were not rectified) the
//! factor is 1, instead of a ratio without meaning or NaN.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::shaping::{check_percentile, kept, kth_largest, sharpness};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Scale {
    percentile: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { percentile: 85.0 }
    }
}

impl Spec for Scale {
    fn check(&self) -> Result<(), ParamError> {
        check_percentile(self.percentile)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        input.embedding()?;
        Ok(Box::new(Scaled { head: Linear::new(input.head()?), percentile: self.percentile }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Scaled { head: Linear::load(state, widths.embedding)?, percentile: self.percentile }))
    }
}

#[derive(Debug)]
struct Scaled {
    head: Linear,
    percentile: f64,
}

impl Scorer for Scaled {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let kept = kept(batch.embedding.ncols(), self.percentile);
        self.head.energy(batch.embedding, |row| factor(row, kept))
    }

    fn state(&self) -> State {
        self.head.state()
    }
}

/// exp(s1 / s2)
fn factor(row: &[f32], kept: usize) -> f64 {
    let (smallest, ties) = kth_largest(row, kept);
    let larger: f64 = row.iter().filter(|value| **value > smallest).copied().map(f64::from).sum();
    sharpness(row.iter().copied().map(f64::from).sum(), larger + ties as f64 * f64::from(smallest))
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "scale",
        title: "SCALE",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2310.00227",
        formula: "log sum exp(W f exp(s1 / s2) + b), s1 and s2 the sums of f and of its largest entries",
        needs: Needs { embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "percentile", doc: "share of the entries that s2 leaves out, 0 to 99" }],
    },
    spec: parse::<Scale>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        for (row, expected) in [
            ([1.0, 4.0, 2.0, 1.0], (8.0_f64 / 6.0).exp()),
            ([2.0, 2.0, 2.0, 2.0], 2_f64.exp()),
            ([0.0, 0.0, 0.0, 0.0], 1.0),
        ] {
            assert!((factor(&row, 2) - expected).abs() < 1e-15);
        }
    }
}
