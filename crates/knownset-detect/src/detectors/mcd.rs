//! Maximum classifier discrepancy.
//!
//! Yu and Aizawa, *Unsupervised Out-of-Distribution Detection by Maximum Classifier Discrepancy*, ICCV 2019. Score:
//! −‖softmax(z₁) − softmax(z₂)‖₁ of the two heads that the recipe `mcd` trained. The head of the features is the mean of
//! both, so the first is twice that mean less the second. Reference: OpenOOD v1.5 `mcd_postprocessor.py`.
//!
//! Deviation: none in the score. (OpenOOD trains with entropies whose softmax runs over the batch; the recipe does not.)

use knownset_core::parts::{SECOND_BIAS, SECOND_WEIGHT};
use knownset_core::state::{State, StateError};
use ndarray::{Axis, concatenate};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::rows::log_sum_exp;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mcd {}

impl Spec for Mcd {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let mean = Linear::new(input.head()?);
        let second = Linear::of_parts(input, [SECOND_WEIGHT, SECOND_BIAS], Some(mean.bias.len()))?;
        let (weight, bias) = (2.0 * mean.weight - &second.weight, 2.0 * mean.bias - &second.bias);
        let weight = concatenate![Axis(1), weight, second.weight];
        Ok(Box::new(Discrepancy { heads: Linear::from_f64(weight, concatenate![Axis(0), bias, second.bias]) }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let heads = Linear::load(state, widths.embedding)?;
        if heads.bias.len().is_multiple_of(2) {
            return Ok(Box::new(Discrepancy { heads }));
        }
        let expected = "twice as many outputs as classes".into();
        Err(StateError::Shape { name: "bias".into(), shape: heads.bias.shape().to_vec(), expected })
    }
}

#[derive(Debug)]
struct Discrepancy {
    /// The first head's K outputs, then the second's.
    heads: Linear,
}

impl Scorer for Discrepancy {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.heads.score(batch.embedding, |outputs| {
            let (first, second) = outputs.split_at(outputs.len() / 2);
            let (one, two) = (log_sum_exp(first.iter().copied()), log_sum_exp(second.iter().copied()));
            -first.iter().zip(second).map(|(a, b)| ((a - one).exp() - (b - two).exp()).abs()).sum::<f64>()
        })
    }

    fn state(&self) -> State {
        self.heads.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "mcd",
        title: "MCD",
        aliases: &[],
        year: 2019,
        paper: "https://arxiv.org/abs/1908.04951",
        formula: "-||p_1 - p_2||_1, the softmaxes of two heads",
        needs: Needs {
            embedding: true,
            head: true,
            parts: &[SECOND_WEIGHT, SECOND_BIAS],
            recipe: Some("mcd"),
            ..Needs::NONE
        },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Mcd>,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use knownset_core::{Features, Head};
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // First head (f, 0), second head (0, f): their mean is (f/2, f/2).
        let train = Features {
            embedding: Some(array![[1.0]]),
            head: Some(Head { weight: array![[0.5], [0.5]], bias: array![0.0, 0.0] }),
            parts: BTreeMap::from([
                (SECOND_WEIGHT.into(), array![[0.0], [1.0]]),
                (SECOND_BIAS.into(), array![[0.0, 0.0]]),
            ]),
            ..Features::default()
        };
        let fitted = Mcd {}.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[0.0], [3_f32.ln()], [1000.0]];
        // p = (3/4, 1/4) against (1/4, 3/4): twice a half.
        for (score, expected) in scores(&*fitted, &Array2::zeros((3, 0)), &rows).iter().zip([0.0, -1.0, -2.0]) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
    }
}
