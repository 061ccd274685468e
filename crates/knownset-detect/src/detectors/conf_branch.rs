//! Confidence branch.
//!
//! DeVries and Taylor, *Learning Confidence for Out-of-Distribution Detection in Neural Networks*, 2018. Score:
//! sigmoid(v · f + a), the confidence that the recipe `conf-branch` trained beside the head. Reference: OpenOOD v1.5
//! `conf_branch_postprocessor.py`.
//!
//! Deviation: no input perturbation, which the paper adds as an option and OpenOOD leaves out too.

use knownset_core::parts::{CONFIDENCE_BIAS, CONFIDENCE_WEIGHT};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfBranch {}

impl Spec for ConfBranch {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Confidence { layer: Linear::of_parts(input, [CONFIDENCE_WEIGHT, CONFIDENCE_BIAS], Some(1))? }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let Linear { weight, bias } = Linear::load(state, widths.embedding)?;
        Ok(Box::new(Confidence { layer: Linear { weight, bias: shaped("bias", bias, &[1])? } }))
    }
}

#[derive(Debug)]
struct Confidence {
    layer: Linear,
}

impl Scorer for Confidence {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.layer.score(batch.embedding, |outputs| 1.0 / (1.0 + (-outputs[0]).exp()))
    }

    fn state(&self) -> State {
        self.layer.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "conf-branch",
        title: "ConfBranch",
        aliases: &[],
        year: 2018,
        paper: "https://arxiv.org/abs/1802.04865",
        formula: "sigmoid(v f + a), the confidence trained beside the head",
        needs: Needs {
            embedding: true,
            parts: &[CONFIDENCE_WEIGHT, CONFIDENCE_BIAS],
            recipe: Some("conf-branch"),
            ..Needs::NONE
        },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<ConfBranch>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let layer = Linear::from_f64(array![[2.0], [-1.0]], array![1.0]);
        let rows = array![[0.0, 1.0], [1.0, 1.0], [-1.0, 3.0], [1e30, 0.0]];
        let confidence = scores(&Confidence { layer }, &Array2::zeros((4, 0)), &rows);
        let e = std::f64::consts::E;
        for (score, expected) in confidence.iter().zip([0.5, e * e / (1.0 + e * e), 1.0 / (1.0 + e.powi(4)), 1.0]) {
            assert!((score - expected).abs() < 1e-15, "{score} {expected}");
        }
    }
}
