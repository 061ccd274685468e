//! From a score to a decision: split-conformal p-values.
//!
//! Let s₁…s_n be the detector's scores on n in-distribution images it was not fitted on. For a new image with
//! score s, p = (1 + #{i : sᵢ ≤ s}) / (n + 1). If the new image is exchangeable with those n, P(p ≤ α) ≤ α for
//! every n and every α: flagging images with p ≤ α raises a false alarm with probability at most α, on average
//! over the calibration images (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005;
//! Bates et al., *Testing for outliers with conformal p-values*, Annals of Statistics 2023).

use serde::Serialize;

/// Calibration scores and the false-alarm rate chosen by the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// In ascending order.
    scores: Vec<f64>,
    alpha: f64,
}

/// A calibration that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// α outside (0, 1).
    #[error("alpha must be between 0 and 1, both excluded, but is {0}")]
    Alpha(f64),
    /// A NaN among the scores.
    #[error("calibration score {0} is not a number")]
    NotANumber(usize),
    /// Too few images for that α: no p-value could ever be small enough.
    #[error("{found} calibration images cannot bound false alarms at alpha = {alpha}: at least {needed} are needed")]
    TooFew {
        /// Scores given.
        found: usize,
        /// Scores needed, ⌈1/α⌉ − 1.
        needed: usize,
        /// The rate asked for.
        alpha: f64,
    },
}

/// What a calibrated detector says of one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdict {
    /// Conformal p-value: how often an in-distribution image would score this low.
    pub p_value: f64,
    /// Whether `p_value` ≤ α.
    pub is_ood: bool,
}

impl Calibration {
    /// Calibrates on the scores of in-distribution images.
    pub fn new(mut scores: Vec<f64>, alpha: f64) -> Result<Self, CalibrationError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(CalibrationError::Alpha(alpha));
        }
        if let Some(index) = scores.iter().position(|score| score.is_nan()) {
            return Err(CalibrationError::NotANumber(index));
        }
        scores.sort_by(f64::total_cmp);
        let calibration = Self { scores, alpha };
        if calibration.rank() == 0 {
            let needed = ((1.0 / alpha).ceil() as usize).saturating_sub(1);
            return Err(CalibrationError::TooFew { found: calibration.scores.len(), needed, alpha });
        }
        Ok(calibration)
    }

    /// ⌊α (n + 1)⌋: the largest p-value numerator that is still flagged. A product such as 0.05 · 20 that rounds
    /// to just below an integer counts as that integer.
    fn rank(&self) -> usize {
        let product = self.alpha * (self.scores.len() + 1) as f64;
        (product * (1.0 + 4.0 * f64::EPSILON)).floor() as usize
    }

    /// The scores, ascending.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The bound on the false-alarm rate.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The threshold: an image is flagged when its score is **below** it.
    pub fn threshold(&self) -> f64 {
        self.scores[self.rank() - 1]
    }

    /// The exact probability of a false alarm, over calibration sets and new images, for continuous scores:
    /// ⌊α(n+1)⌋/(n+1) ≤ α.
    pub fn false_alarm_rate(&self) -> f64 {
        self.rank() as f64 / (self.scores.len() + 1) as f64
    }

    /// p-value and verdict of one score.
    pub fn verdict(&self, score: f64) -> Verdict {
        let at_most = self.scores.partition_point(|calibrated| *calibrated <= score);
        let p_value = (1 + at_most) as f64 / (self.scores.len() + 1) as f64;
        Verdict { p_value, is_ood: at_most < self.rank() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn nineteen_images_at_five_percent_flag_only_what_is_below_them_all() {
        let calibration = Calibration::new((1..=19).map(f64::from).collect(), 0.05).unwrap();
        assert_eq!(calibration.threshold(), 1.0);
        assert_eq!(calibration.false_alarm_rate(), 0.05);
        assert_eq!(calibration.verdict(0.5), Verdict { p_value: 0.05, is_ood: true });
        assert_eq!(calibration.verdict(1.0), Verdict { p_value: 0.1, is_ood: false });
        assert_eq!(calibration.verdict(100.0), Verdict { p_value: 1.0, is_ood: false });
    }

    #[test]
    fn what_cannot_be_promised_is_refused() {
        let few = Calibration::new(vec![0.0; 18], 0.05);
        assert_eq!(few, Err(CalibrationError::TooFew { found: 18, needed: 19, alpha: 0.05 }));
        assert_eq!(Calibration::new(vec![0.0; 18], 1.0), Err(CalibrationError::Alpha(1.0)));
        assert_eq!(Calibration::new(vec![0.0, f64::NAN], 0.5), Err(CalibrationError::NotANumber(1)));
    }

    /// Each of 1,000 draws calibrates on n fresh images and tests one more: the count of false alarms is binomial
    /// with the stated rate. The band is ±4 standard deviations, missed once in 16,000 runs of a random seed;
    /// the seed is fixed.
    #[test]
    fn false_alarms_over_1000_draws_stay_in_their_binomial_band() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for (n, alpha) in [(19, 0.05), (100, 0.05), (37, 0.1), (500, 0.01), (10, 0.5)] {
            let mut alarms = 0_u32;
            let mut rate = 0.0;
            for _ in 0..1000 {
                let mut draw = || -> f64 { rng.random::<f64>() };
                let calibration = Calibration::new((0..n).map(|_| draw()).collect(), alpha).unwrap();
                rate = calibration.false_alarm_rate();
                alarms += u32::from(calibration.verdict(draw()).is_ood);
            }
            let deviation = (1000.0 * rate * (1.0 - rate)).sqrt();
            let surplus = (f64::from(alarms) - 1000.0 * rate) / deviation;
            assert!(surplus.abs() < 4.0, "{alarms} alarms, n = {n}, alpha = {alpha}");
            assert!(rate <= alpha);
        }
    }

    proptest! {
        #[test]
        fn threshold_p_value_and_verdict_agree(
            scores in proptest::collection::vec(-3..3_i32, 3..60),
            score in -4..4_i32,
            alpha in 0.26..0.9_f64,
        ) {
            let calibration = Calibration::new(scores.into_iter().map(f64::from).collect(), alpha).unwrap();
            let verdict = calibration.verdict(f64::from(score));
            prop_assert_eq!(verdict.is_ood, f64::from(score) < calibration.threshold());
            prop_assert_eq!(verdict.is_ood, verdict.p_value <= alpha);
        }
    }
}
