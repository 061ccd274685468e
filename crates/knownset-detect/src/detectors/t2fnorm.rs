//! Train-time feature normalisation.
//!
//! Regmi et al., *T2FNorm: Train-time Feature Normalization for OOD Detection in Image Classification*, CVPR workshops
//! 2024. The recipe `t2fnorm` trains on fc(f / (τ‖f‖)) and scores fc(f / τ), the length of the embedding kept; its head is
//! exported as W / τ, so these are the logits of the features. Score: max_c softmax(z)_c, as the authors' code in
//! OpenOOD v1.5 (`t2fnorm_postprocessor.py`), or with `base=max-logit` max_c z_c. No deviation.
//!
//! These are `msp` and `mls` of such a network; the detector makes sure that it is one.

use knownset_core::parts::T2FNORM_TAU;
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::detectors::msp::max_softmax;
use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, max};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, Scorer, Spec, Widths, parse};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct T2FNorm {
    base: Base,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Base {
    #[default]
    Msp,
    MaxLogit,
}

impl Spec for T2FNorm {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let tau = input.number(T2FNORM_TAU)?;
        if tau > 0.0 {
            return Ok(Box::new(Unnormalised(self.base)));
        }
        Err(FitError::PartValue { name: T2FNORM_TAU, value: tau, expected: "a number above 0".into() })
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Unnormalised(self.base)))
    }
}

#[derive(Debug)]
struct Unnormalised(Base);

impl Scorer for Unnormalised {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| match self.0 {
            Base::Msp => max_softmax(row, 1.0),
            Base::MaxLogit => max(row),
        })
    }

    fn state(&self) -> State {
        State::new()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "t2fnorm",
        title: "T2FNorm",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2305.17797",
        formula: "max_c softmax(z)_c of z = fc(f / tau), trained on fc(f / (tau ||f||))",
        needs: Needs { logits: true, parts: &[T2FNORM_TAU], recipe: Some("t2fnorm"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "base", doc: "`msp`: the largest softmax; `max-logit`: the largest logit" }],
    },
    spec: parse::<T2FNorm>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let (logits, none) = (array![[3_f32.ln(), 0.0], [0.0, 0.0]], Array2::zeros((2, 0)));
        let msp = scores(&Unnormalised(Base::Msp), &logits, &none);
        assert!((msp[0] - 0.75).abs() < 1e-7 && msp[1] == 0.5, "{msp:?}");
        assert_eq!(scores(&Unnormalised(Base::MaxLogit), &logits, &none), [f64::from(3_f32.ln()), 0.0]);
    }
}
