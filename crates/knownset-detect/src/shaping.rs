//! The classifier's head on shaped embeddings, as ReAct, ASH-S, SCALE and DICE use it.

use knownset_core::linalg::project;
use ndarray::ArrayView2;

use crate::linear::Linear;
use crate::rows::{log_sum_exp, map_blocks};
use crate::spec::{ParamError, require};

impl Linear {
    /// log Σ_c exp(s · W_c f' + b_c) of each row, where `shape` turns f into f' in place and returns s.
    pub(crate) fn energy(
        &self,
        rows: ArrayView2<'_, f32>,
        shape: impl Fn(&mut [f32]) -> f64 + Sync + Send,
    ) -> Vec<f64> {
        map_blocks(rows, |rows| {
            let mut rows = rows.to_owned();
            let factors: Vec<f64> =
                rows.outer_iter_mut().map(|mut row| row.as_slice_mut().map_or(1.0, &shape)).collect();
            let logits = project(rows.view(), self.weight.view());
            let energy = |(row, factor): (ndarray::ArrayView1<'_, f64>, f64)| {
                log_sum_exp(row.iter().zip(&self.bias).map(|(value, bias)| factor * value + bias))
            };
            logits.outer_iter().zip(factors).map(energy).collect()
        })
    }
}

/// How many entries of d stay when the smallest `percent` % go: d − round(d · percent / 100), at least one.
pub(crate) fn kept(d: usize, percent: f64) -> usize {
    (d - ((d as f64 * percent / 100.0).round_ties_even() as usize).min(d)).max(1)
}

/// The `k`-th largest value of a row that is not empty, and how many of the values equal to it are among the k
/// largest.
pub(crate) fn kth_largest(row: &[f32], k: usize) -> (f32, usize) {
    let mut values = row.to_vec();
    let (larger, &mut kth, _) = values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    (kth, k - larger.iter().filter(|value| **value > kth).count())
}

/// exp(s1 / s2) with s1 the sum of a row and s2 that of its largest entries; 1 where s2 is not positive, which
/// activations after a ReLU reach only by being all zero.
pub(crate) fn sharpness(all: f64, largest: f64) -> f64 {
    if largest > 0.0 { (all / largest).exp() } else { 1.0 }
}

/// Percentiles that leave a ratio s1 / s2 no larger than about 100.
pub(crate) fn check_percentile(percentile: f64) -> Result<(), ParamError> {
    require((0.0..=99.0).contains(&percentile), "percentile", percentile, "between 0 and 99")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_share_is_rounded_as_numpy_rounds_and_never_empty() {
        assert_eq!(kept(64, 65.0), 64 - 42);
        assert_eq!(kept(10, 65.0), 10 - 6);
        assert_eq!(kept(10, 75.0), 10 - 8);
        assert_eq!(kept(3, 99.0), 1);
    }

    #[test]
    fn ties_at_the_kth_largest_are_counted() {
        assert_eq!(kth_largest(&[1.0, 3.0, 2.0, 2.0, 2.0], 3), (2.0, 2));
        assert_eq!(kth_largest(&[1.0], 1), (1.0, 1));
    }
}
