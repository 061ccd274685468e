//! Energy.
//!
//! Liu et al., *Energy-based Out-of-distribution Detection*, NeurIPS 2020. Score: the negative energy
//! T · log Σ_c exp(z_c / T). Reference: OpenOOD v1.5 `ebo_postprocessor.py`. No deviation.

use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{log_sum_exp, map_rows};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ebo {
    temperature: f64,
}

impl Default for Ebo {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Spec for Ebo {
    fn check(&self) -> Result<(), ParamError> {
        let usable = self.temperature.is_finite() && self.temperature > 0.0;
        require(usable, "temperature", self.temperature, "a finite number above 0")
    }

    fn fit(&self, _: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Energy { temperature: self.temperature }))
    }

    fn load(&self, _: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(Energy { temperature: self.temperature }))
    }
}

#[derive(Debug)]
struct Energy {
    temperature: f64,
}

impl Scorer for Energy {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| energy(row, self.temperature))
    }

    fn state(&self) -> State {
        State::new()
    }
}

/// T · log Σ_c exp(z_c / T)
pub(crate) fn energy(row: &[f32], temperature: f64) -> f64 {
    temperature * log_sum_exp(row.iter().map(|&value| f64::from(value) / temperature))
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "ebo",
        title: "Energy",
        aliases: &["Energy", "EnergyBased", "kplus1-energy"],
        year: 2020,
        paper: "https://arxiv.org/abs/2010.03759",
        formula: "T log sum_c exp(z_c / T)",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[ParamDoc { name: "temperature", doc: "T, above 0" }],
    },
    spec: parse::<Ebo>,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert!((energy(&[0.0, 0.0], 1.0) - 2_f64.ln()).abs() < 1e-15);
        assert!((energy(&[0.0, 0.0], 3.0) - 3.0 * 2_f64.ln()).abs() < 1e-15);
        assert_eq!(energy(&[10_000.0, -10_000.0], 1.0), 10_000.0);
    }
}
