//! Weighted energy.
//!
//! Du et al., *VOS: Learning What You Don't Know by Virtual Outlier Synthesis*, ICLR 2022. Score:
//! log Σ_c relu(w_c) exp(z_c), with the weights w that the recipe `vos` trained. The logistic layer that VOS puts on this
//! energy ranks as it does and is left out. Reference: pytorch-ood 0.4.0 `WeightedEBO`.
//!
//! Deviation: the largest term is taken out of the sum, where pytorch-ood overflows for logits above 88.

use knownset_core::parts::ENERGY_WEIGHT;
use knownset_core::state::{State, StateError};
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{log_sum_exp, map_rows};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightedEbo {}

impl Spec for WeightedEbo {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let weight = input.part(ENERGY_WEIGHT, Some(1), input.logits()?.ncols())?.row(0);
        let largest = weight.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let expected = || "at least one weight above 0".to_owned();
        Weighted::new(weight.mapv(f64::from))
            .map(|scorer| Box::new(scorer) as Box<dyn Scorer>)
            .ok_or_else(|| FitError::PartValue { name: ENERGY_WEIGHT, value: largest, expected: expected() })
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let scorer = Weighted::new(shaped("weight", state.f64("weight")?, &[widths.logits])?);
        Ok(Box::new(scorer.ok_or_else(|| StateError::ZeroRow("weight".into()))?))
    }
}

#[derive(Debug)]
struct Weighted {
    /// `[K]` w, as trained.
    weight: Array1<f64>,
    /// Classes of positive weight, and its logarithm.
    terms: Vec<(usize, f64)>,
}

impl Weighted {
    /// `None` if no weight is positive.
    fn new(weight: Array1<f64>) -> Option<Self> {
        let terms: Vec<_> =
            weight.iter().enumerate().filter(|(_, w)| **w > 0.0).map(|(class, w)| (class, w.ln())).collect();
        (!terms.is_empty()).then_some(Self { weight, terms })
    }
}

impl Scorer for Weighted {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| log_sum_exp(self.terms.iter().map(|&(class, log)| f64::from(row[class]) + log)))
    }

    fn state(&self) -> State {
        State::new().with("weight", self.weight.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "weighted-ebo",
        title: "WeightedEBO",
        aliases: &["VOS score", "vos"],
        year: 2022,
        paper: "https://arxiv.org/abs/2202.01197",
        formula: "log sum_c relu(w_c) exp(z_c), w trained with the network",
        needs: Needs { logits: true, parts: &[ENERGY_WEIGHT], recipe: Some("vos"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<WeightedEbo>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let weighted = Weighted::new(array![2.0, -1.0, 0.0, 1.0]).unwrap();
        let logits = array![[0.0, 9.0, 9.0, 0.0], [1e4, 2e4, 0.0, -1e4]];
        let scores = scores(&weighted, &logits, &Array2::zeros((2, 0)));
        assert!((scores[0] - 3_f64.ln()).abs() < 1e-15, "{scores:?}");
        assert_eq!(scores[1], 1e4 + 2_f64.ln());
        assert!(Weighted::new(array![0.0, -1.0]).is_none());
    }
}
