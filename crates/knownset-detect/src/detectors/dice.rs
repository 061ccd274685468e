//! Directed sparsification.
//!
//! Sun and Li, *DICE: Leveraging Sparsification for Out-of-Distribution Detection*, ECCV 2022. Score:
//! log Σ exp((W ∘ M) f + b), where M keeps the weights whose mean contribution w_cd · mean(f_d) over the training
//! images lies above the `percentile` of all contributions. Reference: OpenOOD v1.5 `dice_postprocessor.py`.
//! No deviation.

use knownset_core::state::{State, StateError};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::rows::percentile;
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Dice {
    percentile: f64,
}

impl Default for Dice {
    fn default() -> Self {
        Self { percentile: 90.0 }
    }
}

impl Spec for Dice {
    fn check(&self) -> Result<(), ParamError> {
        require((0.0..=100.0).contains(&self.percentile), "percentile", self.percentile, "between 0 and 100")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (head, mean) = (input.head()?, &input.moments()?.mean);
        let weight = head.weight.t().mapv(f64::from);
        let contributions = Array2::from_shape_fn(weight.dim(), |(d, c)| weight[(d, c)] * mean[d]);
        let threshold = percentile(contributions.iter().copied().collect(), self.percentile);
        let masked =
            Array2::from_shape_fn(weight.dim(), |at| if contributions[at] > threshold { weight[at] } else { 0.0 });
        Ok(Box::new(Sparse { head: Linear::from_f64(masked, head.bias.mapv(f64::from)) }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Sparse { head: Linear::load(state, widths.embedding)? }))
    }
}

#[derive(Debug)]
struct Sparse {
    head: Linear,
}

impl Scorer for Sparse {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.head.energy(batch.embedding, |_| 1.0)
    }

    fn state(&self) -> State {
        self.head.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "dice",
        title: "DICE",
        aliases: &[],
        year: 2022,
        paper: "https://arxiv.org/abs/2111.09805",
        formula: "log sum exp((W * M) f + b), M the weights with w_cd * mean(f_d) above a percentile",
        needs: Needs { embedding: true, head: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "percentile", doc: "share of the weights that become 0, 0 to 100" }],
    },
    spec: parse::<Dice>,
};

#[cfg(test)]
mod tests {
    use knownset_core::{Features, Head};
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Contributions 1, 6, 2, −9 and their median 1.5: the weights 3 and 2 stay.
        let train = Features {
            embedding: Some(array![[0.0, 2.0], [2.0, 2.0], [1.0, 2.0]]),
            head: Some(Head { weight: array![[1.0, 3.0], [2.0, -4.5]], bias: array![0.0, 1e3] }),
            ..Features::default()
        };
        let scorer = Dice { percentile: 50.0 }.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[5.0, 0.0], [0.0, 7.0], [-5.0, 9.0]];
        assert_eq!(scores(&*scorer, &Array2::zeros((3, 0)), &rows), [1010.0, 1000.0, 990.0]);
    }
}
