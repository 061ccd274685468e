//! Temperature scaling.
//!
//! Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017. Score: max_c softmax(z / T)_c, where T
//! minimises the negative log-likelihood of the labels of in-distribution validation images (training images
//! where there are none). Reference: OpenOOD v1.5 `temp_scaling_postprocessor.py`.
//!
//! Deviations: T is the exact minimiser of this problem, convex in 1/T, instead of where 50 L-BFGS steps from 1.5
//! end; it is sought in 0.01…100, the nearer end where it lies outside (every image classified rightly).

use knownset_core::state::{State, StateError};
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::detectors::msp::max_softmax;
use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, map_rows_with, mean, softmax};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// Range of 1/T.
const INVERSE: (f64, f64) = (0.01, 100.0);
/// Steps after which halving alone would have reached the last bit.
const STEPS: usize = 100;

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TempScale {}

impl Spec for TempScale {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let temperature = best_temperature(input.val_logits()?, input.val_labels()?);
        Ok(Box::new(Scaled { temperature }))
    }

    fn load(&self, state: &State, _: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let temperature = state.number("temperature")?;
        if temperature > 0.0 {
            return Ok(Box::new(Scaled { temperature }));
        }
        Err(StateError::NotFinite("temperature".into()))
    }
}

/// Newton's method on the derivative of the likelihood in b = 1/T, kept inside a shrinking bracket.
fn best_temperature(logits: ArrayView2<'_, f32>, labels: ArrayView1<'_, i64>) -> f64 {
    let (mut low, mut high) = INVERSE;
    let at_label: Vec<f64> =
        logits.outer_iter().zip(labels).map(|(row, &label)| f64::from(row[label as usize])).collect();
    let at_label = mean(&at_label);
    // d/db of mean(log Σ exp(b z) − b z_y) is mean(E_b[z]) − mean(z_y); its derivative is mean(Var_b[z]).
    let moment = |b: f64, second: bool| {
        let moments = map_rows_with(logits, Vec::new, |p, row| {
            softmax(row, b, p);
            let first: f64 = row.iter().zip(p.iter()).map(|(&z, p)| f64::from(z) * p).sum();
            let spread = |(&z, p): (&f32, &f64)| (f64::from(z) - first).powi(2) * p;
            if second { row.iter().zip(p.iter()).map(spread).sum() } else { first }
        });
        mean(&moments)
    };
    if moment(high, false) <= at_label {
        return 1.0 / high;
    }
    let mut b = 1.0;
    for _ in 0..STEPS {
        let slope = moment(b, false) - at_label;
        if slope == 0.0 {
            break;
        }
        if slope > 0.0 {
            high = b;
        } else {
            low = b;
        }
        let newton = b - slope / moment(b, true);
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        if (next - b).abs() <= 1e-15 * b {
            break;
        }
        b = next;
    }
    1.0 / b
}

#[derive(Debug)]
struct Scaled {
    temperature: f64,
}

impl Scorer for Scaled {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.logits, |row| max_softmax(row, self.temperature))
    }

    fn state(&self) -> State {
        State::new().with_number("temperature", self.temperature)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "temp-scale",
        title: "TempScale",
        aliases: &["temp_scaling", "temperature_scaling"],
        year: 2017,
        paper: "https://arxiv.org/abs/1706.04599",
        formula: "max_c softmax(z / T)_c, T the temperature of least negative log-likelihood",
        needs: Needs { logits: true, labels: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<TempScale>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn by_hand() {
        // Two of three images right with a margin of 2: the best p is 2/3, so 2 / T = ln 2.
        let logits = array![[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]];
        let temperature = best_temperature(logits.view(), array![0, 0, 1].view());
        assert!((temperature - 2.0 / 2_f64.ln()).abs() < 1e-6, "{temperature}");
    }

    #[test]
    fn without_any_error_the_temperature_is_the_smallest() {
        let temperature = best_temperature(array![[2.0, 0.0]].view(), array![0].view());
        assert!((temperature - 0.01).abs() < 1e-9, "{temperature}");
    }
}
