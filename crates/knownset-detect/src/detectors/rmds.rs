//! Relative Mahalanobis distance score.
//!
//! Ren et al., *A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection*, 2021. Score:
//! max_c (d_0(f) − d_c(f)), d_c as in `mds` and d_0 the squared Mahalanobis distance to one Gaussian of all training
//! embeddings. Reference: OpenOOD v1.5 `rmds_postprocessor.py`.
//!
//! Deviations: those of `mds`.

use knownset_core::linalg::project_shifted;
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::detectors::mds::ClassGaussians;
use crate::input::{FitError, FitInput};
use crate::rows::map_blocks;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rmds {}

impl Spec for Rmds {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (mean, whitening) = (input.moments()?.mean.clone(), input.global_whitening()?.clone());
        Ok(Box::new(Relative { classes: ClassGaussians::fit(input)?, mean, whitening }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let whitening: Array2<f64> = state.f64("global_whitening")?;
        let rank = whitening.ncols();
        Ok(Box::new(Relative {
            classes: ClassGaussians::load(state, widths.embedding)?,
            mean: shaped("mean", state.f64("mean")?, &[widths.embedding])?,
            whitening: shaped("global_whitening", whitening, &[widths.embedding, rank])?,
        }))
    }
}

#[derive(Debug)]
struct Relative {
    classes: ClassGaussians,
    /// `[d]`.
    mean: Array1<f64>,
    /// `[d, r]`.
    whitening: Array2<f64>,
}

impl Relative {
    fn score_block(&self, rows: ArrayView2<'_, f32>) -> Vec<f64> {
        let white = project_shifted(rows, Some(self.mean.view()), self.whitening.view());
        let background = white.outer_iter().map(|row| row.iter().map(|value| value * value).sum::<f64>());
        background.zip(self.classes.nearest(rows)).map(|(background, nearest)| background - nearest).collect()
    }
}

impl Scorer for Relative {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_blocks(batch.embedding, |rows| self.score_block(rows))
    }

    fn state(&self) -> State {
        self.classes.state().with("mean", self.mean.clone()).with("global_whitening", self.whitening.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "rmds",
        title: "Relative Mahalanobis",
        aliases: &["RMD", "RelativeMahalanobis"],
        year: 2021,
        paper: "https://arxiv.org/abs/2106.09022",
        formula: "max_c (d_0(f) - d_c(f)), d_c and d_0 squared Mahalanobis distances to class c and to all",
        needs: Needs { embedding: true, labels: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Rmds>,
};

#[cfg(test)]
mod tests {
    use knownset_core::Features;
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Class means ∓5, within-class variance 1, overall variance 26 about 0.
        let train = Features {
            embedding: Some(array![[-6.0], [-4.0], [4.0], [6.0]]),
            labels: Some(array![0, 0, 1, 1]),
            ..Features::default()
        };
        let scorer = Rmds {}.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[0.0], [5.0], [-26.0]];
        for (score, expected) in
            scores(&*scorer, &Array2::zeros((3, 0)), &rows).iter().zip([-25.0, 25.0 / 26.0, 26.0 - 441.0])
        {
            assert!((score - expected).abs() < 1e-11, "{score} {expected}");
        }
    }
}
