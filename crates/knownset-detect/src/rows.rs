//! Arithmetic on rows, in f64, one row at a time: the same bits for any batch and any number of threads.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::spec::Batch;

/// Fewest rows worth a task of their own.
const ROWS: usize = 64;
/// Rows in a block of [`map_blocks`].
const BLOCK: usize = 256;

/// One number per row; rows are in standard layout.
pub(crate) fn map_rows(rows: ArrayView2<'_, f32>, score: impl Fn(&[f32]) -> f64 + Sync + Send) -> Vec<f64> {
    map_rows_with(rows, || (), |(), row| score(row))
}

/// One number per row, with scratch memory that lives for many rows.
pub(crate) fn map_rows_with<S>(
    rows: ArrayView2<'_, f32>,
    scratch: impl Fn() -> S + Sync + Send,
    score: impl Fn(&mut S, &[f32]) -> f64 + Sync + Send,
) -> Vec<f64> {
    let n = rows.nrows();
    (0..n)
        .into_par_iter()
        .with_min_len(ROWS)
        .map_init(scratch, |scratch, row| match rows.row(row).as_slice() {
            Some(row) => score(scratch, row),
            None => score(scratch, &rows.row(row).to_vec()),
        })
        .collect()
}

/// One number per image, from its logits and its embedding.
pub(crate) fn map_pairs(batch: &Batch<'_>, score: impl Fn(&[f32], &[f32]) -> f64 + Sync + Send) -> Vec<f64> {
    let row = |row: usize| {
        let (logits, embedding) = (batch.logits.row(row), batch.embedding.row(row));
        match (logits.as_slice(), embedding.as_slice()) {
            (Some(logits), Some(embedding)) => score(logits, embedding),
            _ => score(&logits.to_vec(), &embedding.to_vec()),
        }
    };
    (0..batch.embedding.nrows()).into_par_iter().with_min_len(ROWS).map(row).collect()
}

/// One number per row, computed a block of rows at a time.
pub(crate) fn map_blocks(
    rows: ArrayView2<'_, f32>,
    score: impl Fn(ArrayView2<'_, f32>) -> Vec<f64> + Sync + Send,
) -> Vec<f64> {
    let blocks: Vec<ArrayView2<'_, f32>> = rows.axis_chunks_iter(Axis(0), BLOCK).collect();
    let scores: Vec<Vec<f64>> = blocks.into_par_iter().map(score).collect();
    scores.concat()
}

/// Mean of per-row numbers, summed in order.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The largest value.
pub(crate) fn max(row: &[f32]) -> f64 {
    f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Index of the largest value, the first of equals.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// log Σ exp(value), without overflow.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

/// Writes softmax(b · row) and returns log Σ exp(b · row).
pub(crate) fn softmax(row: &[f32], b: f64, out: &mut Vec<f64>) -> f64 {
    let largest = max(row);
    out.clear();
    out.extend(row.iter().map(|&value| (b * (f64::from(value) - largest)).exp()));
    let sum: f64 = out.iter().sum();
    for value in out.iter_mut() {
        *value /= sum;
    }
    b * largest + sum.ln()
}

/// Euclidean length.
pub(crate) fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// The same as [`quantile`], of a share in percent.
pub(crate) fn percentile<T: Copy + Into<f64> + PartialOrd>(values: Vec<T>, percent: f64) -> f64 {
    quantile(values, percent / 100.0)
}

/// The value below which a share `q` lies, with linear interpolation between order statistics, as NumPy's and
/// PyTorch's default.
///
/// # Panics
/// If there is no value.
pub(crate) fn quantile<T: Copy + Into<f64> + PartialOrd>(mut values: Vec<T>, q: f64) -> f64 {
    let position = q * (values.len() - 1) as f64;
    let (below, share) = (position.floor() as usize, position.fract());
    let order = |a: &T, b: &T| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
    let (_, &mut low, above) = values.select_nth_unstable_by(below, order);
    let low = low.into();
    match above.iter().copied().min_by(order) {
        Some(high) if share > 0.0 => low + (high.into() - low) * share,
        _ => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_interpolate_between_order_statistics() {
        let values = vec![4.0_f32, 1.0, 3.0, 2.0];
        assert_eq!(percentile(values.clone(), 0.0), 1.0);
        assert_eq!(percentile(values.clone(), 50.0), 2.5);
        assert!((percentile(values.clone(), 90.0) - 3.7).abs() < 1e-12);
        assert_eq!(percentile(values, 100.0), 4.0);
    }

    #[test]
    fn log_sum_exp_does_not_overflow() {
        assert_eq!(log_sum_exp([1e4, 1e4].into_iter()), 1e4 + 2_f64.ln());
        let mut p = Vec::new();
        assert_eq!(softmax(&[-1e4, 1e4], 1.0, &mut p), 1e4);
        assert_eq!(p, [0.0, 1.0]);
    }
}
