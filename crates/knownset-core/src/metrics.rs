//! How well scores tell in-distribution (ID) from out-of-distribution (OOD) images. All exact, from sorted
//! scores, in O(n log n); scores are higher = more in-distribution.
//!
//! The field has two conventions for FPR@95 and both are computed:
//! [`Metrics::fpr95`] takes ID as the positive class (most papers, the CLIP literature),
//! [`Metrics::fpr95_ood_positive`] takes OOD (OpenOOD v1.5, Hendrycks' outlier exposure).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Share of positives that must be kept by the FPR@95 thresholds, in percent.
const PERCENT: usize = 95;
/// 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Everything reported about one ID set against one OOD set; fractions in 0–1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Probability that an ID image scores above an OOD image, ties counting one half.
    pub auroc: f64,
    /// 95 % confidence interval of `auroc` over both samples (DeLong, DeLong & Clarke-Pearson 1988), cut to 0–1.
    pub auroc_ci95: [f64; 2],
    /// Share of OOD images scoring at least as high as the ⌈0.95 n⌉-th highest ID image.
    pub fpr95: f64,
    /// Share of ID images scoring at most as high as the ⌈0.95 n⌉-th lowest OOD image.
    pub fpr95_ood_positive: f64,
    /// Area under precision–recall with ID as positive, by the trapezoid rule as the field reports it.
    pub aupr_in: f64,
    /// The same with OOD as positive.
    pub aupr_out: f64,
}

/// Scores that cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A side without images.
    #[error("there are no {0} scores")]
    Empty(&'static str),
    /// A NaN has no rank.
    #[error("{side} score {index} is not a number")]
    NotANumber {
        /// ID or OOD.
        side: &'static str,
        /// Its index.
        index: usize,
    },
}

/// One distinct score: how many of each side have it.
struct Step {
    id: f64,
    ood: f64,
}

impl Metrics {
    /// Compares the scores of ID images with those of OOD images. Infinities are ranked like any number.
    pub fn new(id: &[f64], ood: &[f64]) -> Result<Self, MetricsError> {
        let id = sorted(id, "ID")?;
        let ood = sorted(ood, "OOD")?;
        let (n_id, n_ood) = (id.len() as f64, ood.len() as f64);

        let steps = steps(&id, &ood);
        let (auroc, deviation) = delong(&steps, n_id, n_ood);
        let keep_id = id[id.len() - at_least(id.len())];
        let keep_ood = ood[at_least(ood.len()) - 1];
        Ok(Self {
            auroc,
            auroc_ci95: [(auroc - Z * deviation).max(0.0), (auroc + Z * deviation).min(1.0)],
            fpr95: (ood.len() - ood.partition_point(|&score| score < keep_id)) as f64 / n_ood,
            fpr95_ood_positive: id.partition_point(|&score| score <= keep_ood) as f64 / n_id,
            aupr_in: precision_recall_area(steps.iter().rev().map(|step| (step.id, step.ood)), n_id),
            aupr_out: precision_recall_area(steps.iter().map(|step| (step.ood, step.id)), n_ood),
        })
    }
}

/// ⌈0.95 n⌉ without rounding.
fn at_least(n: usize) -> usize {
    (PERCENT * n).div_ceil(100)
}

fn sorted(scores: &[f64], side: &'static str) -> Result<Vec<f64>, MetricsError> {
    if scores.is_empty() {
        return Err(MetricsError::Empty(side));
    }
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(MetricsError::NotANumber { side, index });
    }
    // Adding zero turns −0 into +0, which is the same score.
    let mut sorted: Vec<f64> = scores.iter().map(|score| score + 0.0).collect();
    sorted.par_sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// The distinct scores in ascending order.
fn steps(id: &[f64], ood: &[f64]) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut i, mut o) = (0, 0);
    while i < id.len() || o < ood.len() {
        let score = match (id.get(i), ood.get(o)) {
            (Some(&left), Some(&right)) => left.min(right),
            (Some(&one), None) | (None, Some(&one)) => one,
            (None, None) => break,
        };
        let (first_id, first_ood) = (i, o);
        i += id[i..].iter().take_while(|&&other| other == score).count();
        o += ood[o..].iter().take_while(|&&other| other == score).count();
        steps.push(Step { id: (i - first_id) as f64, ood: (o - first_ood) as f64 });
    }
    steps
}

/// AUROC and its standard error from the placements of each side among the other.
fn delong(steps: &[Step], n_id: f64, n_ood: f64) -> (f64, f64) {
    let (mut id_below, mut ood_below, mut area) = (0.0, 0.0, 0.0);
    for step in steps {
        area += step.id * (ood_below + step.ood / 2.0);
        ood_below += step.ood;
    }
    let auroc = area / (n_id * n_ood);
    ood_below = 0.0;
    let (mut id_spread, mut ood_spread) = (0.0, 0.0);
    for step in steps {
        let id_placement = (ood_below + step.ood / 2.0) / n_ood;
        let ood_placement = (n_id - id_below - step.id / 2.0) / n_id;
        id_spread += step.id * (id_placement - auroc).powi(2);
        ood_spread += step.ood * (ood_placement - auroc).powi(2);
        id_below += step.id;
        ood_below += step.ood;
    }
    let variance = |spread: f64, n: f64| if n > 1.0 { spread / (n - 1.0) / n } else { 0.0 };
    (auroc, (variance(id_spread, n_id) + variance(ood_spread, n_ood)).sqrt())
}

/// Trapezoid area; `steps` gives (positives, negatives) per distinct score, most positive-looking first. The curve
/// starts at recall 0 with precision 1.
fn precision_recall_area(steps: impl Iterator<Item = (f64, f64)>, positives: f64) -> f64 {
    let (mut true_positives, mut false_positives) = (0.0, 0.0);
    let (mut area, mut recall, mut precision) = (0.0, 0.0, 1.0);
    for (positive, negative) in steps {
        true_positives += positive;
        false_positives += negative;
        let next_recall = true_positives / positives;
        let next_precision = true_positives / (true_positives + false_positives);
        area += (next_recall - recall) * (precision + next_precision) / 2.0;
        (recall, precision) = (next_recall, next_precision);
    }
    area
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn by_hand() {
        // Pairs won by ID: 3 beats both, 1 ties with 1 and beats 0 → (2 + 1.5) / 4.
        let metrics = Metrics::new(&[3.0, 1.0], &[1.0, 0.0]).unwrap();
        assert!(close(metrics.auroc, 0.875));
        // Both ID kept at threshold 1: one of two OOD is ≥ 1. Both OOD caught at threshold 1: one of two ID is ≤ 1.
        assert!(close(metrics.fpr95, 0.5) && close(metrics.fpr95_ood_positive, 0.5));
        // (recall, precision): (0, 1), (1/2, 1), (1, 2/3) → 1/2 + 1/2 · 5/6.
        assert!(close(metrics.aupr_in, 0.5 + 5.0 / 12.0));
        assert!(close(metrics.aupr_out, 0.5 + 5.0 / 12.0));
    }

    /// Placements of ID among OOD: 1, .75; of OOD among ID: 1, .75. Each sample variance is 1/32, so the variance
    /// of the AUROC is 2 · (1/32)/2 = 1/32.
    #[test]
    fn the_delong_interval_by_hand() {
        let metrics = Metrics::new(&[3.0, 1.0], &[1.0, 0.0]).unwrap();
        let half = Z * (1.0_f64 / 32.0).sqrt();
        assert!(close(metrics.auroc_ci95[0], 0.875 - half) && metrics.auroc_ci95[1] == 1.0);
    }

    /// ID 0…29 against OOD 10.5…29.5: the figures other libraries' tests use for FPR at a given TPR.
    #[test]
    fn fpr95_of_two_ramps() {
        let id: Vec<f64> = (0..30).map(f64::from).collect();
        let ood: Vec<f64> = (10..30).map(|value| f64::from(value) + 0.5).collect();
        // OOD taken as the *low* side here: positives are ID; ⌈28.5⌉ = 29 ID kept means threshold 1.
        assert_eq!(Metrics::new(&id, &ood).unwrap().fpr95, 1.0);
        // Turned round (scores negated), 19 of 20 OOD caught means threshold −11.5; 18 of 30 ID are below it.
        let negated = |scores: &[f64]| scores.iter().map(|score| -score).collect::<Vec<_>>();
        let metrics = Metrics::new(&negated(&id), &negated(&ood)).unwrap();
        assert!(close(metrics.fpr95_ood_positive, 18.0 / 30.0));
    }

    #[test]
    fn perfect_and_hopeless() {
        let perfect = Metrics::new(&[1.0, f64::INFINITY], &[0.0, f64::NEG_INFINITY]).unwrap();
        assert_eq!((perfect.auroc, perfect.fpr95, perfect.fpr95_ood_positive), (1.0, 0.0, 0.0));
        assert_eq!((perfect.aupr_in, perfect.aupr_out), (1.0, 1.0));
        let constant = Metrics::new(&[-0.0; 3], &[0.0; 5]).unwrap();
        assert_eq!((constant.auroc, constant.fpr95, constant.fpr95_ood_positive), (0.5, 1.0, 1.0));
    }

    #[test]
    fn nan_and_nothing_are_refused() {
        assert_eq!(Metrics::new(&[], &[1.0]), Err(MetricsError::Empty("ID")));
        let nan = Err(MetricsError::NotANumber { side: "OOD", index: 1 });
        assert_eq!(Metrics::new(&[1.0], &[1.0, f64::NAN]), nan);
    }

    proptest! {
        /// Against the O(n²) definitions, with many ties.
        #[test]
        fn agrees_with_the_definitions(
            id in proptest::collection::vec(-6..6_i32, 1..60),
            ood in proptest::collection::vec(-6..6_i32, 1..60),
        ) {
            let id: Vec<f64> = id.into_iter().map(f64::from).collect();
            let ood: Vec<f64> = ood.into_iter().map(f64::from).collect();
            let metrics = Metrics::new(&id, &ood).unwrap();
            let wins: f64 = id.iter().flat_map(|i| ood.iter().map(move |o| match i.total_cmp(o) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })).sum();
            prop_assert!(close(metrics.auroc, wins / (id.len() * ood.len()) as f64));
            let share = |scores: &[f64], test: &dyn Fn(f64) -> bool| {
                scores.iter().filter(|&&score| test(score)).count() as f64 / scores.len() as f64
            };
            // The largest threshold that keeps 95 % of ID, and the smallest that catches 95 % of OOD.
            let kept = id.iter().copied().filter(|&t| share(&id, &|s| s >= t) >= 0.95).fold(f64::MIN, f64::max);
            prop_assert!(close(metrics.fpr95, share(&ood, &|s| s >= kept)));
            let caught = ood.iter().copied().filter(|&t| share(&ood, &|s| s <= t) >= 0.95).fold(f64::MAX, f64::min);
            prop_assert!(close(metrics.fpr95_ood_positive, share(&id, &|s| s <= caught)));
        }

        /// Swapping the sides and negating the scores is the same problem.
        #[test]
        fn symmetric(
            id in proptest::collection::vec(-9..9_i32, 1..40),
            ood in proptest::collection::vec(-9..9_i32, 1..40),
        ) {
            let scores = |values: &[i32], sign: f64| values.iter().map(|&v| sign * f64::from(v)).collect::<Vec<_>>();
            let metrics = Metrics::new(&scores(&id, 1.0), &scores(&ood, 1.0)).unwrap();
            let turned = Metrics::new(&scores(&ood, -1.0), &scores(&id, -1.0)).unwrap();
            prop_assert!(close(metrics.auroc, turned.auroc));
            prop_assert!(close(metrics.fpr95, turned.fpr95_ood_positive));
            prop_assert!(close(metrics.aupr_in, turned.aupr_out));
            prop_assert!(close(metrics.auroc_ci95[0], turned.auroc_ci95[0]));
        }
    }
}
