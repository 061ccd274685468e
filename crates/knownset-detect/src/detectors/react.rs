//! Rectified activations.
//!
//! Sun et al., *ReAct: Out-of-distribution Detection With Rectified Activations*, NeurIPS 2021. Score:
//! log Σ exp(W min(f, t) + b), t the `percentile` of all activations of in-distribution validation images (training
//! images where there are none). Reference: OpenOOD v1.5 `react_postprocessor.py`.
//!
//! Deviation: none; t is rounded to f32, the precision of the activations, as NumPy does.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::rows::percentile;
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct React {
    percentile: f64,
}

impl Default for React {
    fn default() -> Self {
        Self { percentile: 90.0 }
    }
}

impl Spec for React {
    fn check(&self) -> Result<(), ParamError> {
        require((0.0..=100.0).contains(&self.percentile), "percentile", self.percentile, "between 0 and 100")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let activations: Vec<f32> = input.val_embedding()?.iter().copied().collect();
        let threshold = percentile(activations, self.percentile) as f32;
        Ok(Box::new(Clipped { head: Linear::new(input.head()?), threshold }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let threshold = state.number("threshold")? as f32;
        Ok(Box::new(Clipped { head: Linear::load(state, widths.embedding)?, threshold }))
    }
}

#[derive(Debug)]
struct Clipped {
    head: Linear,
    threshold: f32,
}

impl Scorer for Clipped {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.head.energy(batch.embedding, |row| {
            for value in row {
                *value = value.min(self.threshold);
            }
            1.0
        })
    }

    fn state(&self) -> State {
        self.head.state().with_number("threshold", f64::from(self.threshold))
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "react",
        title: "ReAct",
        aliases: &[],
        year: 2021,
        paper: "https://arxiv.org/abs/2111.12797",
        formula: "log sum exp(W min(f, t) + b), t a percentile of all in-distribution activations",
        needs: Needs { embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "percentile", doc: "of the activations, where they are cut off, 0 to 100" }],
    },
    spec: parse::<React>,
};

#[cfg(test)]
mod tests {
    use knownset_core::{Features, Head};
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let train = Features {
            embedding: Some(array![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]),
            head: Some(Head { weight: array![[1.0, 1.0]], bias: array![0.5] }),
            ..Features::default()
        };
        let scorer = React { percentile: 60.0 }.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[1.0, 2.0], [9.0, 2.0], [9.0, 9.0]];
        assert_eq!(scores(&*scorer, &Array2::zeros((3, 0)), &rows), [3.5, 5.5, 6.5]);
    }
}
