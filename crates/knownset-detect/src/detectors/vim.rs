//! Virtual-logit matching.
//!
//! Wang et al., *ViM: Out-Of-Distribution with Virtual-logit Matching*, CVPR 2022. Score:
//! log Σ_c exp(z_c) − α ‖Rᵀ(f − u)‖, with the residual of `residual` and α the mean largest training logit over the
//! mean training residual. Reference: OpenOOD v1.5 `vim_postprocessor.py`.
//!
//! Deviations: `dim` is by default the paper's rule (OpenOOD: 256); one as large as the embedding, or training
//! embeddings without any residual, is an error instead of NaN.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::detectors::ebo::energy;
use crate::detectors::residual::NullSpace;
use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, max, mean, norm};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, Scorer, Spec, Widths, parse};

/// A mean residual below this share of the mean length is rounding of f32 features.
const FLAT: f64 = 1e-7;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Vim {
    dim: Option<usize>,
}

impl Spec for Vim {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (logits, embedding) = (input.logits()?, input.embedding()?);
        let space = NullSpace::fit(input, self.dim)?;
        let residual = mean(&space.residuals(embedding));
        let length = mean(&map_rows(embedding, |row| norm(row.iter().map(|&value| f64::from(value)))));
        if residual <= FLAT * length {
            let (rows, width) = embedding.dim();
            return Err(FitError::FlatResidual { rows, width, dim: width - space.codim() });
        }
        Ok(Box::new(VirtualLogit { space, alpha: mean(&map_rows(logits, max)) / residual }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let space = NullSpace::load(state, widths.embedding)?;
        Ok(Box::new(VirtualLogit { space, alpha: state.number("alpha")? }))
    }
}

#[derive(Debug)]
struct VirtualLogit {
    space: NullSpace,
    alpha: f64,
}

impl Scorer for VirtualLogit {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let mut scores = map_rows(batch.logits, |row| energy(row, 1.0));
        for (score, residual) in scores.iter_mut().zip(self.space.residuals(batch.embedding)) {
            *score -= self.alpha * residual;
        }
        scores
    }

    fn state(&self) -> State {
        self.space.state().with_number("alpha", self.alpha)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "vim",
        title: "ViM",
        aliases: &[],
        year: 2022,
        paper: "https://arxiv.org/abs/2203.10807",
        formula: "log sum_c exp(z_c) - a ||R^T (f - u)||, u = -W^+ b, R the principal axes beyond the first dim",
        needs: Needs { logits: true, embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc {
            name: "dim",
            doc: "dimension of the principal subspace; null: 1000 for width 2048 and more, 512 for 768 and more, else half",
        }],
    },
    spec: parse::<Vim>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::detectors::residual::tests::train;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Mean largest logit 4, mean residual 2/3: α = 6.
        let train = train();
        let scorer = Vim { dim: Some(1) }.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let (logits, rows) = (array![[102.0], [0.0], [2.0]], array![[100.0, 0.0], [-2.0, 3.0], [0.0, -4.0]]);
        for (score, expected) in scores(&*scorer, &logits, &rows).iter().zip([102.0, -18.0, -22.0]) {
            assert!((score - expected).abs() < 1e-11, "{score} {expected}");
        }
    }

    #[test]
    fn training_images_in_the_subspace_are_refused() {
        let mut train = train();
        train.embedding = Some(array![[4.0, 0.0], [3.0, 0.0], [-2.0, 0.0]]);
        let error = Vim { dim: Some(1) }.fit(&FitInput::new(&train, None).unwrap()).unwrap_err();
        assert!(matches!(error, FitError::FlatResidual { rows: 3, width: 2, dim: 1 }), "{error}");
    }
}
