//! Maximum concept matching.
//!
//! Ming et al., *Delving into Out-of-Distribution Detection with Vision-Language Representations*, NeurIPS 2022.
//! Score: max_j softmax(s / T)_j, with s_j the cosine of the image and the name of class j. Reference: the authors'
//! `utils/detection_util.py`. No deviation.
//!
//! `temperature` divides the raw cosine, 1 by default as in the paper. OpenOOD-VLM divides 100 s by its `tau`, which
//! is `temperature` = `tau` / 100 here and ranks images differently.

use knownset_core::prompts::CLASSES;
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};
use crate::words::{Words, max_softmax, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mcm {
    temperature: f64,
}

impl Default for Mcm {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Spec for Mcm {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Matching { words: Words::fit(input, &[CLASSES])?, temperature: self.temperature }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES], widths.embedding)?;
        Ok(Box::new(Matching { words, temperature: self.temperature }))
    }
}

#[derive(Debug)]
struct Matching {
    words: Words,
    temperature: f64,
}

impl Scorer for Matching {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.words.score(batch.embedding, |cosines| max_softmax(cosines, self.temperature))
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "mcm",
        title: "MCM",
        aliases: &["maximum-concept-matching"],
        year: 2022,
        paper: "https://arxiv.org/abs/2211.13445",
        formula: "max_j softmax(s / T)_j, s_j = cos(f, class j)",
        needs: Needs { embedding: true, prompts: &[CLASSES], ..Needs::NONE },
        information: Information::Static,
        params: &[ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" }],
    },
    spec: parse::<Mcm>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand() {
        // Cosines (1, 0), (0.6, 0.8), (0, 0).
        let known = known(&[(CLASSES, array![[2.0, 0.0], [0.0, 3.0]])]);
        let images = array![[5.0, 0.0], [0.3, 0.4], [0.0, 0.0]];
        let share = |difference: f64| 1.0 / (1.0 + (-difference).exp());
        for (temperature, expected) in [(1.0, [share(1.0), share(0.2), 0.5]), (0.01, [share(100.0), share(20.0), 0.5])]
        {
            for (score, expected) in score(&Mcm { temperature }, &known, &images).iter().zip(expected) {
                assert!((score - expected).abs() < 1e-7, "{score} {expected}");
            }
        }
    }

    #[test]
    fn adding_a_constant_to_every_cosine_changes_nothing() {
        let cosines = [0.1, 0.25, -0.5, 0.0];
        let shifted = cosines.map(|s| s + 0.5);
        for temperature in [1.0, 0.01] {
            let (before, after) = (max_softmax(&cosines, temperature), max_softmax(&shifted, temperature));
            assert!((before - after).abs() < 1e-14, "{before} {after}");
        }
    }
}
