//! Entropy of the softmax.
//!
//! Classical; as an out-of-distribution score for instance in Chan et al., *Entropy Maximization and Meta
//! Classification for Out-of-Distribution Detection*, ICCV 2021. Score: Σ_c p_c log p_c, the negative entropy.
//! Reference: pytorch-ood 0.4.0 `entropy.py`. No deviation; 0 log 0 is 0.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_rows_with, softmax};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entropy {}

impl Spec for Entropy {
    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(NegativeEntropy))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(NegativeEntropy))
    }
}

#[derive(Debug)]
struct NegativeEntropy;

impl Scorer for NegativeEntropy {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows_with(batch.logits, Vec::new, |p, row| negative_entropy(row, p))
    }

    fn state(&self) -> State {
        State::new()
    }
}

/// Σ p log p of a row's softmax, which is left in `p`.
pub(crate) fn negative_entropy(row: &[f32], p: &mut Vec<f64>) -> f64 {
    let log_sum = softmax(row, 1.0, p);
    row.iter().zip(p.iter()).map(|(&z, p)| p * (f64::from(z) - log_sum)).sum()
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "entropy",
        title: "Entropy",
        aliases: &[],
        year: 2021,
        paper: "https://arxiv.org/abs/2012.06575",
        formula: "sum_c p_c log p_c",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Entropy>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut p = Vec::new();
        assert!((negative_entropy(&[0.0, 0.0], &mut p) + 2_f64.ln()).abs() < 1e-15);
        assert!(
            (negative_entropy(&[3_f32.ln(), 0.0], &mut p) - (0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln())).abs() < 1e-7
        );
        assert_eq!(negative_entropy(&[1e4, -1e4], &mut p), 0.0);
    }
}
