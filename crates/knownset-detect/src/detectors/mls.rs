//! Maximum logit.
//!
//! Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings*, ICML 2022. Score: max_c z_c.
//! Reference: OpenOOD v1.5 `maxlogit_postprocessor.py`. No deviation.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, max};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mls {}

impl Spec for Mls {
    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(MaxLogit))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(MaxLogit))
    }
}

#[derive(Debug)]
struct MaxLogit;

impl Scorer for MaxLogit {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, max)
    }

    fn state(&self) -> State {
        State::new()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "mls",
        title: "MaxLogit",
        aliases: &["MaxLogit", "Logit", "kplus1-maxlogit"],
        year: 2022,
        paper: "https://arxiv.org/abs/1911.11132",
        formula: "max_c z_c",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Mls>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let logits = array![[1.0, 2.0], [-3.0, -4.0], [5.0, 5.0]];
        assert_eq!(scores(&MaxLogit, &logits, &Array2::zeros((3, 0))), [2.0, -3.0, 5.0]);
    }
}
