//! Conjugated semantic pool.
//!
//! Chen et al., *Conjugated Semantic Pool Improves OOD Detection with Pre-trained Vision-Language Models*, NeurIPS
//! 2024. The score of `neglabel` over another pool of words (`prompts.conjugated`): mined nouns, and mined adjectives
//! each joined with a superclass such as "place" or "item". Reference: the authors'
//! `mmcls/models/classifiers/multi_modal.py`. Deviations as for `neglabel`.

use knownset_core::prompts::{CLASSES, CONJUGATED};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::grouped::{Grouping, PARAMS};
use crate::input::{FitError, FitInput};
use crate::spec::{Entry, Info, Information, Needs, ParamError, Scorer, Spec, Widths, parse};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Csp(Grouping);

impl Spec for Csp {
    fn check(&self) -> Result<(), ParamError> {
        self.0.check()
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        self.0.fit(input, CONJUGATED)
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        self.0.load(state, widths, CONJUGATED)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "csp",
        title: "CSP",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2410.08611",
        formula: "mean_g sum_j exp(100 s_j) / (sum_j exp(100 s_j) + sum_{l in g} exp(100 n_l)), n the cosines with the pool",
        needs: Needs { embedding: true, prompts: &[CLASSES, CONJUGATED], ..Needs::NONE },
        information: Information::Static,
        params: PARAMS,
    },
    spec: parse::<Csp>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand_over_the_pool() {
        // Cosines: class 0.6, pool 0.8 and -0.8; the default hundred groups become two of one word.
        let known = known(&[(CLASSES, array![[2.0, 0.0]]), (CONJUGATED, array![[0.0, 1.0], [0.0, -7.0]])]);
        let share = |difference: f64| 1.0 / (1.0 + (-100.0 * difference).exp());
        let expected = f64::midpoint(share(-0.2), share(1.4));
        assert!((score(&Csp::default(), &known, &array![[3.0, 4.0]])[0] - expected).abs() < 1e-12);
    }
}
