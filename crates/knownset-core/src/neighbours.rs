//! Exact nearest neighbours on the unit sphere.
//!
//! Candidates come from f32 matrix products; whatever their rounding could have confused is decided again in
//! f64, so the answer is exact for the stored vectors and the same bits for any batch, block or thread count.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::linalg::multiply_transposed_f32;

/// Queries per block.
const QUERIES: usize = 128;
/// Bank rows per block.
const BANK: usize = 1024;
/// Similarities compared with the floor at once.
const LANE: usize = 64;

/// Reference vectors, each scaled to unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Bank {
    unit: Array2<f32>,
    /// Rows of length zero, which no scaling makes unit length.
    zero: Vec<usize>,
}

/// A row of the bank and its squared distance from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Row in the bank.
    pub row: usize,
    /// Squared Euclidean distance between unit vectors, 0–4.
    pub squared_distance: f64,
}

/// Rows divided by their Euclidean length; a zero row stays zero.
pub fn unit_rows(rows: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut unit = rows.as_standard_layout().into_owned();
    unit.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut row| {
        let length = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.mapv_inplace(|value| (f64::from(value) / length) as f32);
        }
    });
    unit
}

impl Bank {
    /// Scales `rows` `[n, d]` to unit length.
    pub fn new(rows: ArrayView2<'_, f32>) -> Self {
        Self::from_unit(unit_rows(rows))
    }

    /// A bank whose rows, `[n, d]`, already have unit length.
    pub fn from_unit(unit: Array2<f32>) -> Self {
        let unit = unit.as_standard_layout().into_owned();
        let zero = (0..unit.nrows()).filter(|&row| unit.row(row).iter().all(|&value| value == 0.0)).collect();
        Self { unit, zero }
    }

    /// The unit vectors `[n, d]`.
    pub fn unit(&self) -> &Array2<f32> {
        &self.unit
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.unit.nrows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.unit.nrows() == 0
    }

    /// For every query row `[m, d]`, scaled to unit length, its `k` nearest rows of the bank, nearest first and
    /// lower rows first among equals; all rows when the bank has fewer than `k`.
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn nearest(&self, queries: ArrayView2<'_, f32>, k: usize) -> Vec<Vec<Neighbour>> {
        self.search(queries, k, |query, mut candidates, _| {
            let mut found: Vec<Neighbour> = candidates.drain(..).map(|(_, row)| self.exact(query, row)).collect();
            found.sort_by(|a, b| a.squared_distance.total_cmp(&b.squared_distance).then(a.row.cmp(&b.row)));
            found.truncate(k);
            found
        })
    }

    /// For every query row, the squared distance of its `k`-th nearest row (1 = the nearest), or of the
    /// farthest when the bank has fewer than `k`.
    ///
    /// # Panics
    /// If the dimensions differ, the bank is empty or `k` is 0.
    pub fn kth_squared_distance(&self, queries: ArrayView2<'_, f32>, k: usize) -> Vec<f64> {
        assert!(k > 0 && !self.is_empty(), "the k-th of an empty bank, or k = 0");
        let k = k.min(self.len());
        self.search(queries, k, |query, mut candidates, margin| {
            candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
            let kth = candidates[k - 1].0;
            let surely_nearer = candidates.iter().take_while(|(similarity, _)| *similarity > kth + margin).count();
            let mut close: Vec<f64> = candidates[surely_nearer..]
                .iter()
                .take_while(|(similarity, _)| *similarity >= kth - margin)
                .map(|&(_, row)| self.exact(query, row).squared_distance)
                .collect();
            let (_, kth, _) = close.select_nth_unstable_by(k - 1 - surely_nearer, f64::total_cmp);
            *kth
        })
    }

    fn exact(&self, query: &[f32], row: usize) -> Neighbour {
        let row_values: ArrayView1<'_, f32> = self.unit.row(row);
        let squared_distance = query
            .iter()
            .zip(row_values)
            .map(|(&a, &b)| {
                let difference = f64::from(a) - f64::from(b);
                difference * difference
            })
            .sum();
        Neighbour { row, squared_distance }
    }

    /// Hands `decide` every query with a superset of its `k` nearest: (f32 similarity, row) pairs, among them
    /// all rows whose similarity is within the given margin of the k-th largest.
    fn search<T: Send>(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        decide: impl Fn(&[f32], Vec<(f32, usize)>, f32) -> T + Sync,
    ) -> Vec<T> {
        let d = self.unit.ncols();
        assert_eq!(queries.ncols(), d, "query and bank dimensions");
        let queries = unit_rows(queries);
        // |fl(x·y) − x·y| ≤ d·u for unit vectors with u = 2⁻²⁴; twice for two products, twice again because
        // squared distances also see the rounding of the vectors' lengths.
        let margin = 4.0 * (d as f32 + 4.0) * f32::EPSILON / 2.0;
        let blocks: Vec<usize> = (0..queries.nrows()).step_by(QUERIES).collect();
        let found: Vec<Vec<T>> = blocks
            .into_par_iter()
            .map(|start| {
                let block = queries.slice(s![start..(start + QUERIES).min(queries.nrows()), ..]);
                let block = block.as_slice().expect("unit_rows is row-major");
                let mut candidates = self.candidates(block, k, margin);
                let rows = block.chunks_exact(d.max(1));
                rows.zip(candidates.drain(..)).map(|(query, found)| decide(query, found, margin)).collect()
            })
            .collect();
        found.into_iter().flatten().collect()
    }

    fn candidates(&self, queries: &[f32], k: usize, margin: f32) -> Vec<Vec<(f32, usize)>> {
        let d = self.unit.ncols();
        let n = queries.len() / d.max(1);
        let bank = self.unit.as_slice().expect("row-major by construction");
        let mut kept = vec![Kept::new(k, margin); n];
        let mut similarity = vec![0.0_f32; n * BANK];
        for (index, rows) in bank.chunks(BANK * d.max(1)).enumerate() {
            let width = rows.len() / d.max(1);
            let similarity = &mut similarity[..n * width];
            multiply_transposed_f32(queries, rows, d, similarity);
            // |q − b|² = |q|² + |b|² − 2 q·b orders as −q·b among unit rows; a zero row lacks their |b|² = 1.
            for &zero in self.zero.iter().filter(|&&row| row / BANK == index) {
                similarity.iter_mut().skip(zero % BANK).step_by(width).for_each(|value| *value += 0.5);
            }
            for (kept, similarity) in kept.iter_mut().zip(similarity.chunks_exact(width)) {
                kept.add(index * BANK, similarity);
            }
        }
        kept.into_iter().map(Kept::finish).collect()
    }
}

/// The best of a stream of similarities, with everything that rounding could have misplaced.
#[derive(Clone)]
struct Kept {
    k: usize,
    margin: f32,
    floor: f32,
    pairs: Vec<(f32, usize)>,
}

impl Kept {
    fn new(k: usize, margin: f32) -> Self {
        Self { k, margin, floor: f32::NEG_INFINITY, pairs: Vec::new() }
    }

    fn add(&mut self, first_row: usize, similarity: &[f32]) {
        for (index, lane) in similarity.chunks(LANE).enumerate() {
            // Nearly every lane lies all below the floor; counting has no branches, so it becomes vector compares.
            if lane.iter().filter(|value| **value >= self.floor).count() == 0 {
                continue;
            }
            for (offset, &value) in lane.iter().enumerate() {
                if value >= self.floor {
                    self.pairs.push((value, first_row + index * LANE + offset));
                }
            }
            if self.pairs.len() > 4 * self.k + 64 {
                self.prune();
            }
        }
    }

    fn prune(&mut self) {
        if self.k == 0 || self.pairs.len() <= self.k {
            return;
        }
        let (_, kth, _) = self.pairs.select_nth_unstable_by(self.k - 1, |a, b| b.0.total_cmp(&a.0));
        self.floor = kth.0 - self.margin;
        let floor = self.floor;
        self.pairs.retain(|pair| pair.0 >= floor);
    }

    fn finish(mut self) -> Vec<(f32, usize)> {
        self.prune();
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn by_hand_on_the_circle() {
        let bank = Bank::new(array![[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]].view());
        let query = array![[3.0, 0.0]];
        assert_eq!(bank.kth_squared_distance(query.view(), 1), [0.0]);
        assert_eq!(bank.kth_squared_distance(query.view(), 2), [2.0]);
        assert_eq!(bank.kth_squared_distance(query.view(), 9), [4.0]);
        let nearest = &bank.nearest(query.view(), 2)[0];
        assert_eq!(nearest.iter().map(|found| found.row).collect::<Vec<_>>(), [0, 1]);
    }

    fn random(n: usize, d: usize, seed: u64) -> Array2<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        // Few distinct values, so that there are many ties and duplicates.
        Array2::from_shape_simple_fn((n, d), || f32::from(rng.random_range(-2_i8..3)))
    }

    proptest! {
        #[test]
        fn agrees_with_sorting_everything(n in 1..300_usize, m in 1..40_usize, d in 1..9_usize, k in 1..50_usize, seed: u64) {
            let bank = Bank::new(random(n, d, seed).view());
            let queries = random(m, d, seed ^ 7);
            let unit = unit_rows(queries.view());
            let kth = bank.kth_squared_distance(queries.view(), k);
            let nearest = bank.nearest(queries.view(), k);
            for (index, query) in unit.outer_iter().enumerate() {
                let query = query.to_vec();
                let mut all: Vec<Neighbour> = (0..n).map(|row| bank.exact(&query, row)).collect();
                all.sort_by(|a, b| a.squared_distance.total_cmp(&b.squared_distance).then(a.row.cmp(&b.row)));
                all.truncate(k);
                prop_assert_eq!(kth[index], all[all.len() - 1].squared_distance);
                prop_assert_eq!(&nearest[index], &all);
            }
        }
    }
}
