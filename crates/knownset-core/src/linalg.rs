//! The few matrix operations detectors need, in f64, with results that do not depend on the number of threads
//! nor on which other rows are in the batch: work is cut into blocks of a fixed size, each computed on one thread.

use faer::{Accum, MatMut, MatRef, Par, Side};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows computed together. Shorter blocks are padded with zeros, so that a row meets the same kernel alone or
/// in a crowd.
const BLOCK: usize = 64;

/// A decomposition that did not converge, which finite input should never cause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the eigenvalues of a {0}×{0} matrix did not converge")]
pub struct NoConvergence(usize);

/// `rows` `[n, d]` · `matrix` `[d, k]` → `[n, k]`: rows of f32 or f64, products and sums in f64.
///
/// # Panics
/// If the inner dimensions differ.
pub fn project<T>(rows: ArrayView2<'_, T>, matrix: ArrayView2<'_, f64>) -> Array2<f64>
where
    T: Copy + Into<f64> + Sync,
{
    project_shifted(rows, None, matrix)
}

/// (`rows` − `shift`) · `matrix`, as [`project`].
///
/// # Panics
/// If the dimensions differ.
pub fn project_shifted<T>(
    rows: ArrayView2<'_, T>,
    shift: Option<ArrayView1<'_, f64>>,
    matrix: ArrayView2<'_, f64>,
) -> Array2<f64>
where
    T: Copy + Into<f64> + Sync,
{
    let (d, k) = matrix.dim();
    assert_eq!(rows.ncols(), d, "inner dimensions");
    let matrix = matrix.as_standard_layout();
    let mut out = Array2::zeros((rows.nrows(), k));
    out.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter().enumerate().for_each(|(index, mut out)| {
        let first = index * BLOCK;
        let rows = rows.slice(s![first..first + out.nrows(), ..]);
        let mut block = Array2::<f64>::zeros((BLOCK, d));
        for (mut target, row) in block.outer_iter_mut().zip(rows.outer_iter()) {
            match &shift {
                None => target.zip_mut_with(&row, |t, &value| *t = value.into()),
                Some(shift) => ndarray::Zip::from(&mut target)
                    .and(&row)
                    .and(shift)
                    .for_each(|t, &value, &shift| *t = value.into() - shift),
            }
        }
        let mut product = Array2::<f64>::zeros((BLOCK, k));
        multiply(block.view(), matrix.view(), &mut product);
        let product = product.slice(s![..rows.nrows(), ..]);
        out.assign(&product);
    });
    out
}

/// `left` · `right` on the calling thread. Both must be in standard (row-major) layout.
pub(crate) fn multiply(left: ArrayView2<'_, f64>, right: ArrayView2<'_, f64>, out: &mut Array2<f64>) {
    let (n, k) = out.dim();
    let out = MatMut::from_row_major_slice_mut(out.as_slice_mut().expect("a fresh array is row-major"), n, k);
    faer::linalg::matmul::matmul(out, Accum::Replace, row_major(&left), row_major(&right), 1.0, Par::Seq);
    leave_vector_code();
}

/// `rows`ᵀ · `rows` on the calling thread; `rows` in standard layout.
pub(crate) fn gram(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    let d = rows.ncols();
    let mut out = Array2::zeros((d, d));
    let target = MatMut::from_row_major_slice_mut(out.as_slice_mut().expect("a fresh array is row-major"), d, d);
    let rows = row_major(&rows);
    faer::linalg::matmul::matmul(target, Accum::Replace, rows.transpose(), rows, 1.0, Par::Seq);
    leave_vector_code();
    out
}

/// `left` · `right`ᵀ in f32 on the calling thread; slices are row-major, `out` is [n, k].
pub(crate) fn multiply_transposed_f32(left: &[f32], right: &[f32], inner: usize, out: &mut [f32]) {
    if inner == 0 {
        return out.fill(0.0);
    }
    let (n, k) = (left.len() / inner, right.len() / inner);
    let left = MatRef::from_row_major_slice(left, n, inner);
    let right = MatRef::from_row_major_slice(right, k, inner);
    let out = MatMut::from_row_major_slice_mut(out, n, k);
    faer::linalg::matmul::matmul(out, Accum::Replace, left, right.transpose(), 1.0, Par::Seq);
    leave_vector_code();
}

/// Clears the upper halves of the vector registers, which faer's kernels leave in use: until then, every switch
/// between old and new vector instructions costs this thread dozens of cycles. An `exp` took ten times as long.
fn leave_vector_code() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        #[expect(unsafe_code, reason = "an instruction of AVX, whose presence was checked; it touches no memory")]
        // SAFETY: the processor has AVX.
        unsafe {
            std::arch::x86_64::_mm256_zeroupper();
        }
    }
}

fn row_major<'a>(array: &'a ArrayView2<'_, f64>) -> MatRef<'a, f64> {
    let slice = array.as_slice().expect("callers pass standard-layout arrays");
    MatRef::from_row_major_slice(slice, array.nrows(), array.ncols())
}

/// Eigenvalues in ascending order and the eigenvectors that belong to them.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// `[d]`.
    pub values: Array1<f64>,
    /// `[d, d]`, one eigenvector per column.
    pub vectors: Array2<f64>,
}

/// Decomposes a symmetric matrix, of which only the lower triangle is read.
pub fn symmetric_eigen(matrix: &Array2<f64>) -> Result<Eigen, NoConvergence> {
    faer::set_global_parallelism(Par::Seq);
    let d = matrix.nrows();
    if d == 0 {
        return Ok(Eigen { values: Array1::zeros(0), vectors: Array2::zeros((0, 0)) });
    }
    let matrix = matrix.as_standard_layout();
    let eigen = row_major(&matrix.view()).self_adjoint_eigen(Side::Lower).map_err(|_| NoConvergence(d))?;
    leave_vector_code();
    let (values, vectors) = (eigen.S(), eigen.U());
    Ok(Eigen {
        values: Array1::from_shape_fn(d, |i| values[i]),
        vectors: Array2::from_shape_fn((d, d), |(i, j)| vectors[(i, j)]),
    })
}

/// `[d, r]` matrix V with V·Vᵀ the pseudo-inverse of a covariance, so that xᵀ S⁺ x = ‖x·V‖².
///
/// Directions with an eigenvalue below d · ε · (largest eigenvalue) carry no information and are left out, as
/// SciPy's `pinvh` does; r is the rank that remains.
pub fn whitening(covariance: &Array2<f64>) -> Result<Array2<f64>, NoConvergence> {
    let Eigen { values, vectors } = symmetric_eigen(covariance)?;
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let cutoff = largest * values.len() as f64 * f64::EPSILON;
    let kept: Vec<usize> = (0..values.len()).filter(|&i| values[i] > cutoff).collect();
    let mut white = vectors.select(Axis(1), &kept);
    for (mut column, &i) in white.axis_iter_mut(Axis(1)).zip(&kept) {
        column /= values[i].sqrt();
    }
    Ok(white)
}

/// The lower triangular L `[d, d]` with L·Lᵀ the symmetric `matrix`, of which only the lower triangle is read; nothing
/// if it is not positive definite.
pub fn cholesky(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    faer::set_global_parallelism(Par::Seq);
    let d = matrix.nrows();
    let matrix = matrix.as_standard_layout();
    let root = row_major(&matrix.view()).llt(Side::Lower).ok();
    leave_vector_code();
    let root = root?;
    let root = root.L();
    Some(Array2::from_shape_fn((d, d), |(i, j)| if j <= i { root[(i, j)] } else { 0.0 }))
}

/// The least-norm solution x of `matrix` `[K, d]` · x = `target` `[K]`, by the pseudo-inverse.
pub fn least_norm_solution(
    matrix: ArrayView2<'_, f32>,
    target: ArrayView1<'_, f32>,
) -> Result<Array1<f64>, NoConvergence> {
    let Singular { left, values, right } = singular(matrix)?;
    let mut solution = Array1::zeros(matrix.ncols());
    for (j, value) in values.iter().enumerate() {
        let along: f64 = left.column(j).iter().zip(target).map(|(l, &t)| l * f64::from(t)).sum();
        solution.iter_mut().zip(right.column(j)).for_each(|(x, r)| *x += r * along / value);
    }
    Ok(solution)
}

/// The pseudo-inverse `[d, K]` of `matrix` `[K, d]`: its inverse, where it has one.
pub fn pseudo_inverse(matrix: ArrayView2<'_, f32>) -> Result<Array2<f64>, NoConvergence> {
    let Singular { left, values, mut right } = singular(matrix)?;
    let (k, d) = matrix.dim();
    let mut inverse = Array2::zeros((d, k));
    if !values.is_empty() {
        right /= &values;
        let left = left.t().as_standard_layout().into_owned();
        multiply(right.view(), left.view(), &mut inverse);
    }
    Ok(inverse)
}

/// `left` · diag(`values`) · `right`ᵀ: `[K, r]`, `[r]` and `[d, r]`, r the rank.
struct Singular {
    left: Array2<f64>,
    values: Array1<f64>,
    right: Array2<f64>,
}

/// Singular values below max(K, d) · ε · (the largest) are taken for zero, as NumPy's `matrix_rank` does.
fn singular(matrix: ArrayView2<'_, f32>) -> Result<Singular, NoConvergence> {
    faer::set_global_parallelism(Par::Seq);
    let (k, d) = matrix.dim();
    let matrix = matrix.mapv(f64::from).as_standard_layout().into_owned();
    let svd = row_major(&matrix.view()).thin_svd().map_err(|_| NoConvergence(k.max(d)))?;
    leave_vector_code();
    let (left, values, right) = (svd.U(), svd.S(), svd.V());
    let most = k.min(d);
    let cutoff = if most == 0 { 0.0 } else { values[0] * k.max(d) as f64 * f64::EPSILON };
    let kept: Vec<usize> = (0..most).filter(|&j| values[j] > cutoff).collect();
    Ok(Singular {
        left: Array2::from_shape_fn((k, kept.len()), |(i, j)| left[(i, kept[j])]),
        values: kept.iter().map(|&j| values[j]).collect(),
        right: Array2::from_shape_fn((d, kept.len()), |(i, j)| right[(i, kept[j])]),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_root_by_hand_and_none_of_an_indefinite_matrix() {
        let root = cholesky(&array![[4.0, f64::NAN], [2.0, 10.0]]).unwrap();
        assert!((&root - &array![[2.0, 0.0], [1.0, 3.0]]).iter().all(|error| error.abs() < 1e-12), "{root}");
        assert!(cholesky(&array![[1.0, 2.0], [2.0, 1.0]]).is_none());
        let rows = random(50, 20).mapv(f64::from);
        let matrix = rows.t().dot(&rows);
        let root = cholesky(&matrix).unwrap();
        assert!((root.dot(&root.t()) - matrix).iter().all(|error| error.abs() < 1e-10));
    }

    fn random(n: usize, d: usize) -> Array2<f32> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        Array2::from_shape_simple_fn((n, d), || rng.random_range(-1.0..1.0))
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_a_batch() {
        for (n, d, k) in [(1, 3, 2), (63, 33, 10), (64, 64, 64), (200, 130, 77)] {
            let rows = random(n, d);
            let matrix = random(d, k).mapv(f64::from);
            let all = project(rows.view(), matrix.view());
            for row in 0..n {
                let one = project(rows.slice(s![row..=row, ..]), matrix.view());
                assert_eq!(one.row(0), all.row(row), "row {row} of {n}x{d}x{k}");
            }
            let plain = rows.mapv(f64::from).dot(&matrix);
            assert!(all.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn whitening_gives_the_pseudo_inverse_of_a_singular_matrix() {
        // S = diag(4, 1, 0) rotated by 45° in the first two axes; x along the null direction has no distance.
        let s = array![[2.5, 1.5, 0.0], [1.5, 2.5, 0.0], [0.0, 0.0, 0.0]];
        let white = whitening(&s).unwrap();
        assert_eq!(white.dim(), (3, 2));
        let squared = |x: [f32; 3]| -> f64 {
            project(ArrayView2::from(&[x]), white.view()).iter().map(|value| value * value).sum()
        };
        assert!((squared([1.0, 1.0, 0.0]) - 0.5).abs() < 1e-12);
        assert!((squared([1.0, -1.0, 0.0]) - 2.0).abs() < 1e-12);
        assert!(squared([0.0, 0.0, 9.0]).abs() < 1e-12);
    }

    #[test]
    fn least_norm_solution_of_a_wide_system() {
        let solution = least_norm_solution(array![[3.0, 4.0]].view(), array![10.0].view()).unwrap();
        assert!((solution[0] - 1.2).abs() < 1e-12 && (solution[1] - 1.6).abs() < 1e-12);
    }

    #[test]
    fn pseudo_inverses_by_hand() {
        let near = |found: Array2<f64>, expected: Array2<f64>| {
            assert_eq!(found.dim(), expected.dim());
            assert!((found - expected).iter().all(|error| error.abs() < 1e-12));
        };
        let square = array![[2.0_f32, 1.0], [0.0, 4.0]];
        near(pseudo_inverse(square.view()).unwrap(), array![[0.5, -0.125], [0.0, 0.25]]);
        near(pseudo_inverse(square.t()).unwrap(), array![[0.5, 0.0], [-0.125, 0.25]]);
        near(pseudo_inverse(array![[3.0_f32, 4.0]].view()).unwrap(), array![[0.12], [0.16]]);
        near(pseudo_inverse(array![[1.0_f32, 1.0], [1.0, 1.0]].view()).unwrap(), array![[0.25, 0.25], [0.25, 0.25]]);
        near(pseudo_inverse(Array2::zeros((2, 3)).view()).unwrap(), Array2::zeros((3, 2)));
    }
}
