//! Generalised entropy.
//!
//! Liu et al., *GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection*, CVPR 2023. Score:
//! −Σ p^γ (1 − p)^γ over the M largest probabilities. Reference: OpenOOD v1.5 `gen_postprocessor.py`.
//!
//! Deviation: 1 − p of the largest probability is summed from the others, so that a confident network's rows do
//! not all end at p = 1. (pytorch-ood takes the mean of the M terms and clamps p to 1e-7…1 − 1e-7.)

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{argmax, map_rows_with, softmax};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gen {
    gamma: f64,
    m: usize,
}

impl Default for Gen {
    fn default() -> Self {
        Self { gamma: 0.1, m: 100 }
    }
}

impl Spec for Gen {
    fn check(&self) -> Result<(), ParamError> {
        let usable = self.gamma.is_finite() && self.gamma > 0.0;
        require(usable, "gamma", self.gamma, "a finite number above 0")?;
        require(self.m > 0, "m", self.m as f64, "at least 1")
    }

    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(GeneralisedEntropy(self.clone())))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(GeneralisedEntropy(self.clone())))
    }
}

#[derive(Debug)]
struct GeneralisedEntropy(Gen);

impl Scorer for GeneralisedEntropy {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let Gen { gamma, m } = self.0;
        map_rows_with(batch.logits, Vec::new, |p, row| generalised_entropy(row, gamma, m, p))
    }

    fn state(&self) -> State {
        State::new()
    }
}

fn generalised_entropy(row: &[f32], gamma: f64, m: usize, p: &mut Vec<f64>) -> f64 {
    softmax(row, 1.0, p);
    let first = argmax(row);
    let largest = p.swap_remove(first);
    let others: f64 = p.iter().sum();
    if m <= p.len() {
        p.select_nth_unstable_by(m - 1, |a, b| b.total_cmp(a));
        p.truncate(m - 1);
        p.sort_unstable_by(f64::total_cmp);
    }
    let rest: f64 = p.iter().map(|p| (p * (1.0 - p)).powf(gamma)).sum();
    -(rest + (largest * others).powf(gamma))
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "gen",
        title: "GEN",
        aliases: &["generalized_entropy"],
        year: 2023,
        paper: "https://openaccess.thecvf.com/content/CVPR2023/html/Liu_GEN_Pushing_the_Limits_of_Softmax-Based_Out-of-Distribution_Detection_CVPR_2023_paper.html",
        formula: "-sum over the M largest p of p^gamma (1 - p)^gamma",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[
            ParamDoc { name: "gamma", doc: "exponent, above 0" },
            ParamDoc { name: "m", doc: "how many of the largest probabilities count, at least 1" },
        ],
    },
    spec: parse::<Gen>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let row = [6_f32.ln(), 3_f32.ln(), 0.0];
        let mut p = Vec::new();
        for (m, expected) in [(3, -0.24 - 0.21 - 0.09), (2, -0.24 - 0.21), (1, -0.24)] {
            assert!((generalised_entropy(&row, 1.0, m, &mut p) - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn confident_rows_are_still_told_apart() {
        let mut p = Vec::new();
        assert!(generalised_entropy(&[80.0, 0.0], 0.1, 2, &mut p) > generalised_entropy(&[50.0, 0.0], 0.1, 2, &mut p));
    }
}
