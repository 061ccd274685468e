//! Gradient norm.
//!
//! Huang et al., *On the Importance of Gradients for Detecting Distributional Shifts in the Wild*, NeurIPS 2021.
//! Score: the L1 norm of the gradient of −Σ_c log p_c with respect to the last layer's weight. For a linear last
//! layer that gradient is the outer product of (K p − 1) and f, so the norm is ‖K p − 1‖₁ · ‖f‖₁: no backward pass
//! is needed. Reference: OpenOOD v1.5 `gradnorm_postprocessor.py`, one backward pass per image.
//!
//! Deviation: K is the number of classes (OpenOOD: 1,000 for every dataset).

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_pairs, softmax};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GradNorm {}

impl Spec for GradNorm {
    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(GradientNorm))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(GradientNorm))
    }
}

#[derive(Debug)]
struct GradientNorm;

impl Scorer for GradientNorm {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_pairs(batch, |logits, embedding| {
            let mut p = Vec::with_capacity(logits.len());
            softmax(logits, 1.0, &mut p);
            let classes = p.len() as f64;
            let pull: f64 = p.iter().map(|p| (classes * p - 1.0).abs()).sum();
            pull * embedding.iter().map(|&value| f64::from(value).abs()).sum::<f64>()
        })
    }

    fn state(&self) -> State {
        State::new()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "grad-norm",
        title: "GradNorm",
        aliases: &[],
        year: 2021,
        paper: "https://arxiv.org/abs/2110.00218",
        formula: "||K p - 1||_1 * ||f||_1, the L1 norm of the gradient of -sum_c log p_c in the head's weight",
        needs: Needs { logits: true, embedding: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<GradNorm>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let logits = array![[3_f32.ln(), 0.0], [0.0, 0.0], [-1e4, 1e4]];
        let rows = array![[1.0, -3.0], [1.0, 1.0], [0.5, 0.0]];
        for (score, expected) in scores(&GradientNorm, &logits, &rows).iter().zip([4.0, 0.0, 1.0]) {
            assert!((score - expected).abs() < 1e-6, "{score} {expected}");
        }
    }
}
