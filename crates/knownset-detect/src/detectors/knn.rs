//! Deep nearest neighbours.
//!
//! Sun et al., *Out-of-Distribution Detection with Deep Nearest Neighbors*, ICML 2022. Score: minus the squared
//! Euclidean distance, on the unit sphere, to the k-th nearest training embedding. Reference: OpenOOD v1.5
//! `knn_postprocessor.py`.
//!
//! Deviations: no 1e-10 is added to the unit vectors; a zero embedding stays zero instead of becoming NaN; a k
//! larger than the training set is an error, not a smaller k. Search is exact.

use std::sync::Arc;

use knownset_core::neighbours::Bank;
use knownset_core::state::{State, StateError};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{
    Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require, shaped,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Knn {
    k: usize,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 50 }
    }
}

impl Spec for Knn {
    fn check(&self) -> Result<(), ParamError> {
        require(self.k > 0, "k", self.k as f64, "at least 1")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let bank = Arc::clone(input.bank()?);
        if self.k > bank.len() {
            return Err(FitError::TooFewRows { k: self.k, rows: bank.len() });
        }
        Ok(Box::new(KthNeighbour { bank, k: self.k }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let unit: Array2<f32> = state.f32("unit")?;
        let rows = unit.nrows().max(self.k);
        let unit = shaped("unit", unit, &[rows, widths.embedding])?;
        Ok(Box::new(KthNeighbour { bank: Arc::new(Bank::from_unit(unit)), k: self.k }))
    }
}

#[derive(Debug)]
struct KthNeighbour {
    bank: Arc<Bank>,
    k: usize,
}

impl Scorer for KthNeighbour {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.bank.kth_squared_distance(batch.embedding, self.k).into_iter().map(|distance| -distance).collect()
    }

    fn state(&self) -> State {
        State::new().with("unit", self.bank.unit().clone())
    }
}

/// Its parameter.
pub(crate) const K: ParamDoc = ParamDoc { name: "k", doc: "which neighbour, at least 1" };

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "knn",
        title: "KNN",
        aliases: &["DKNN", "knn_euclides"],
        year: 2022,
        paper: "https://arxiv.org/abs/2204.06507",
        formula: "-||f/||f|| - f_(k)/||f_(k)|| ||^2, f_(k) the k-th nearest training embedding",
        needs: Needs { embedding: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[K],
    },
    spec: parse::<Knn>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand_on_the_circle() {
        let bank = Arc::new(Bank::new(array![[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]].view()));
        let scorer = KthNeighbour { bank, k: 2 };
        let rows = array![[1.0, 0.0], [0.0, 7.0], [-1.0, 0.0]];
        assert_eq!(scores(&scorer, &Array2::zeros((3, 0)), &rows), [-2.0, -2.0, -2.0]);
    }
}
