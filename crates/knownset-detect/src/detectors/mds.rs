//! Mahalanobis distance score.
//!
//! Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks*,
//! NeurIPS 2018. Score: −min_c (f − μ_c)ᵀ Σ⁺ (f − μ_c), where Σ is the covariance about the class means that all
//! classes share, divided by n. Reference: OpenOOD v1.5 `mds_postprocessor.py` on the last layer.
//!
//! Deviations: the pseudo-inverse ignores directions without variance; classes without training images have no
//! Gaussian; no input perturbation and no second layer.

use knownset_core::linalg::{project, project_shifted};
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::map_blocks;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mds {}

impl Spec for Mds {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Mahalanobis(ClassGaussians::fit(input)?)))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Mahalanobis(ClassGaussians::load(state, widths.embedding)?)))
    }
}

#[derive(Debug)]
struct Mahalanobis(ClassGaussians);

impl Scorer for Mahalanobis {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_blocks(batch.embedding, |rows| self.0.nearest(rows).into_iter().map(|distance| -distance).collect())
    }

    fn state(&self) -> State {
        self.0.state()
    }
}

/// One Gaussian per class with a common covariance.
#[derive(Debug)]
pub(crate) struct ClassGaussians {
    /// `[d]` mean of all training embeddings; distances are computed about it, where numbers are small.
    centre: Array1<f64>,
    /// `[d, r]` V with V·Vᵀ = Σ⁺.
    whitening: Array2<f64>,
    /// `[C, d]` means of the classes that have training images.
    means: Array2<f64>,
    /// `[d, r + C]`: V, then V·Vᵀ(μ_c − centre).
    map: Array2<f64>,
    /// `[C]`: ‖Vᵀ(μ_c − centre)‖².
    squares: Array1<f64>,
}

impl ClassGaussians {
    pub(crate) fn fit(input: &FitInput<'_>) -> Result<Self, FitError> {
        let (whitening, moments) = (input.within_whitening()?, input.moments()?);
        let seen: Vec<usize> = (0..moments.class_counts.len()).filter(|&c| moments.class_counts[c] > 0).collect();
        Ok(Self::new(moments.mean.clone(), whitening.clone(), moments.class_means.select(Axis(0), &seen)))
    }

    fn new(centre: Array1<f64>, whitening: Array2<f64>, means: Array2<f64>) -> Self {
        let white = project_shifted(means.view(), Some(centre.view()), whitening.view());
        let along = project(whitening.view(), white.t());
        let squares = white.map_axis(Axis(1), |row| row.iter().map(|value| value * value).sum());
        let map = concatenate![Axis(1), whitening, along];
        Self { centre, whitening, means, map, squares }
    }

    /// The squared Mahalanobis distance of each row to its nearest class.
    pub(crate) fn nearest(&self, rows: ArrayView2<'_, f32>) -> Vec<f64> {
        let rank = self.whitening.ncols();
        let mapped = project_shifted(rows, Some(self.centre.view()), self.map.view());
        let nearest = mapped.outer_iter().map(|row| {
            let (white, along) = (row.slice(s![..rank]), row.slice(s![rank..]));
            let square: f64 = white.iter().map(|value| value * value).sum();
            let relative = along.iter().zip(&self.squares).map(|(along, square)| square - 2.0 * along);
            (square + relative.fold(f64::INFINITY, f64::min)).max(0.0)
        });
        nearest.collect()
    }

    pub(crate) fn state(&self) -> State {
        State::new()
            .with("centre", self.centre.clone())
            .with("whitening", self.whitening.clone())
            .with("means", self.means.clone())
    }

    pub(crate) fn load(state: &State, width: usize) -> Result<Self, StateError> {
        let (whitening, means): (Array2<f64>, Array2<f64>) = (state.f64("whitening")?, state.f64("means")?);
        let (rank, classes) = (whitening.ncols(), means.nrows().max(1));
        Ok(Self::new(
            shaped("centre", state.f64("centre")?, &[width])?,
            shaped("whitening", whitening, &[width, rank])?,
            shaped("means", means, &[classes, width])?,
        ))
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "mds",
        title: "Mahalanobis",
        aliases: &["Mahalanobis", "DeepMahalanobis"],
        year: 2018,
        paper: "https://arxiv.org/abs/1807.03888",
        formula: "-min_c (f - mu_c)^T S^+ (f - mu_c)",
        needs: Needs { embedding: true, labels: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Mds>,
};

#[cfg(test)]
mod tests {
    use knownset_core::Features;
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Class means (0,0) and (10,0); within-class covariance diag(1, 4), one direction without variance.
        let train = Features {
            embedding: Some(array![[-1.0, 2.0, 5.0], [1.0, -2.0, 5.0], [9.0, -2.0, 5.0], [11.0, 2.0, 5.0]]),
            labels: Some(array![0, 0, 1, 1]),
            ..Features::default()
        };
        let scorer = Mds {}.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[0.0, 0.0, 5.0], [0.0, 4.0, 5.0], [13.0, 2.0, 7.0]];
        for (score, expected) in scores(&*scorer, &Array2::zeros((3, 0)), &rows).iter().zip([0.0, -4.0, -10.0]) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }
}
