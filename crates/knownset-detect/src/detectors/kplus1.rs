//! Scores of a classifier with one class more: everything else.
//!
//! Chen et al., *FodFoM: Fake Outlier Data by Foundation Models Creates Stronger Visual Out-of-Distribution Detector*, ACM
//! MM 2024. The recipe `fodfom` trains K known classes and, as the last logit, what is none of them. Scores, as the
//! authors' `Detection/OOD_score_method` for CIFAR:
//!
//! - `kplus1-msp`: log(max_c≤K p_c / p_K+1) = max_c≤K z_c − z_K+1
//! - `kplus1-energy`: log Σ_c≤K exp(z_c)
//! - `kplus1-maxlogit`: max_c≤K z_c
//!
//! Deviation: the logarithm of the first ratio, which ranks alike and does not overflow. The authors' ImageNet script
//! also sums the last logit into the energy, and lowers some scores of OOD sets by a constant; neither is repeated.

use knownset_core::parts::OUTLIER_CLASS;
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{log_sum_exp, map_rows, max};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// From the logits of the known classes and that of everything else.
type Score = fn(&[f32], f32) -> f64;

const MSP: usize = 0;
const ENERGY: usize = 1;
const MAX_LOGIT: usize = 2;
static SCORES: [Score; 3] = [
    |known, other| max(known) - f64::from(other),
    |known, _| log_sum_exp(known.iter().map(|&z| f64::from(z))),
    |known, _| max(known),
];

/// One of [`SCORES`], without parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KPlus1<const SCORE: usize> {}

impl<const SCORE: usize> Spec for KPlus1<SCORE> {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (value, logits) = (input.number(OUTLIER_CLASS)?, input.logits()?.ncols());
        if logits > 1 && value == (logits - 1) as f32 {
            return Ok(Box::new(KnownAgainstRest { classes: logits - 1, score: SCORES[SCORE] }));
        }
        let expected = format!("the index of the last of {logits} logits, with at least one before it");
        Err(FitError::PartValue { name: OUTLIER_CLASS, value, expected })
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let classes = state.number("classes")?;
        if widths.logits > 1 && classes == (widths.logits - 1) as f64 {
            return Ok(Box::new(KnownAgainstRest { classes: widths.logits - 1, score: SCORES[SCORE] }));
        }
        let expected = format!("{classes} classes and one more");
        Err(StateError::Shape { name: "logits".into(), shape: vec![widths.logits], expected })
    }
}

#[derive(Debug)]
struct KnownAgainstRest {
    /// K.
    classes: usize,
    score: Score,
}

impl Scorer for KnownAgainstRest {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| (self.score)(&row[..self.classes], row[self.classes]))
    }

    fn state(&self) -> State {
        State::new().with_number("classes", self.classes as f64)
    }
}

const fn info(name: &'static str, title: &'static str, formula: &'static str) -> Info {
    Info {
        name,
        title,
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2412.05293",
        formula,
        needs: Needs { logits: true, parts: &[OUTLIER_CLASS], recipe: Some("fodfom"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    }
}

pub(crate) static MSP_ENTRY: Entry =
    Entry { info: info("kplus1-msp", "K+1 MSP", "log(max_c p_c / p_K+1), c up to K"), spec: parse::<KPlus1<MSP>> };

pub(crate) static ENERGY_ENTRY: Entry =
    Entry { info: info("kplus1-energy", "K+1 Energy", "log sum_c exp(z_c), c up to K"), spec: parse::<KPlus1<ENERGY>> };

pub(crate) static MAX_LOGIT_ENTRY: Entry =
    Entry { info: info("kplus1-maxlogit", "K+1 MaxLogit", "max_c z_c, c up to K"), spec: parse::<KPlus1<MAX_LOGIT>> };

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let logits = array![[2.0, 0.0, 5.0], [0.0, 0.0, -1e4]];
        let score = |score| {
            let scorer = KnownAgainstRest { classes: 2, score: SCORES[score] };
            scores(&scorer, &logits, &Array2::zeros((2, 0)))
        };
        assert_eq!(score(MSP), [-3.0, 1e4]);
        assert_eq!(score(MAX_LOGIT), [2.0, 0.0]);
        let energy = score(ENERGY);
        assert!((energy[0] - (2.0 + (-2_f64).exp().ln_1p())).abs() < 1e-15 && energy[1] == 2_f64.ln(), "{energy:?}");
    }
}
