//! Envisioned outlier exposure.
//!
//! Cao et al., *Envisioning Outlier Exposure by Large Language Models for Out-of-Distribution Detection*, ICML 2024.
//! With p the softmax of s / T over the K classes and the L names that a language model proposed
//! (`prompts.outliers`): max_{j known} p_j − β · max_{l outlier} p_l. Reference: the authors' repository with its
//! `score` set to EOE. No deviation; without outliers and with β = 0 it is `mcm`.
//!
//! How the names are asked for depends on whether near, far or fine-grained images will come: the method is told what
//! kind of unknown to expect. `temperature` divides raw cosines, as in `mcm`.

use knownset_core::prompts::{CLASSES, OUTLIERS};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, largest, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Eoe {
    temperature: f64,
    beta: f64,
}

impl Default for Eoe {
    fn default() -> Self {
        Self { temperature: 1.0, beta: 0.25 }
    }
}

impl Spec for Eoe {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)?;
        require(self.beta >= 0.0 && self.beta.is_finite(), "beta", self.beta, "0 or more")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Envisioned { words: Words::fit(input, &[CLASSES, OUTLIERS])?, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, OUTLIERS], widths.embedding)?;
        Ok(Box::new(Envisioned { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct Envisioned {
    words: Words,
    params: Eoe,
}

impl Scorer for Envisioned {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let classes = self.words.count(0);
        self.words.score(batch.embedding, |cosines| {
            let (known, outliers) = cosines.split_at(classes);
            let highest = largest(cosines);
            let part = |s: f64| ((s - highest) / self.params.temperature).exp();
            let sum: f64 = cosines.iter().map(|&s| part(s)).sum();
            let outlier = if outliers.is_empty() { 0.0 } else { part(largest(outliers)) };
            (part(largest(known)) - self.params.beta * outlier) / sum
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "eoe",
        title: "EOE",
        aliases: &["envisioned-outlier-exposure"],
        year: 2024,
        paper: "https://arxiv.org/abs/2406.00806",
        formula: "max_{j<=K} p_j - beta max_{l>K} p_l, p = softmax(s / T) over classes and envisioned outliers",
        needs: Needs { embedding: true, prompts: &[CLASSES, OUTLIERS], ..Needs::NONE },
        information: Information::OodHint,
        params: &[
            ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" },
            ParamDoc { name: "beta", doc: "weight of the likeliest outlier, 0 or more" },
        ],
    },
    spec: parse::<Eoe>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::words::{known, max_softmax, score};

    #[test]
    fn by_hand() {
        let known = known(&[(CLASSES, array![[1.0, 0.0], [-1.0, 0.0]]), (OUTLIERS, array![[0.0, 1.0], [0.0, -1.0]])]);
        // Cosines: classes 0.6 and -0.6, outliers 0.8 and -0.8.
        let parts = [0.6, -0.6, 0.8, -0.8].map(f64::exp);
        let expected = (parts[0] - 0.25 * parts[2]) / parts.iter().sum::<f64>();
        let scores = score(&Eoe::default(), &known, &array![[3.0, 4.0]]);
        assert!((scores[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn without_outliers_and_beta_it_is_mcm() {
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]]), (OUTLIERS, Array2::zeros((0, 2)))]);
        let scores = score(&Eoe { temperature: 1.0, beta: 0.0 }, &known, &array![[3.0, 0.0]]);
        assert_eq!(scores, [max_softmax(&[1.0, 0.0], 1.0)]);
    }
}
