//! Activation shaping, variant S.
//!
//! Djurisic et al., *Extremely Simple Activation Shaping for Out-of-Distribution Detection*, ICLR 2023. The largest
//! d − round(d · percentile / 100) entries of f stay, the others become 0; with s1 the sum before and s2 the sum
//! after, the score is log Σ exp(W (exp(s1 / s2) f') + b). Reference: OpenOOD v1.5 `ash_net.py` (`ash_s`), on the
//! pooled embedding.
//!
//! Deviations: of equal entries at the border the first stay; at least one entry stays; where s2 is not positive
//! (embeddings that were not rectified) the factor is 1, instead of a ratio without meaning or NaN.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::shaping::{check_percentile, kept, kth_largest, sharpness};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AshS {
    percentile: f64,
}

impl Default for AshS {
    fn default() -> Self {
        Self { percentile: 65.0 }
    }
}

impl Spec for AshS {
    fn check(&self) -> Result<(), ParamError> {
        check_percentile(self.percentile)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        input.embedding()?;
        Ok(Box::new(Pruned { head: Linear::new(input.head()?), percentile: self.percentile }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Pruned { head: Linear::load(state, widths.embedding)?, percentile: self.percentile }))
    }
}

#[derive(Debug)]
struct Pruned {
    head: Linear,
    percentile: f64,
}

impl Scorer for Pruned {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let kept = kept(batch.embedding.ncols(), self.percentile);
        self.head.energy(batch.embedding, |row| prune(row, kept))
    }

    fn state(&self) -> State {
        self.head.state()
    }
}

/// Sets all but the `kept` largest entries to zero and returns exp(s1 / s2).
fn prune(row: &mut [f32], kept: usize) -> f64 {
    let before: f64 = row.iter().copied().map(f64::from).sum();
    let (smallest, mut ties) = kth_largest(row, kept);
    for value in row.iter_mut() {
        let stays = *value > smallest || (*value == smallest && ties > 0);
        ties -= usize::from(stays && *value == smallest);
        if !stays {
            *value = 0.0;
        }
    }
    sharpness(before, row.iter().copied().map(f64::from).sum())
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "ash-s",
        title: "ASH-S",
        aliases: &["ash"],
        year: 2023,
        paper: "https://arxiv.org/abs/2209.09858",
        formula: "log sum exp(W f' exp(s1 / s2) + b), f' the largest entries of f, s1 and s2 the sums of f and f'",
        needs: Needs { embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "percentile", doc: "share of the entries that become 0, 0 to 99" }],
    },
    spec: parse::<AshS>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        for (mut row, pruned, factor) in [
            ([1.0, 4.0, 2.0, 1.0], [0.0, 4.0, 2.0, 0.0], (8.0_f64 / 6.0).exp()),
            ([2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 0.0, 0.0], 2_f64.exp()),
            ([-1.0, -1.0, -3.0, -3.0], [-1.0, -1.0, 0.0, 0.0], 1.0),
        ] {
            let found = prune(&mut row, 2);
            assert_eq!(row, pruned);
            assert!((found - factor).abs() < 1e-15, "{found} {factor}");
        }
    }
}
