//! Residual.
//!
//! Wang et al., *ViM: Out-Of-Distribution with Virtual-logit Matching*, CVPR 2022, the residual alone. Score:
//! −‖Rᵀ(f − u)‖ with u = −W⁺b and R the principal axes of the training embeddings about u beyond the first `dim`.
//! Reference: OpenOOD v1.5 `residual_postprocessor.py`.
//!
//! Deviations: fitted on the training images, as the paper does (OpenOOD: validation images); `dim` is by default
//! the paper's rule (see `dim_for`), and one as large as the embedding is an error instead of a zero score.

use knownset_core::linalg::project_shifted;
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_blocks, norm};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, Scorer, Spec, Widths, parse, shaped};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Residual {
    dim: Option<usize>,
}

impl Spec for Residual {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(NegativeResidual(NullSpace::fit(input, self.dim)?)))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(NegativeResidual(NullSpace::load(state, widths.embedding)?)))
    }
}

#[derive(Debug)]
struct NegativeResidual(NullSpace);

impl Scorer for NegativeResidual {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.0.residuals(batch.embedding).into_iter().map(|residual| -residual).collect()
    }

    fn state(&self) -> State {
        self.0.state()
    }
}

/// The directions in which training embeddings vary least.
#[derive(Debug)]
pub(crate) struct NullSpace {
    /// `[d]` u.
    origin: Array1<f64>,
    /// `[d, d − dim]` R.
    axes: Array2<f64>,
}

/// The paper's dimension of the principal subspace for embeddings of width d.
fn dim_for(d: usize) -> usize {
    match d {
        2048.. => 1000,
        768.. => 512,
        _ => d / 2,
    }
}

impl NullSpace {
    pub(crate) fn fit(input: &FitInput<'_>, dim: Option<usize>) -> Result<Self, FitError> {
        let width = input.embedding()?.ncols();
        let dim = dim.unwrap_or_else(|| dim_for(width));
        if dim >= width {
            return Err(FitError::NoResidual { dim, width });
        }
        let blind = input.blind_spot()?;
        // Eigenvalues ascend, so the last `dim` columns span the principal subspace.
        let axes = blind.axes.vectors.slice(s![.., ..width - dim]).as_standard_layout().into_owned();
        Ok(Self { origin: blind.origin.clone(), axes })
    }

    /// d − dim.
    pub(crate) fn codim(&self) -> usize {
        self.axes.ncols()
    }

    /// The length of each row's part in these directions.
    pub(crate) fn residuals(&self, rows: ArrayView2<'_, f32>) -> Vec<f64> {
        map_blocks(rows, |rows| {
            let parts = project_shifted(rows, Some(self.origin.view()), self.axes.view());
            parts.outer_iter().map(|row| norm(row.iter().copied())).collect()
        })
    }

    pub(crate) fn state(&self) -> State {
        State::new().with("origin", self.origin.clone()).with("axes", self.axes.clone())
    }

    pub(crate) fn load(state: &State, width: usize) -> Result<Self, StateError> {
        let axes: Array2<f64> = state.f64("axes")?;
        let rest = axes.ncols();
        Ok(Self {
            origin: shaped("origin", state.f64("origin")?, &[width])?,
            axes: shaped("axes", axes, &[width, rest])?,
        })
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "residual",
        title: "Residual",
        aliases: &[],
        year: 2022,
        paper: "https://arxiv.org/abs/2203.10807",
        formula: "-||R^T (f - u)||, u = -W^+ b, R the principal axes beyond the first dim",
        needs: Needs { embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc {
            name: "dim",
            doc: "dimension of the principal subspace; null: 1000 for width 2048 and more, 512 for 768 and more, else half",
        }],
    },
    spec: parse::<Residual>,
};

#[cfg(test)]
pub(crate) mod tests {
    use knownset_core::{Features, Head};
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    /// W = (1, 0), b = 2, so u = (−2, 0); about it the embeddings vary along the first axis mostly.
    pub(crate) fn train() -> Features {
        Features {
            logits: Some(array![[6.0], [6.0], [0.0]]),
            embedding: Some(array![[4.0, 1.0], [4.0, -1.0], [-2.0, 0.0]]),
            head: Some(Head { weight: array![[1.0, 0.0]], bias: array![2.0] }),
            ..Features::default()
        }
    }

    #[test]
    fn by_hand() {
        let train = train();
        let scorer = Residual { dim: None }.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[100.0, 0.0], [-2.0, 3.0], [0.0, -4.0]];
        for (score, expected) in scores(&*scorer, &Array2::zeros((3, 0)), &rows).iter().zip([0.0, -3.0, -4.0]) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }

    #[test]
    fn a_dim_without_residual_is_refused() {
        let train = train();
        let error = Residual { dim: Some(2) }.fit(&FitInput::new(&train, None).unwrap()).unwrap_err();
        assert!(matches!(error, FitError::NoResidual { dim: 2, width: 2 }), "{error}");
        assert_eq!([dim_for(64), dim_for(768), dim_for(2048)], [32, 512, 1000]);
    }
}
