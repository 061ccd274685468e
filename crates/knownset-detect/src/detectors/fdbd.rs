//! Fast decision boundary detector.
//!
//! Liu and Qin, *Fast Decision Boundary based Out-of-Distribution Detector*, ICML 2024. Score:
//! Σ_c |z_ŷ − z_c| / ‖w_ŷ − w_c‖, the sum of distances to the decision boundaries, over ‖f − μ‖ with μ the mean
//! training embedding (or over ‖f‖). Reference: OpenOOD v1.5 `fdbd_postprocessor.py`.
//!
//! Deviations: two classes with the same weights have no boundary and add nothing, instead of NaN; a normaliser
//! below 1e-8 counts as 1e-8, as in pytorch-ood (which also divides by K − 1).

use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{argmax, map_pairs, norm};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, Scorer, Spec, Widths, parse, shaped};

/// Smallest length to divide by.
const SHORTEST: f64 = 1e-8;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fdbd {
    normalizer: Normalizer,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Normalizer {
    /// ‖f − μ‖
    #[default]
    Distance,
    /// ‖f‖
    Norm,
}

impl Spec for Fdbd {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (moments, weight) = (input.moments()?, &input.head()?.weight);
        let between = |a: usize, b: usize| {
            let pair = weight.row(a).to_owned().into_iter().zip(weight.row(b));
            norm(pair.map(|(a, &b)| f64::from(a) - f64::from(b)))
        };
        let classes = weight.nrows();
        let boundaries = Array2::from_shape_fn((classes, classes), |(a, b)| between(a, b));
        let centre = match self.normalizer {
            Normalizer::Distance => moments.mean.clone(),
            Normalizer::Norm => Array1::zeros(weight.ncols()),
        };
        Ok(Box::new(Boundaries { boundaries, centre }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let boundaries = shaped("boundaries", state.f64("boundaries")?, &[widths.logits, widths.logits])?;
        Ok(Box::new(Boundaries { boundaries, centre: shaped("centre", state.f64("centre")?, &[widths.embedding])? }))
    }
}

#[derive(Debug)]
struct Boundaries {
    /// `[K, K]` ‖w_a − w_b‖.
    boundaries: Array2<f64>,
    /// `[d]` μ, or zero.
    centre: Array1<f64>,
}

impl Scorer for Boundaries {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_pairs(batch, |logits, embedding| {
            let predicted = argmax(logits);
            let largest = f64::from(logits[predicted]);
            let apart = self.boundaries.index_axis(Axis(0), predicted);
            let boundaries = logits.iter().zip(apart).filter(|(_, apart)| **apart > 0.0);
            let sum: f64 = boundaries.map(|(&z, apart)| (largest - f64::from(z)) / apart).sum();
            let length = norm(embedding.iter().zip(&self.centre).map(|(&value, centre)| f64::from(value) - centre));
            sum / length.max(SHORTEST)
        })
    }

    fn state(&self) -> State {
        State::new().with("boundaries", self.boundaries.clone()).with("centre", self.centre.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "fdbd",
        title: "fDBD",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2312.11536",
        formula: "sum_c |z_yhat - z_c| / ||w_yhat - w_c|| / ||f - mean||",
        needs: Needs { logits: true, embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc {
            name: "normalizer",
            doc: "`distance`: divide by the distance to the mean training embedding; `norm`: by the embedding's length",
        }],
    },
    spec: parse::<Fdbd>,
};

#[cfg(test)]
mod tests {
    use knownset_core::{Features, Head};
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let train = Features {
            embedding: Some(array![[1.0, 1.0], [1.0, -1.0]]),
            head: Some(Head { weight: array![[3.0, 0.0], [0.0, 4.0], [3.0, 0.0]], bias: array![0.0, 0.0, 0.0] }),
            ..Features::default()
        };
        let input = FitInput::new(&train, None).unwrap();
        let logits = array![[10.0, 0.0, 9.0], [0.0, 5.0, -5.0], [1.0, 1.0, 1.0]];
        let rows = array![[3.0, 0.0], [1.0, 2.0], [1.0, 0.0]];
        let distance = Fdbd { normalizer: Normalizer::Distance }.fit(&input).unwrap();
        assert_eq!(scores(&*distance, &logits, &rows), [10.0 / 5.0 / 2.0, 15.0 / 5.0 / 2.0, 0.0]);
        let length = Fdbd { normalizer: Normalizer::Norm }.fit(&input).unwrap();
        assert_eq!(scores(&*length, &logits, &rows), [10.0 / 5.0 / 3.0, 15.0 / 5.0 / 5_f64.sqrt(), 0.0]);
    }
}
