//! From the edge of a class outwards.
//!
//! FodFoM's figure moves an edge feature e along the unit vector that points from the class's mean μ to it; its released
//! code adds the number ‖e − μ‖ · s to every coordinate instead, which is the same direction for every text and every
//! class, and with the released sizes (3e-5 … 1.5e-4, 768 coordinates) less than half a percent of ‖e − μ‖. The figure's
//! lengths are not published. Ours are in units of the text's own distance, f = e + s (e − μ), so that a step of 0.5
//! leaves the text half again as far from the mean.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// Which way is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the mean to the text: f = e + s ‖e − μ‖ · (e − μ)/‖e − μ‖.
    FromMean,
    /// Every coordinate by the same number, as the released code does: f = e + s ‖e − μ‖ · (1, …, 1).
    Released,
}

/// Steps outwards: `count` of them, of sizes `first`, `first + more`, `first + 2 more`, …
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outward {
    /// Which way.
    pub direction: Direction,
    /// Size of the first step, in distances of the text from the mean.
    pub first: f64,
    /// By how much each step is larger than the one before.
    pub more: f64,
    /// Steps from each text.
    pub count: usize,
}

impl Outward {
    /// Five steps of a tenth to half of the text's distance; a choice of ours, no paper's.
    pub const FROM_MEAN: Self = Self { direction: Direction::FromMean, first: 0.1, more: 0.1, count: 5 };
    /// As released: five steps of 3e-5 to 1.5e-4.
    pub const RELEASED: Self = Self { direction: Direction::Released, first: 3e-5, more: 3e-5, count: 5 };

    /// Texts `[n, d]` of a class with the mean `[d]` → `[n · count, d]`, the steps of a text one after the other.
    pub fn features(&self, texts: ArrayView2<'_, f32>, mean: ArrayView1<'_, f64>) -> Array2<f32> {
        let (rows, width) = texts.dim();
        let mut moved = Array2::zeros((rows * self.count, width));
        for (text, mut steps) in texts.outer_iter().zip(moved.axis_chunks_iter_mut(ndarray::Axis(0), self.count.max(1)))
        {
            let offset = text.mapv(f64::from) - mean;
            let distance = offset.dot(&offset).sqrt();
            for (step, mut row) in steps.outer_iter_mut().enumerate() {
                let size = self.first + step as f64 * self.more;
                for (column, value) in row.iter_mut().enumerate() {
                    let along = match self.direction {
                        Direction::FromMean => offset[column],
                        Direction::Released => distance,
                    };
                    *value = (f64::from(text[column]) + size * along) as f32;
                }
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_directions_by_hand() {
        let (texts, mean) = (array![[3.0_f32, 4.0], [1.0, 0.0]], array![0.0, 0.0]);
        let outward = Outward { direction: Direction::FromMean, first: 0.5, more: 0.25, count: 2 };
        let expected = array![[4.5_f32, 6.0], [5.25, 7.0], [1.5, 0.0], [1.75, 0.0]];
        assert_eq!(outward.features(texts.view(), mean.view()), expected);
        let released = Outward { direction: Direction::Released, ..outward };
        let expected = array![[5.5_f32, 6.5], [6.75, 7.75], [1.5, 0.5], [1.75, 0.75]];
        assert_eq!(released.features(texts.view(), mean.view()), expected);
        let nothing = Outward { count: 0, ..outward };
        assert_eq!(nothing.features(texts.view(), mean.view()).dim(), (0, 2));
    }

    proptest! {
        /// Each step leads further from the mean, in the direction in which the text lies.
        #[test]
        fn a_step_leads_away(text in prop::collection::vec(-5.0_f32..5.0, 4), first in 0.01..2.0_f64, more in 0.01..1.0_f64) {
            prop_assume!(text.iter().any(|value| value.abs() > 0.1));
            let mean = array![0.1, -0.2, 0.0, 0.05];
            let texts = ndarray::Array2::from_shape_vec((1, 4), text.clone()).expect("four numbers");
            let moved = Outward { direction: Direction::FromMean, first, more, count: 3 }.features(texts.view(), mean.view());
            let offset = |row: ArrayView1<'_, f32>| row.mapv(f64::from) - &mean;
            let mut last = offset(texts.row(0));
            for row in moved.outer_iter() {
                let next = offset(row);
                prop_assert!(next.dot(&next) > last.dot(&last) * 0.999_99);
                let cosine = next.dot(&last) / (next.dot(&next) * last.dot(&last)).sqrt();
                prop_assert!(cosine > 0.999, "{cosine}");
                last = next;
            }
        }
    }
}
