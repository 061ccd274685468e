//! The score of NegLabel and CSP: how much of the softmax falls on the known classes, averaged over groups of
//! negative words.

use knownset_core::prompts::CLASSES;
use knownset_core::state::{State, StateError};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::log_sum_exp;
use crate::spec::{Batch, ParamDoc, ParamError, Scorer, Widths, require};
use crate::words::{Words, require_positive};

/// The parameters of both detectors.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Grouping {
    pub(crate) scale: f64,
    pub(crate) groups: usize,
    pub(crate) seed: u64,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { scale: 100.0, groups: 100, seed: 0 }
    }
}

pub(crate) static PARAMS: &[ParamDoc] = &[
    ParamDoc { name: "scale", doc: "what cosines are multiplied by before the softmax, positive" },
    ParamDoc { name: "groups", doc: "groups of negatives, at least 1; as many as negatives where those are fewer" },
    ParamDoc { name: "seed", doc: "of the split into groups" },
];

impl Grouping {
    pub(crate) fn check(&self) -> Result<(), ParamError> {
        require_positive("scale", self.scale)?;
        require(self.groups > 0, "groups", self.groups as f64, "at least 1")
    }

    /// A scorer against the negatives of that name.
    pub(crate) fn fit(&self, input: &FitInput<'_>, negatives: &'static str) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(self.scorer(Words::fit(input, &[CLASSES, negatives])?)))
    }

    pub(crate) fn load(
        &self,
        state: &State,
        widths: Widths,
        negatives: &'static str,
    ) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(self.scorer(Words::load(state, &[CLASSES, negatives], widths.embedding)?)))
    }

    fn scorer(&self, words: Words) -> KnownShare {
        let groups = Groups::new(words.count(1), self.groups, self.seed);
        KnownShare { words, groups, scale: self.scale }
    }
}

#[derive(Debug)]
struct KnownShare {
    words: Words,
    groups: Groups,
    scale: f64,
}

impl Scorer for KnownShare {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let classes = self.words.count(0);
        self.words.score(batch.embedding, |cosines| {
            let (known, negative) = cosines.split_at(classes);
            self.groups.known_share(known, negative, self.scale)
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

/// Negatives split at random into groups of one size.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The members of the first group, then those of the second, …
    members: Vec<usize>,
    /// Members of a group; 0 where there are no negatives.
    size: usize,
}

impl Groups {
    /// Permutes the negatives, drops the last `negatives` mod `groups` of them, and cuts. Fewer negatives than groups
    /// make groups of one.
    pub(crate) fn new(negatives: usize, groups: usize, seed: u64) -> Self {
        let groups = groups.min(negatives).max(1);
        let size = negatives / groups;
        let mut members = permutation(negatives, seed);
        members.truncate(size * groups);
        Self { members, size }
    }

    /// mean_g Σ_known e^z / (Σ_known e^z + Σ_g e^z), z = scale · cosine; 1 without negatives.
    pub(crate) fn known_share(&self, known: &[f64], negative: &[f64], scale: f64) -> f64 {
        if self.size == 0 {
            return 1.0;
        }
        let known = log_sum_exp(known.iter().map(|s| scale * s));
        let share = |group: &[usize]| {
            let group = log_sum_exp(group.iter().map(|&word| scale * negative[word]));
            1.0 / (1.0 + (group - known).exp())
        };
        let groups = self.members.chunks_exact(self.size);
        let count = groups.len() as f64;
        groups.map(share).sum::<f64>() / count
    }
}

/// A permutation of `0..n`: Fisher and Yates from the last place down, with ⌊u · places / 2³²⌋ for u the next 32-bit
/// word of ChaCha8 keyed by the seed (its eight bytes, little-endian, then zeros).
pub(crate) fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut words = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let place = (u64::from(words.next_u32()) * (last as u64 + 1)) >> 32;
        order.swap(last, place as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_negative_is_in_one_group_but_for_the_remainder() {
        for (negatives, groups, size, used) in [(10, 3, 3, 9), (10, 1, 10, 10), (3, 100, 1, 3), (0, 5, 0, 0)] {
            let split = Groups::new(negatives, groups, 0);
            assert_eq!((split.size, split.members.len()), (size, used), "{negatives} in {groups}");
            let mut members = split.members.clone();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), used);
        }
    }

    #[test]
    fn a_permutation_depends_on_the_seed_alone() {
        assert_eq!(permutation(50, 7), permutation(50, 7));
        assert_ne!(permutation(50, 7), permutation(50, 8));
        assert_eq!(permutation(1, 0), [0]);
        assert_eq!(permutation(0, 0), Vec::<usize>::new());
    }

    #[test]
    fn huge_scales_stay_finite() {
        let groups = Groups::new(2, 2, 0);
        let share = groups.known_share(&[1.0, -1.0], &[1.0, -1.0], 1e6);
        assert!((share - 0.75).abs() < 1e-12, "{share}");
    }
}
