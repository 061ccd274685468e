//! Negative prompts.
//!
//! Li et al., *Learning Transferable Negative Prompts for Out-of-Distribution Detection*, CVPR 2024. Score: MCM with the
//! negative prompts beside the classes (`prompts.negated`, learned by the recipe `negprompt`):
//!
//! max_{j known} softmax(s / T)_j over classes and negative prompts.
//!
//! Reference: the authors' `core/test_clip.py` with its score `msp`. No deviation. It is `eoe` with β = 0 on other texts.
//! `temperature` divides raw cosines, as in `mcm`.

use knownset_core::prompts::{CLASSES, NEGATED};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};
use crate::words::{Words, largest, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NegPrompt {
    temperature: f64,
}

impl Default for NegPrompt {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Spec for NegPrompt {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let words = Words::fit(input, &[CLASSES, NEGATED])?;
        Ok(Box::new(AgainstNegatives { words, temperature: self.temperature }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, NEGATED], widths.embedding)?;
        Ok(Box::new(AgainstNegatives { words, temperature: self.temperature }))
    }
}

#[derive(Debug)]
struct AgainstNegatives {
    words: Words,
    temperature: f64,
}

impl Scorer for AgainstNegatives {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let classes = self.words.count(0);
        self.words.score(batch.embedding, |cosines| {
            let known = largest(&cosines[..classes]);
            1.0 / cosines.iter().map(|s| ((s - known) / self.temperature).exp()).sum::<f64>()
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "negprompt",
        title: "NegPrompt",
        aliases: &["negative-prompts"],
        year: 2024,
        paper: "https://arxiv.org/abs/2404.03248",
        formula: "max_{j<=K} softmax(s / T)_j over classes and learned negative prompts",
        needs: Needs { embedding: true, prompts: &[CLASSES, NEGATED], ..Needs::NONE },
        information: Information::FewShot,
        params: &[ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" }],
    },
    spec: parse::<NegPrompt>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::words::{known, max_softmax, score};

    #[test]
    fn by_hand() {
        // Cosines: class 0.6, its two negatives 0.8 and -0.6.
        let known = known(&[(CLASSES, array![[2.0, 0.0]]), (NEGATED, array![[0.0, 1.0], [-3.0, 0.0]])]);
        let parts = [0.6, 0.8, -0.6].map(|s: f64| (s / 0.5).exp());
        let scores = score(&NegPrompt { temperature: 0.5 }, &known, &array![[3.0, 4.0]]);
        assert!((scores[0] - parts[0] / parts.iter().sum::<f64>()).abs() < 1e-7, "{scores:?}");
    }

    #[test]
    fn without_negatives_it_is_mcm() {
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]]), (NEGATED, Array2::zeros((0, 2)))]);
        let scores = score(&NegPrompt::default(), &known, &array![[3.0, 0.0]]);
        assert_eq!(scores, [max_softmax(&[1.0, 0.0], 1.0)]);
    }
}
