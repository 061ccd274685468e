//! Optimisers and the learning rate's schedule.

use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Optimiser {
    /// Stochastic gradient descent: v ← m v + (g + decay · w), w ← w − lr · v.
    Sgd {
        /// Momentum m.
        momentum: f64,
        /// L2 penalty on every parameter.
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>), which spares
    /// biases, normalisations and the scale of the cosines.
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of squared gradients.
        beta2: f64,
        /// Added to the root of the squared gradients' mean.
        epsilon: f64,
        /// Share of a weight that a step of rate 1 removes.
        weight_decay: f64,
    },
}

impl Optimiser {
    pub(crate) fn init(self) -> ModuleOptimizer {
        match self {
            Self::Sgd { momentum, weight_decay } => {
                let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov: false };
                let decay = WeightDecayConfig::new(weight_decay as f32);
                SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(decay)).init()
            }
            Self::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let adam = AdamWConfig::new()
                    .with_beta_1(beta1 as f32)
                    .with_beta_2(beta2 as f32)
                    .with_epsilon(epsilon as f32)
                    .with_weight_decay(weight_decay as f32);
                let spared = ParamGroup::from_any_predicates(vec!["gamma", "beta", "bias", "logit_scale"]);
                adam.init().with_group(spared, adam.with_weight_decay(0.0).build(), None)
            }
        }
    }
}

/// The learning rate: a straight line from 0 to `lr` over the first `warmup` steps, then half a cosine to 0 at the last
/// (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1608.03983>).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub lr: f64,
    /// Steps until it is reached.
    pub warmup: usize,
}

impl Schedule {
    /// The rate of step `step`, from 0, of `steps`.
    pub(crate) fn rate(self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / self.warmup as f64;
        }
        let share = (step - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        self.lr * f64::midpoint(1.0, (std::f64::consts::PI * share).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_in_a_line_and_falls_along_half_a_cosine() {
        let schedule = Schedule { lr: 2.0, warmup: 4 };
        let rates: Vec<f64> = (0..12).map(|step| schedule.rate(step, 12)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way down");
        assert!(rates[11] > 0.0 && rates[11] < 0.1);
        assert_eq!(Schedule { lr: 0.1, warmup: 0 }.rate(0, 10), 0.1);
    }
}
