//! Candidate words, after ZOC.
//!
//! Esmaeilpour et al., *Zero-Shot Out-of-Distribution Detection Based on the Pre-trained Model CLIP*, AAAI 2022. For each
//! image, words that it may show and that are no class are proposed; the score is 1 − the mass of softmax(100 s) that
//! falls on them. Reference: the authors' repository.
//!
//! Deviations: ZOC's words come from a caption decoder trained on COCO, which keeps the 35 likeliest tokens of each of
//! its steps. Here they come from a vocabulary (`prompts.candidates`): the `top` words most similar to the image.
//! The vocabulary should not hold the classes; words whose cosine with a class is above `same` are left out.

use knownset_core::prompts::{CANDIDATES, CLASSES};
use knownset_core::state::{State, StateError};
use ndarray::Axis;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::log_sum_exp;
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CandidateWords {
    scale: f64,
    top: usize,
    same: f64,
}

impl Default for CandidateWords {
    fn default() -> Self {
        Self { scale: 100.0, top: 35, same: 0.999 }
    }
}

impl Spec for CandidateWords {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("scale", self.scale)?;
        require(self.top > 0, "top", self.top as f64, "at least 1")?;
        require((0.0..=1.0).contains(&self.same), "same", self.same, "between 0 and 1")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Words::fit(input, &[CLASSES, CANDIDATES])?; // names a row of zeros by its place among all candidates
        let candidates = input.prompts(CANDIDATES)?;
        let cosines = Words::fit(input, &[CLASSES])?.cosines(candidates.view());
        let other = |row: &usize| cosines.row(*row).iter().all(|&cosine| cosine <= self.same);
        let others: Vec<usize> = (0..candidates.nrows()).filter(other).collect();
        let words = vec![(CLASSES, input.prompts(CLASSES)?.clone()), (CANDIDATES, candidates.select(Axis(0), &others))];
        Ok(Box::new(KnownMass { words: Words::of(words)?, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, CANDIDATES], widths.embedding)?;
        Ok(Box::new(KnownMass { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct KnownMass {
    words: Words,
    params: CandidateWords,
}

impl Scorer for KnownMass {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let (classes, scale) = (self.words.count(0), self.params.scale);
        self.words.score(batch.embedding, |cosines| {
            let (known, candidates) = cosines.split_at(classes);
            if candidates.is_empty() {
                return 1.0;
            }
            let mut nearest = candidates.to_vec();
            if self.params.top < nearest.len() {
                nearest.select_nth_unstable_by(self.params.top - 1, |a, b| b.total_cmp(a));
                nearest.truncate(self.params.top);
            }
            let mass = |cosines: &[f64]| log_sum_exp(cosines.iter().map(|s| scale * s));
            1.0 / (1.0 + (mass(&nearest) - mass(known)).exp())
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "candidate-words",
        title: "Candidate words (ZOC)",
        aliases: &["zoc"],
        year: 2022,
        paper: "https://arxiv.org/abs/2109.02748",
        formula: "1 - sum_{l in top} q_l, q = softmax(100 s) over the classes and the words nearest to the image",
        needs: Needs { embedding: true, prompts: &[CLASSES, CANDIDATES], ..Needs::NONE },
        information: Information::Static,
        params: &[
            ParamDoc { name: "scale", doc: "what cosines are multiplied by, positive" },
            ParamDoc { name: "top", doc: "words proposed for an image, at least 1" },
            ParamDoc { name: "same", doc: "words with a larger cosine to a class count as its name and are left out" },
        ],
    },
    spec: parse::<CandidateWords>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand() {
        // Cosines: class 1; words 1 (the class itself, left out), 0, -1 and 0.6, of which the top two count.
        let words = array![[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [3.0, 4.0]];
        let image = array![[2.0, 0.0]];
        let params = CandidateWords { scale: 1.0, top: 2, same: 0.999 };
        let known_set = known(&[(CLASSES, array![[1.0, 0.0]]), (CANDIDATES, words)]);
        let e = 1.0_f64.exp();
        let expected = e / (e + 1.0 + 0.6_f64.exp());
        assert!((score(&params, &known_set, &image)[0] - expected).abs() < 1e-7);
        let nothing = known(&[(CLASSES, array![[1.0, 0.0]]), (CANDIDATES, Array2::zeros((0, 2)))]);
        assert_eq!(score(&params, &nothing, &image), [1.0]);
    }
}
