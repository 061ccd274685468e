//! Text prompt augmentation.
//!
//! Liu and Zach, *TAG: Text Prompt Augmentation for Zero-Shot Out-of-Distribution Detection*, ECCV 2024. Score: the mean
//! over R rounds of a score of the logits z = s / T, where s are the cosines with the classes in prompts whose words
//! were shuffled (`prompts.shuffled`, row r K + k class k in round r). The score is max_j softmax(z)_j (`msp`), max_j z_j
//! (`max-logit`) or log Σ_j e^(z_j) (`energy`). Reference: the authors' repository, whose T is 0.01.
//!
//! Deviation: GEN as the score is left out.

use knownset_core::prompts::{CLASSES, SHUFFLED};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{log_sum_exp, mean};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};
use crate::words::{Words, largest, max_softmax, require_positive};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Base {
    Msp,
    MaxLogit,
    Energy,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tag {
    base: Base,
    temperature: f64,
}

impl Default for Tag {
    fn default() -> Self {
        Self { base: Base::Msp, temperature: 0.01 }
    }
}

impl Spec for Tag {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let words = Words::fit(input, &[CLASSES, SHUFFLED])?;
        if words.count(1) == 0 {
            return Err(FitError::EmptyPrompts { name: SHUFFLED });
        }
        Ok(Box::new(Rounds { words, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, SHUFFLED], widths.embedding)?;
        let (classes, rows) = (words.count(0), words.count(1));
        if rows == 0 || !rows.is_multiple_of(classes) {
            let (name, shape) = (SHUFFLED.into(), vec![rows, widths.embedding]);
            return Err(StateError::Shape { name, shape, expected: format!("a multiple of {classes} rows") });
        }
        Ok(Box::new(Rounds { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct Rounds {
    words: Words,
    params: Tag,
}

impl Scorer for Rounds {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let (classes, t) = (self.words.count(0), self.params.temperature);
        let base = |cosines: &[f64]| match self.params.base {
            Base::Msp => max_softmax(cosines, t),
            Base::MaxLogit => largest(cosines) / t,
            Base::Energy => log_sum_exp(cosines.iter().map(|s| s / t)),
        };
        self.words.score(batch.embedding, |cosines| {
            let rounds: Vec<f64> = cosines[classes..].chunks_exact(classes).map(base).collect();
            mean(&rounds)
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "tag",
        title: "TAG",
        aliases: &["text-prompt-augmentation"],
        year: 2024,
        paper: "https://www.ecva.net/papers/eccv_2024/papers_ECCV/html/9304_ECCV_2024_paper.php",
        formula: "mean_r max_j softmax(s^r / T)_j, s^r the cosines with the classes in the r-th shuffled prompt",
        needs: Needs { embedding: true, prompts: &[CLASSES, SHUFFLED], ..Needs::NONE },
        information: Information::Static,
        params: &[
            ParamDoc { name: "base", doc: "the score of one round: msp, max-logit or energy" },
            ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" },
        ],
    },
    spec: parse::<Tag>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand_in_two_rounds() {
        // Cosines with the two classes: (1, 0) in the first round, (0, 0) in the second.
        let classes = array![[1.0, 1.0], [1.0, -1.0]];
        let shuffled = array![[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, -1.0]];
        let known = known(&[(CLASSES, classes), (SHUFFLED, shuffled)]);
        let two = 2.0_f64.exp();
        for (base, expected) in [
            (Base::Msp, f64::midpoint(two / (two + 1.0), 0.5)),
            (Base::MaxLogit, 1.0),
            (Base::Energy, f64::midpoint((two + 1.0).ln(), 2.0_f64.ln())),
        ] {
            let scores = score(&Tag { base, temperature: 0.5 }, &known, &array![[7.0, 0.0]]);
            assert!((scores[0] - expected).abs() < 1e-12, "{base:?}");
        }
    }
}
