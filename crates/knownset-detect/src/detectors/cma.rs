//! Concept matching with agents.
//!
//! Lee et al., *Concept Matching with Agent for Out-of-Distribution Detection*, AAAI 2025. Score: the largest known
//! part of a softmax over the K classes and k · K neutral texts (`prompts.agents`), which are taken in turn until
//! there are enough: max_j e^(s_j / T) / (Σ_j e^(s_j / T) + Σ_i w_i e^(a_i / T)), w_i how often agent i is taken.
//! Reference: the authors' repository. No deviation; without agents, or with k = 0, it is `mcm`.
//!
//! `temperature` divides raw cosines, as in `mcm`.

use knownset_core::prompts::{AGENTS, CLASSES};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, largest, require_positive};

/// Largest k, beyond any use.
const MAX_K: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cma {
    temperature: f64,
    k: usize,
}

impl Default for Cma {
    fn default() -> Self {
        Self { temperature: 1.0, k: 1 }
    }
}

impl Spec for Cma {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)?;
        require(self.k <= MAX_K, "k", self.k as f64, "between 0 and 1000")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(self.scorer(Words::fit(input, &[CLASSES, AGENTS])?)))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(self.scorer(Words::load(state, &[CLASSES, AGENTS], widths.embedding)?)))
    }
}

impl Cma {
    fn scorer(&self, words: Words) -> AgentMatching {
        let (classes, agents) = (words.count(0), words.count(1));
        let (turns, first) = ((self.k * classes) / agents.max(1), (self.k * classes) % agents.max(1));
        let taken = (0..agents).map(|agent| (turns + usize::from(agent < first)) as f64).collect();
        AgentMatching { words, taken, temperature: self.temperature }
    }
}

#[derive(Debug)]
struct AgentMatching {
    words: Words,
    /// How often each agent is taken.
    taken: Vec<f64>,
    temperature: f64,
}

impl Scorer for AgentMatching {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let classes = self.words.count(0);
        self.words.score(batch.embedding, |cosines| {
            let (known, agents) = cosines.split_at(classes);
            let largest = largest(known);
            let part = |s: &f64| ((s - largest) / self.temperature).exp();
            let agents = agents.iter().zip(&self.taken).filter(|(_, taken)| **taken > 0.0);
            1.0 / (known.iter().map(part).sum::<f64>() + agents.map(|(a, taken)| taken * part(a)).sum::<f64>())
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "cma",
        title: "CMA",
        aliases: &["concept-matching-agent"],
        year: 2025,
        paper: "https://arxiv.org/abs/2405.16766",
        formula: "max_j exp(s_j / T) / (sum_j exp(s_j / T) + sum_{i < kK} exp(a_{i mod A} / T)), a the cosines with agents",
        needs: Needs { embedding: true, prompts: &[CLASSES, AGENTS], ..Needs::NONE },
        information: Information::Static,
        params: &[
            ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" },
            ParamDoc { name: "k", doc: "agents taken per class, 0 to 1000" },
        ],
    },
    spec: parse::<Cma>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, max_softmax, score};

    #[test]
    fn by_hand_with_agents_taken_in_turn() {
        // Cosines with the classes: 1, 0, 0. Agents: 0 and -1, of which three are taken, the first one twice.
        let classes = array![[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]];
        let known = known(&[(CLASSES, classes), (AGENTS, array![[0.0, 1.0], [-1.0, 0.0]])]);
        let image = array![[3.0, 0.0]];
        let e = 1.0_f64.exp();
        let expected = e / (e + 2.0 + 2.0 + 1.0 / e);
        assert!((score(&Cma::default(), &known, &image)[0] - expected).abs() < 1e-12);
        let none = score(&Cma { temperature: 1.0, k: 0 }, &known, &image);
        assert_eq!(none, [max_softmax(&[1.0, 0.0, 0.0], 1.0)], "without agents it is MCM");
    }
}
