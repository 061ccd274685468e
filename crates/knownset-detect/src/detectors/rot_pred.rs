//! Rotation prediction.
//!
//! Hendrycks et al., *Using Self-Supervised Learning Can Improve Model Robustness and Uncertainty*, NeurIPS 2019. Score:
//! KL(U ‖ softmax(z)) − ¼ Σ_r CE(rotation logits of the image turned by r quarters, r): an image is known when the classes
//! are told apart and its turns are seen. Reference: OpenOOD v1.5 `rotpred_postprocessor.py`, after the authors'
//! `test_auxiliary_ood.py`.
//!
//! Deviation: natural logarithms where both references take those to base 2, a constant factor.

use knownset_core::state::{State, StateError};
use ndarray::Axis;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::log_sum_exp;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotPred {}

impl Spec for RotPred {
    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Turns))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Turns))
    }
}

#[derive(Debug)]
struct Turns;

impl Scorer for Turns {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let rows: Vec<_> = batch.logits.outer_iter().zip(batch.rotations.outer_iter()).collect();
        let row = |(logits, rotations): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView2<'_, f32>)| {
            let classes = logits.len() as f64;
            let mean = logits.iter().map(|&z| f64::from(z)).sum::<f64>() / classes;
            let told_apart = log_sum_exp(logits.iter().map(|&z| f64::from(z))) - mean - classes.ln();
            let unseen = |(turn, logits): (usize, ndarray::ArrayView1<'_, f32>)| {
                log_sum_exp(logits.iter().map(|&z| f64::from(z))) - f64::from(logits[turn])
            };
            let turns = rotations.len_of(Axis(0)) as f64;
            told_apart - rotations.outer_iter().enumerate().map(unseen).sum::<f64>() / turns
        };
        rows.into_par_iter().map(row).collect()
    }

    fn state(&self) -> State {
        State::new()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "rot-pred",
        title: "RotPred",
        aliases: &[],
        year: 2019,
        paper: "https://arxiv.org/abs/1906.12340",
        formula: "KL(U || p) - mean_r CE(rotation logits of the image turned by r, r)",
        needs: Needs { logits: true, rotations: true, recipe: Some("rot-pred"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<RotPred>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;

    #[test]
    fn by_hand() {
        // p = (3/4, 1/4): KL(U || p) = -½ ln(4 · 3/16) = ½ ln(4/3); p = U: 0.
        let logits = array![[3_f32.ln(), 0.0], [5.0, 5.0]];
        // The right turn at 3 of 6: CE = ln 2; nothing known of the turn: CE = ln 4.
        let mut rotations = Array3::zeros((2, 4, 4));
        for turn in 0..4 {
            rotations[(0, turn, turn)] = 3_f32.ln();
        }
        let (embedding, patches) = (Array2::zeros((2, 0)), Array3::zeros((2, 0, 0)));
        let (logits, rotations) = (logits.view(), rotations.view());
        let batch = Batch { logits, embedding: embedding.view(), patches: patches.view(), rotations };
        let expected = [0.5 * (4.0_f64 / 3.0).ln() - 2_f64.ln(), -4_f64.ln()];
        for (score, expected) in Turns.score(&batch).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
    }
}
