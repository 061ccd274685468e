//! Means and scatter of an embedding, per class and overall, in one pass that can be cut and merged.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::linalg::gram;

/// Rows per block; blocks are summed in order, so the result does not depend on the number of threads.
const BLOCK: usize = 1024;
/// Blocks in flight, which bounds memory to this many d×d matrices.
const WAVE: usize = 8;

/// A statistic that can be built in pieces: `update` with rows, `merge` pieces, then read the result.
pub trait Accumulate: Sized {
    /// What it is built from.
    type Batch<'a>;
    /// What it amounts to.
    type Output;

    /// Adds a batch of rows.
    fn update(&mut self, batch: Self::Batch<'_>);
    /// Adds what another piece has seen.
    fn merge(&mut self, other: Self);
    /// The result.
    fn finish(self) -> Self::Output;
}

/// Running [`Moments`] of labelled rows. Rows without a known class count for the overall moments only.
#[derive(Debug, Clone)]
pub struct MomentsBuilder {
    count: u64,
    mean: Array1<f64>,
    scatter: Array2<f64>,
    class_counts: Vec<u64>,
    class_sums: Array2<f64>,
}

/// Means and scatter of n rows of dimension d in K classes.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Number of rows n.
    pub count: u64,
    /// `[d]` mean of all rows.
    pub mean: Array1<f64>,
    /// `[d, d]` sum of (x − mean)(x − mean)ᵀ over all rows.
    pub scatter: Array2<f64>,
    /// Rows per class.
    pub class_counts: Vec<u64>,
    /// `[K, d]` class means; zero for a class without rows.
    pub class_means: Array2<f64>,
}

impl MomentsBuilder {
    /// Nothing seen yet, for rows of dimension `d` in `classes` classes.
    pub fn new(d: usize, classes: usize) -> Self {
        Self {
            count: 0,
            mean: Array1::zeros(d),
            scatter: Array2::zeros((d, d)),
            class_counts: vec![0; classes],
            class_sums: Array2::zeros((classes, d)),
        }
    }

    /// The moments of one block, computed about the block's own mean.
    fn of_block(rows: ArrayView2<'_, f32>, labels: ArrayView1<'_, i64>, classes: usize) -> Self {
        let mut block = Self::new(rows.ncols(), classes);
        block.count = rows.nrows() as u64;
        let mut centred = rows.mapv(f64::from);
        for (row, &label) in centred.outer_iter().zip(labels) {
            block.mean += &row;
            if let Some(class) = usize::try_from(label).ok().filter(|&class| class < classes) {
                block.class_counts[class] += 1;
                let mut sum = block.class_sums.row_mut(class);
                sum += &row;
            }
        }
        block.mean /= block.count.max(1) as f64;
        centred -= &block.mean;
        block.scatter = gram(centred.view());
        block
    }
}

impl Accumulate for MomentsBuilder {
    /// Rows `[n, d]` and their labels `[n]`, negative for no known class.
    type Batch<'a> = (ArrayView2<'a, f32>, ArrayView1<'a, i64>);
    type Output = Moments;

    fn update(&mut self, (rows, labels): Self::Batch<'_>) {
        let classes = self.class_counts.len();
        let starts: Vec<usize> = (0..rows.nrows()).step_by(BLOCK).collect();
        for wave in starts.chunks(WAVE) {
            let blocks: Vec<Self> = wave
                .par_iter()
                .map(|&start| {
                    let end = (start + BLOCK).min(rows.nrows());
                    Self::of_block(rows.slice(s![start..end, ..]), labels.slice(s![start..end]), classes)
                })
                .collect();
            for block in blocks {
                self.merge(block);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let delta = &other.mean - &self.mean;
        self.count += other.count;
        // Chan, Golub and LeVeque: the scatter of a union is the sum plus that of the two means.
        let weight = n * m / (n + m);
        self.scatter += &other.scatter;
        if n > 0.0 {
            for (mut row, &left) in self.scatter.outer_iter_mut().zip(&delta) {
                row.scaled_add(weight * left, &delta);
            }
        }
        self.mean.scaled_add(m / (n + m), &delta);
        self.class_sums += &other.class_sums;
        for (count, other) in self.class_counts.iter_mut().zip(other.class_counts) {
            *count += other;
        }
    }

    fn finish(self) -> Moments {
        let mut class_means = self.class_sums;
        for (mut mean, &count) in class_means.outer_iter_mut().zip(&self.class_counts) {
            mean /= count.max(1) as f64;
        }
        Moments {
            count: self.count,
            mean: self.mean,
            scatter: self.scatter,
            class_counts: self.class_counts,
            class_means,
        }
    }
}

impl Moments {
    /// The moments of `rows` `[n, d]` with `labels` `[n]`.
    pub fn of(rows: ArrayView2<'_, f32>, labels: ArrayView1<'_, i64>, classes: usize) -> Self {
        let mut builder = MomentsBuilder::new(rows.ncols(), classes);
        builder.update((rows, labels));
        builder.finish()
    }

    /// `[d, d]` covariance of all rows about their mean, divided by n.
    pub fn covariance(&self) -> Array2<f64> {
        &self.scatter / self.count.max(1) as f64
    }

    /// `[d, d]` covariance shared by the classes: rows about their own class mean, divided by n.
    ///
    /// Meaningful when every row has a class; then it is the total scatter less that of the class means.
    pub fn within_class_covariance(&self) -> Array2<f64> {
        let mut within = self.scatter.clone();
        for (mean, &count) in self.class_means.axis_iter(Axis(0)).zip(&self.class_counts) {
            if count == 0 {
                continue;
            }
            let delta = &mean - &self.mean;
            for (mut row, &left) in within.outer_iter_mut().zip(&delta) {
                row.scaled_add(-(count as f64) * left, &delta);
            }
        }
        within / self.count.max(1) as f64
    }

    /// `[d, d]` second moment about any point, divided by n.
    pub fn second_moment_about(&self, point: ArrayView1<'_, f64>) -> Array2<f64> {
        let mut moment = self.covariance();
        let delta = &self.mean - &point;
        for (mut row, &left) in moment.outer_iter_mut().zip(&delta) {
            row.scaled_add(left, &delta);
        }
        moment
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, concatenate};
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn three_rows_by_hand() {
        let rows = array![[0.0_f32, 0.0], [2.0, 0.0], [4.0, 3.0]];
        let moments = Moments::of(rows.view(), array![0, 0, 1].view(), 3);
        assert_eq!(moments.mean, array![2.0, 1.0]);
        assert_eq!(moments.scatter, array![[8.0, 6.0], [6.0, 6.0]]);
        assert_eq!(moments.class_means, array![[1.0, 0.0], [4.0, 3.0], [0.0, 0.0]]);
        let within = moments.within_class_covariance();
        let expected = array![[2.0 / 3.0, 0.0], [0.0, 0.0]];
        assert!(within.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
        let about_origin = moments.second_moment_about(array![0.0, 0.0].view()) * 3.0;
        let expected = array![[20.0, 12.0], [12.0, 9.0]];
        assert!(about_origin.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    fn sample(n: usize, d: usize, seed: u64) -> (Array2<f32>, Array1<i64>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let rows = Array2::from_shape_simple_fn((n, d), || rng.random_range(-1.0..1.0) + 100.0);
        (rows, Array1::from_shape_simple_fn(n, || rng.random_range(-1..4)))
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_bit() {
        let (rows, labels) = sample(5000, 17, 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Moments::of(rows.view(), labels.view(), 4))
        };
        let (one, three) = (run(1), run(3));
        assert_eq!(one.scatter, three.scatter);
        assert_eq!(one.mean, three.mean);
    }

    proptest! {
        #[test]
        fn merging_pieces_is_seeing_the_whole(n in 1..60_usize, m in 0..60_usize, seed: u64) {
            let (left, left_labels) = sample(n, 5, seed);
            let (right, right_labels) = sample(m, 5, seed ^ 1);
            let mut merged = MomentsBuilder::new(5, 4);
            merged.update((left.view(), left_labels.view()));
            let mut other = MomentsBuilder::new(5, 4);
            other.update((right.view(), right_labels.view()));
            merged.merge(other);
            let merged = merged.finish();
            let rows = concatenate![Axis(0), left, right];
            let labels = concatenate![Axis(0), left_labels, right_labels];
            let whole = Moments::of(rows.view(), labels.view(), 4);
            prop_assert!(merged.scatter.iter().zip(&whole.scatter).all(|(a, b)| (a - b).abs() < 1e-8));
            prop_assert!(merged.class_means.iter().zip(&whole.class_means).all(|(a, b)| (a - b).abs() < 1e-9));
            prop_assert_eq!(merged.class_counts, whole.class_counts);
        }
    }
}
