//! OpenMax.
//!
//! Bendale and Boult, *Towards Open Set Deep Networks*, CVPR 2016. For each class, a Weibull distribution is fitted
//! to the `tail` largest Euclidean distances of its correctly classified training logits from their mean (all of
//! them where there are fewer, at least 3). Of a new image's α largest logits, the i-th is multiplied by
//! 1 − (α − i + 1)/α · CDF_c(‖z − mean_c‖); what is removed in all is the logit of the unknown. Score: minus the
//! softmax probability of the unknown. Reference: OpenOOD v1.5 `openmax_postprocessor.py`, tail 20, α 3.
//!
//! The fit is libMR's `fit_high`: distances are shifted so that the smallest of the tail lies at 10,000, and scale
//! and shape are those of maximum likelihood, here found by bracketed Newton steps. Deviation: softmax with the
//! maximum subtracted. A class without 3 correct images, or whose tail has no spread, is an error.

use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{log_sum_exp, map_rows_with, norm};
use crate::spec::{
    Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require, shaped,
};

/// Fewest images of a class: the distances of two from their mean are equal.
const FEWEST: usize = 3;
/// Where the smallest distance of the tail is shifted to.
const SHIFT: f64 = 10_000.0;
/// A spread below this share of the largest distance is rounding.
const SPREAD: f64 = 1e-9;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpenMax {
    tail: usize,
    alpha: usize,
}

impl Default for OpenMax {
    fn default() -> Self {
        Self { tail: 20, alpha: 3 }
    }
}

impl Spec for OpenMax {
    fn check(&self) -> Result<(), ParamError> {
        require(self.tail >= FEWEST, "tail", self.tail as f64, "at least 3")?;
        require(self.alpha > 0, "alpha", self.alpha as f64, "at least 1")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (logits, correct) = (input.logits()?, input.correct_rows()?);
        let mut means = Array2::zeros((correct.len(), correct.len()));
        let mut weibulls = Vec::with_capacity(correct.len());
        for (class, rows) in correct.iter().enumerate() {
            let name = || input.class_name(class);
            if rows.len() < FEWEST {
                return Err(FitError::TooFewInClass { class: name(), found: rows.len(), needed: FEWEST });
            }
            let own = logits.select(Axis(0), rows).mapv(f64::from);
            let mean = own.sum_axis(Axis(0)) / rows.len() as f64;
            let distances: Vec<f64> =
                own.outer_iter().map(|row| norm(row.iter().zip(&mean).map(|(z, mean)| z - mean))).collect();
            let found = rows.len().min(self.tail);
            weibulls.push(Weibull::of_tail(distances, found).ok_or(FitError::NoTail { class: name(), found })?);
            means.row_mut(class).assign(&mean);
        }
        Ok(Box::new(Recalibrated { means, weibulls, alpha: self.alpha }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let classes = widths.logits;
        let means = shaped("means", state.f64("means")?, &[classes, classes])?;
        let table: Array2<f64> = shaped("weibull", state.f64("weibull")?, &[classes, 3])?;
        let weibull =
            |row: ndarray::ArrayView1<'_, f64>| Weibull { smallest: row[0], shape: row[1], log_scale: row[2] };
        let weibulls = table.outer_iter().map(weibull).collect();
        Ok(Box::new(Recalibrated { means, weibulls, alpha: self.alpha }))
    }
}

/// A Weibull distribution of (distance − smallest + SHIFT) / SHIFT.
#[derive(Debug, Clone, Copy)]
struct Weibull {
    smallest: f64,
    shape: f64,
    log_scale: f64,
}

impl Weibull {
    /// Maximum likelihood on the `tail` largest distances; `None` without spread.
    fn of_tail(mut distances: Vec<f64>, tail: usize) -> Option<Self> {
        distances.sort_by(|a, b| b.total_cmp(a));
        distances.truncate(tail);
        let (&largest, &smallest) = (distances.first()?, distances.last()?);
        if largest - smallest <= SPREAD * largest {
            return None;
        }
        let logs: Vec<f64> = distances.iter().map(|distance| ((distance - smallest) / SHIFT).ln_1p()).collect();
        let n = logs.len() as f64;
        let (top, mean) = (logs[0], logs.iter().sum::<f64>() / n);
        // The likelihood is largest where this is 0; it grows with the shape k, from −∞ to top − mean > 0.
        let slope = |k: f64| {
            let weights: Vec<f64> = logs.iter().map(|log| (k * (log - top)).exp()).collect();
            let total: f64 = weights.iter().sum();
            let first = logs.iter().zip(&weights).map(|(log, w)| w * (log - mean)).sum::<f64>() / total;
            let second = logs.iter().zip(&weights).map(|(log, w)| w * (log - mean).powi(2)).sum::<f64>() / total;
            (first - 1.0 / k, second - first * first + 1.0 / (k * k))
        };
        let (mut low, mut high) = (0.0, 1.0 / (top - mean));
        while slope(high).0 < 0.0 {
            low = high;
            high *= 2.0;
        }
        let mut k = high;
        for _ in 0..200 {
            let (value, derivative) = slope(k);
            if value > 0.0 {
                high = k;
            } else {
                low = k;
            }
            let newton = k - value / derivative;
            let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
            if (next - k).abs() <= 1e-15 * k {
                break;
            }
            k = next;
        }
        let log_scale = log_sum_exp(logs.iter().map(|log| k * log)) / k - n.ln() / k;
        Some(Self { smallest, shape: k, log_scale })
    }

    /// The probability of a distance below this one.
    fn cdf(&self, distance: f64) -> f64 {
        let shifted = (distance - self.smallest) / SHIFT;
        if shifted <= -1.0 {
            return 0.0;
        }
        -(-(self.shape * (shifted.ln_1p() - self.log_scale)).exp()).exp_m1()
    }
}

#[derive(Debug)]
struct Recalibrated {
    /// `[K, K]` mean logits of each class.
    means: Array2<f64>,
    weibulls: Vec<Weibull>,
    alpha: usize,
}

impl Recalibrated {
    fn row(&self, row: &[f32], order: &mut Vec<usize>, revised: &mut Vec<f64>) -> f64 {
        let alpha = self.alpha.min(row.len());
        order.clear();
        order.extend(0..row.len());
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        revised.clear();
        revised.extend(row.iter().map(|&z| f64::from(z)));
        let mut unknown = 0.0;
        for (rank, &class) in order[..alpha].iter().enumerate() {
            let mean = self.means.row(class);
            let distance = norm(row.iter().zip(&mean).map(|(&z, mean)| f64::from(z) - mean));
            let share = (alpha - rank) as f64 / alpha as f64 * self.weibulls[class].cdf(distance);
            let removed = revised[class] * share;
            revised[class] -= removed;
            unknown += removed;
        }
        revised.push(unknown);
        -(unknown - log_sum_exp(revised.iter().copied())).exp()
    }
}

impl Scorer for Recalibrated {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows_with(batch.logits, || (Vec::new(), Vec::new()), |(order, revised), row| self.row(row, order, revised))
    }

    fn state(&self) -> State {
        let table: Vec<f64> = self.weibulls.iter().flat_map(|w| [w.smallest, w.shape, w.log_scale]).collect();
        let table = Array1::from(table).into_shape_with_order((self.weibulls.len(), 3)).unwrap_or_default();
        State::new().with("means", self.means.clone()).with("weibull", table)
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "openmax",
        title: "OpenMax",
        aliases: &[],
        year: 2016,
        paper: "https://arxiv.org/abs/1511.06233",
        formula: "-p(unknown) after the alpha largest logits lost (alpha - i + 1)/alpha * Weibull(||z - mean_c||)",
        needs: Needs { logits: true, labels: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[
            ParamDoc { name: "tail", doc: "how many of a class's largest distances are fitted, at least 3" },
            ParamDoc { name: "alpha", doc: "how many of the largest logits are revised, at least 1" },
        ],
    },
    spec: parse::<OpenMax>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_fit_is_a_maximum_of_the_likelihood() {
        let tail = [3.0, 3.5, 4.5, 5.0, 7.0];
        let fit = Weibull::of_tail(tail.to_vec(), 5).unwrap();
        let likelihood = |w: Weibull| -> f64 {
            tail.iter()
                .map(|x| {
                    let t = ((x - w.smallest) / SHIFT).ln_1p() - w.log_scale;
                    w.shape.ln() + w.shape * t - (w.shape * t).exp()
                })
                .sum()
        };
        let best = likelihood(fit);
        for (shape, scale) in [(1.01, 0.0), (0.99, 0.0), (1.0, 1e-6), (1.0, -1e-6)] {
            let other = Weibull { shape: fit.shape * shape, log_scale: fit.log_scale + scale, ..fit };
            assert!(likelihood(other) < best, "{shape} {scale}");
        }
    }

    #[test]
    fn by_hand() {
        // Distances far above and far below the tail: CDF 1 and 0.
        let weibull = Weibull { smallest: 5.0, shape: 1e6, log_scale: 0.0 };
        let scorer = Recalibrated { means: array![[0.0, 0.0], [10.0, 10.0]], weibulls: vec![weibull; 2], alpha: 2 };
        let (mut order, mut revised) = (Vec::new(), Vec::new());
        // z = (1, 0): class 0 is 1 away, nothing of it is removed; class 1 is far, but all of 0 is 0.
        let near = -1.0 / (1_f64.exp() + 2.0);
        // z = (100, 0): class 0 loses everything to the unknown; class 1 has nothing to lose.
        let far = -1.0 / (1.0 + 2.0 * (-100_f64).exp());
        for (row, expected) in [([1.0, 0.0], near), ([100.0, 0.0], far)] {
            let score = scorer.row(&row, &mut order, &mut revised);
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }

    #[test]
    fn equal_distances_have_no_tail() {
        assert!(Weibull::of_tail(vec![2.0; 9], 5).is_none());
        assert!(Weibull::of_tail(vec![0.0; 9], 5).is_none());
    }
}
