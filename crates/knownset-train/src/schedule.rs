//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// A straight line from 0 to `lr` over the first `warmup` steps, then a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub lr: f64,
    /// Steps until it is reached.
    pub warmup: usize,
    /// What follows.
    pub curve: Curve,
}

/// How the rate goes on after the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Curve {
    /// It stays.
    Constant,
    /// Half a cosine down to `least` at the last step (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1608.03983>).
    Cosine {
        /// The rate at the end.
        least: f64,
    },
    /// `first` for `held` steps, then half a cosine from the highest rate down to 0 (the constant warm-up of Zhou et al.
    /// 2022, <https://arxiv.org/abs/2109.01134>).
    HeldCosine {
        /// The rate at the beginning.
        first: f64,
        /// Steps at it.
        held: usize,
    },
    /// It is multiplied by `factor` after each of these epochs.
    Steps {
        /// Numbers of epochs, from 1.
        after: Vec<usize>,
        /// What the rate is multiplied by.
        factor: f64,
    },
}

impl Schedule {
    /// The rate of step `step`, from 0, of a run of `epochs` with `per_epoch` steps each.
    pub(crate) fn rate(&self, step: usize, per_epoch: usize, epochs: usize) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        match &self.curve {
            Curve::Constant => self.lr,
            Curve::Cosine { least } => self.cosine(*least, self.warmup, step, per_epoch * epochs),
            Curve::HeldCosine { first, held } if step < self.warmup + held => *first,
            Curve::HeldCosine { held, .. } => self.cosine(0.0, self.warmup + held, step, per_epoch * epochs),
            Curve::Steps { after, factor } => {
                let done = step / per_epoch.max(1);
                let drops = after.iter().filter(|&&epoch| epoch <= done).count();
                self.lr * factor.powi(drops as i32)
            }
        }
    }

    /// Half a cosine from `start` on.
    fn cosine(&self, least: f64, start: usize, step: usize, steps: usize) -> f64 {
        let share = (step - start) as f64 / steps.saturating_sub(start).max(1) as f64;
        least + (self.lr - least) * f64::midpoint(1.0, (std::f64::consts::PI * share).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_in_a_line_and_falls_along_half_a_cosine() {
        let schedule = Schedule { lr: 2.0, warmup: 4, curve: Curve::Cosine { least: 0.0 } };
        let rates: Vec<f64> = (0..12).map(|step| schedule.rate(step, 6, 2)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way down");
        assert!(rates[11] > 0.0 && rates[11] < 0.1);
        let floor = Schedule { curve: Curve::Cosine { least: 1.0 }, ..schedule };
        assert!((floor.rate(8, 6, 2) - 1.5).abs() < 1e-12);
    }

    #[test]
    fn a_rate_is_held_before_the_cosine() {
        let schedule = Schedule { lr: 2.0, warmup: 0, curve: Curve::HeldCosine { first: 0.25, held: 2 } };
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step, 3, 2)).collect();
        assert_eq!(rates[..3], [0.25, 0.25, 2.0]);
        assert!((rates[4] - 1.0).abs() < 1e-12 && rates[5] < 0.4, "{rates:?}");
    }

    #[test]
    fn steps_and_constant() {
        let steps = Curve::Steps { after: vec![1, 3], factor: 0.1 };
        let schedule = Schedule { lr: 1.0, warmup: 0, curve: steps };
        let rates: Vec<f64> = (0..8).map(|step| schedule.rate(step, 2, 4)).collect();
        for (rate, expected) in rates.iter().zip([1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
        assert_eq!(Schedule { curve: Curve::Constant, ..schedule }.rate(7, 2, 4), 1.0);
    }
}
