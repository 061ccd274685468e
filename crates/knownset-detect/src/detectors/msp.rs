//! Maximum softmax probability.
//!
//! Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
//! Networks*, ICLR 2017. Score: max_c p_c with p = softmax(z). Reference: OpenOOD v1.5 `base_postprocessor.py`.
//! No deviation.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, max};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Msp {}

impl Spec for Msp {
    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(MaxSoftmax))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(MaxSoftmax))
    }
}

#[derive(Debug)]
struct MaxSoftmax;

impl Scorer for MaxSoftmax {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| max_softmax(row, 1.0))
    }

    fn state(&self) -> State {
        State::new()
    }
}

/// max_c softmax(z / T)_c
pub(crate) fn max_softmax(row: &[f32], temperature: f64) -> f64 {
    let largest = max(row);
    1.0 / row.iter().map(|&value| ((f64::from(value) - largest) / temperature).exp()).sum::<f64>()
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "msp",
        title: "MSP",
        aliases: &["MaxSoftmax", "softmax"],
        year: 2017,
        paper: "https://arxiv.org/abs/1610.02136",
        formula: "max_c p_c",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Msp>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let ln = |x: f32| x.ln();
        for (row, expected) in [([ln(3.0), 0.0], 0.75), ([0.0, 0.0], 0.5), ([0.0, ln(9.0)], 0.9)] {
            assert!((max_softmax(&row, 1.0) - expected).abs() < 1e-7);
        }
    }
}
