//! Multinomial logistic regression: a classifier trained on embeddings, as a linear probe.
//!
//! Minimises (1/n) Σᵢ −log softmax(W xᵢ + b)_{yᵢ} + (λ/2) ‖W‖² in f64 by L-BFGS from zero (Liu and Nocedal, 1989), until
//! no component of the gradient is above 10⁻⁶ in size. The bias is not penalised. The loss is convex, so the result does
//! not hang on the start; sums run over parts of fixed size in a fixed order, so it has the same bits on any number of
//! threads. In scikit-learn's terms C = 1/(λ n).

use std::collections::VecDeque;

use ndarray::{Array1, Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::linalg::multiply;

/// Largest component of the gradient at which the search ends.
const GRADIENT: f64 = 1e-6;
/// Steps after which it gives up.
const STEPS: usize = 2000;
/// Steps whose curvature is remembered.
const MEMORY: usize = 12;
/// Share of the promised decrease that a step must bring (Armijo).
const DECREASE: f64 = 1e-4;
/// Halvings of a step before it is called hopeless.
const HALVINGS: usize = 40;
/// Rows multiplied at a time.
const BLOCK: usize = 256;
/// Parts of the rows that threads share, whatever the number of threads.
const PARTS: usize = 16;

/// A fitted classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// `[K, d]`.
    pub weight: Array2<f64>,
    /// `[K]`.
    pub bias: Array1<f64>,
    /// Steps it took.
    pub steps: usize,
}

/// Rows that no classifier can be fitted on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LogisticError {
    /// A class that no row belongs to: its bias would fall without end.
    #[error("class {0} has no row")]
    NoRow(usize),
    /// A label that is no class.
    #[error("row {row} has label {label}, but there are {classes} classes")]
    Label {
        /// The row.
        row: usize,
        /// Its label.
        label: usize,
        /// K.
        classes: usize,
    },
    /// Labels and rows that differ in number.
    #[error("{rows} rows have {labels} labels")]
    Count {
        /// Rows.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// A NaN or an infinity in a row.
    #[error("row {0} is not finite")]
    NotFinite(usize),
    /// A penalty that is zero, negative or not a number.
    #[error("the penalty must be positive, but is {0}")]
    Penalty(f64),
    /// A search that did not end.
    #[error("no minimum after {steps} steps: the gradient is still {gradient:.1e}; a larger penalty helps")]
    NoConvergence {
        /// Steps taken.
        steps: usize,
        /// Largest component of the gradient.
        gradient: f64,
    },
}

impl Logistic {
    /// Fits `rows` `[n, d]` of `classes` classes with the penalty `l2`, λ.
    ///
    /// # Errors
    /// As [`LogisticError`] lists.
    pub fn fit(rows: ArrayView2<'_, f32>, labels: &[usize], classes: usize, l2: f64) -> Result<Self, LogisticError> {
        check(rows, labels, classes, l2)?;
        let problem = Problem { rows, labels, classes, l2 };
        let (parameters, steps) = minimise(&problem)?;
        let d = rows.ncols();
        Ok(Self { weight: parameters.slice(s![.., ..d]).to_owned(), bias: parameters.column(d).to_owned(), steps })
    }

    /// `[n, K]` logits W x + b; a row's bits do not depend on the other rows.
    ///
    /// # Panics
    /// If the rows are not as wide as those it was fitted on.
    pub fn logits(&self, rows: ArrayView2<'_, f32>) -> Array2<f64> {
        crate::linalg::project(rows, self.weight.t()) + &self.bias
    }

    /// Mean of −log softmax at the labels.
    ///
    /// # Panics
    /// If a label is no class, or the rows are not as wide as those it was fitted on.
    pub fn loss(&self, rows: ArrayView2<'_, f32>, labels: &[usize]) -> f64 {
        let logits = self.logits(rows);
        let losses = logits.outer_iter().zip(labels).map(|(row, &label)| log_sum(row.iter().copied()) - row[label]);
        losses.sum::<f64>() / labels.len() as f64
    }
}

fn check(rows: ArrayView2<'_, f32>, labels: &[usize], classes: usize, l2: f64) -> Result<(), LogisticError> {
    if !(l2 > 0.0 && l2.is_finite()) {
        return Err(LogisticError::Penalty(l2));
    }
    if rows.nrows() != labels.len() {
        return Err(LogisticError::Count { rows: rows.nrows(), labels: labels.len() });
    }
    if let Some(row) = labels.iter().position(|&label| label >= classes) {
        return Err(LogisticError::Label { row, label: labels[row], classes });
    }
    if let Some(row) = rows.outer_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
        return Err(LogisticError::NotFinite(row));
    }
    let mut found = vec![false; classes];
    for &label in labels {
        found[label] = true;
    }
    match found.iter().position(|found| !found) {
        Some(class) => Err(LogisticError::NoRow(class)),
        None => Ok(()),
    }
}

/// The loss as a function of `[K, d + 1]`, weights and bias.
struct Problem<'a> {
    rows: ArrayView2<'a, f32>,
    labels: &'a [usize],
    classes: usize,
    l2: f64,
}

impl Problem<'_> {
    /// Loss and gradient.
    fn evaluate(&self, parameters: &Array2<f64>) -> (f64, Array2<f64>) {
        let (n, d) = self.rows.dim();
        let columns = parameters.t().as_standard_layout().into_owned();
        let part = n.div_ceil(PARTS).max(BLOCK);
        let starts: Vec<usize> = (0..n).step_by(part).collect();
        let parts: Vec<(f64, Array2<f64>)> =
            starts.into_par_iter().map(|start| self.part(&columns, start, (start + part).min(n))).collect();
        let (mut loss, mut gradient) = (0.0, Array2::<f64>::zeros(parameters.raw_dim()));
        for (part_loss, part_gradient) in parts {
            loss += part_loss;
            gradient += &part_gradient;
        }
        loss /= n as f64;
        gradient /= n as f64;
        let weight = parameters.slice(s![.., ..d]);
        loss += self.l2 / 2.0 * weight.iter().map(|value| value * value).sum::<f64>();
        gradient.slice_mut(s![.., ..d]).scaled_add(self.l2, &weight);
        (loss, gradient)
    }

    /// Sums over some rows, on one thread; `columns` is `[d + 1, K]`.
    fn part(&self, columns: &Array2<f64>, start: usize, end: usize) -> (f64, Array2<f64>) {
        let (width, classes) = columns.dim();
        let (mut loss, mut gradient) = (0.0, Array2::<f64>::zeros((classes, width)));
        for first in (start..end).step_by(BLOCK) {
            let last = (first + BLOCK).min(end);
            let mut rows = Array2::<f64>::ones((last - first, width));
            rows.slice_mut(s![.., ..width - 1]).zip_mut_with(&self.rows.slice(s![first..last, ..]), |to, &from| {
                *to = f64::from(from);
            });
            let mut residuals = Array2::<f64>::zeros((last - first, classes));
            multiply(rows.view(), columns.view(), &mut residuals);
            for (mut row, &label) in residuals.outer_iter_mut().zip(&self.labels[first..last]) {
                let total = log_sum(row.iter().copied());
                loss += total - row[label];
                row.mapv_inplace(|logit| (logit - total).exp());
                row[label] -= 1.0;
            }
            let residuals = residuals.t().as_standard_layout().into_owned();
            let mut product = Array2::<f64>::zeros((classes, width));
            multiply(residuals.view(), rows.view(), &mut product);
            gradient += &product;
        }
        (loss, gradient)
    }
}

/// log Σ exp.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

fn dot(left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn largest(gradient: &Array2<f64>) -> f64 {
    gradient.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

/// The minimum and the steps taken to it.
fn minimise(problem: &Problem<'_>) -> Result<(Array2<f64>, usize), LogisticError> {
    let mut at = Array2::<f64>::zeros((problem.classes, problem.rows.ncols() + 1));
    let (mut loss, mut gradient) = problem.evaluate(&at);
    let mut past: VecDeque<Past> = VecDeque::new();
    for steps in 0..STEPS {
        if largest(&gradient) <= GRADIENT {
            return Ok((at, steps));
        }
        let direction = direction(&gradient, &past);
        let slope = dot(&direction, &gradient);
        let Some((step, next, next_loss, next_gradient)) = search(problem, &at, loss, &direction, slope) else {
            return Err(LogisticError::NoConvergence { steps, gradient: largest(&gradient) });
        };
        let moved = direction * step;
        let bent = &next_gradient - &gradient;
        let curvature = dot(&moved, &bent);
        // Positive in exact arithmetic, since the loss is convex.
        if curvature > 0.0 {
            past.push_back(Past { moved, bent, curvature });
            if past.len() > MEMORY {
                past.pop_front();
            }
        }
        (at, loss, gradient) = (next, next_loss, next_gradient);
    }
    Err(LogisticError::NoConvergence { steps: STEPS, gradient: largest(&gradient) })
}

/// What one step said about the curvature.
struct Past {
    moved: Array2<f64>,
    bent: Array2<f64>,
    /// Their product.
    curvature: f64,
}

/// −H·gradient with the inverse Hessian H that the past suggests (the two-loop recursion).
fn direction(gradient: &Array2<f64>, past: &VecDeque<Past>) -> Array2<f64> {
    let mut q = gradient.clone();
    let mut shares = Vec::with_capacity(past.len());
    for step in past.iter().rev() {
        let share = dot(&step.moved, &q) / step.curvature;
        q.scaled_add(-share, &step.bent);
        shares.push(share);
    }
    match past.back() {
        Some(last) => q *= last.curvature / dot(&last.bent, &last.bent),
        // The first step is of length one at most.
        None => q /= dot(gradient, gradient).sqrt().max(1.0),
    }
    for (step, share) in past.iter().zip(shares.iter().rev()) {
        let back = dot(&step.bent, &q) / step.curvature;
        q.scaled_add(share - back, &step.moved);
    }
    -q
}

/// Step, place, loss and gradient where the loss has fallen enough, halving from 1; `None` if it nowhere does.
fn search(
    problem: &Problem<'_>,
    at: &Array2<f64>,
    loss: f64,
    direction: &Array2<f64>,
    slope: f64,
) -> Option<(f64, Array2<f64>, f64, Array2<f64>)> {
    let mut step = 1.0;
    for _ in 0..HALVINGS {
        let next = at + &(direction * step);
        let (next_loss, gradient) = problem.evaluate(&next);
        // Near the minimum the decrease drowns in rounding.
        if next_loss <= loss + DECREASE * step * slope + 4.0 * f64::EPSILON * loss.abs() {
            return Some((step, next, next_loss, gradient));
        }
        step /= 2.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn random(n: usize, d: usize, classes: usize) -> (Array2<f32>, Vec<usize>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let rows = Array2::from_shape_simple_fn((n, d), || rng.random_range(-1.0..1.0));
        let labels = (0..n).map(|row| if row < classes { row } else { rng.random_range(0..classes) }).collect();
        (rows, labels)
    }

    #[test]
    fn without_features_the_bias_is_the_log_of_the_shares() {
        let (rows, labels) = (Array2::zeros((4, 0)), [0, 0, 0, 1]);
        let fitted = Logistic::fit(rows.view(), &labels, 2, 1.0).unwrap();
        // Logits sum to zero: ±½ log 3.
        let half = 3.0_f64.ln() / 2.0;
        assert!((fitted.bias[0] - half).abs() < 1e-5 && (fitted.bias[1] + half).abs() < 1e-5, "{}", fitted.bias);
        let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert!((fitted.loss(rows.view(), &labels) - entropy).abs() < 1e-10);
    }

    /// Rows ±1 of two classes: W = (w, −w), b = 0, and the gradient in w vanishes where σ(−2w) = λ w.
    #[test]
    fn two_points_by_hand() {
        let (rows, l2) = (array![[1.0_f32], [-1.0]], 0.1);
        let fitted = Logistic::fit(rows.view(), &[0, 1], 2, l2).unwrap();
        let w = fitted.weight[[0, 0]];
        assert!((fitted.weight[[1, 0]] + w).abs() < 1e-12 && fitted.bias.iter().all(|b| b.abs() < 1e-12));
        assert!((1.0 / (1.0 + (2.0 * w).exp()) - l2 * w).abs() < 1e-6, "{w}");
        assert!(w > 0.5, "{w}");
        assert_eq!(fitted.logits(rows.view()).dim(), (2, 2));
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (rows, labels) = random(600, 3, 4);
        let problem = Problem { rows: rows.view(), labels: &labels, classes: 4, l2: 0.03 };
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let at = Array2::from_shape_simple_fn((4, 4), || rng.random_range(-1.0..1.0));
        let (_, gradient) = problem.evaluate(&at);
        let h = 1e-5;
        for place in ndarray::indices((4, 4)) {
            let loss = |shift: f64| {
                let mut moved = at.clone();
                moved[place] += shift;
                problem.evaluate(&moved).0
            };
            let numeric = (loss(h) - loss(-h)) / (2.0 * h);
            assert!((numeric - gradient[place]).abs() < 1e-9, "{place:?}: {numeric} {}", gradient[place]);
        }
    }

    #[test]
    fn the_minimum_is_one_and_has_the_same_bits_on_any_number_of_threads() {
        let (rows, labels) = random(3000, 5, 3);
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Logistic::fit(rows.view(), &labels, 3, 1e-3).unwrap())
        };
        let fitted = fit(1);
        assert_eq!(fitted, fit(3));
        let problem = Problem { rows: rows.view(), labels: &labels, classes: 3, l2: 1e-3 };
        let mut best = Array2::zeros((3, 6));
        best.slice_mut(s![.., ..5]).assign(&fitted.weight);
        best.column_mut(5).assign(&fitted.bias);
        let (loss, gradient) = problem.evaluate(&best);
        assert!(largest(&gradient) <= GRADIENT);
        for place in ndarray::indices((3, 6)) {
            let mut moved = best.clone();
            moved[place] += 0.01;
            assert!(problem.evaluate(&moved).0 > loss);
        }
    }

    /// Separable rows have no minimum without a penalty; a small one is reached all the same.
    #[test]
    fn a_small_penalty_on_separable_rows_converges() {
        let rows = Array2::from_shape_fn((90, 3), |(row, j)| if row % 3 == j { 1.0 } else { 0.01 * (row % 7) as f32 });
        let labels: Vec<usize> = (0..90).map(|row| row % 3).collect();
        let fitted = Logistic::fit(rows.view(), &labels, 3, 1e-6).unwrap();
        assert!(fitted.loss(rows.view(), &labels) < 1e-3 && fitted.steps < STEPS, "{}", fitted.steps);
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        let rows = array![[1.0_f32], [2.0]];
        let message = |labels: &[usize], l2: f64| Logistic::fit(rows.view(), labels, 2, l2).unwrap_err().to_string();
        assert_eq!(message(&[0, 0], 1.0), "class 1 has no row");
        assert_eq!(message(&[0, 2], 1.0), "row 1 has label 2, but there are 2 classes");
        assert_eq!(message(&[0], 1.0), "2 rows have 1 labels");
        assert_eq!(message(&[0, 1], 0.0), "the penalty must be positive, but is 0");
        let odd = array![[1.0_f32], [f32::NAN]];
        assert_eq!(Logistic::fit(odd.view(), &[0, 1], 2, 1.0).unwrap_err(), LogisticError::NotFinite(1));
    }
}
