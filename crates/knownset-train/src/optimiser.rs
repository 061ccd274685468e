//! Optimisers.

use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Optimiser {
    /// Stochastic gradient descent as PyTorch's: g' = g + decay · w, v ← m v + g', w ← w − lr · v, or with Nesterov's
    /// momentum w ← w − lr · (g' + m v).
    Sgd {
        /// Momentum m.
        momentum: f64,
        /// Whether to look ahead.
        nesterov: bool,
        /// L2 penalty.
        weight_decay: f64,
        /// What it applies to.
        decays: Decays,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>).
    AdamW {
        /// Decay of the mean of gradients.
        beta1: f64,
        /// Decay of the mean of squared gradients.
        beta2: f64,
        /// Added to the root of the squared gradients' mean.
        epsilon: f64,
        /// Share of a weight that a step of rate 1 removes.
        weight_decay: f64,
        /// What it applies to.
        decays: Decays,
    },
}

/// Which parameters a weight decay applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decays {
    /// Every one.
    All,
    /// All but biases, normalisations and the scale of CLIP's cosines.
    Matrices,
}

/// Parts of the names of parameters that [`Decays::Matrices`] spares.
const VECTORS: [&str; 4] = ["gamma", "beta", "bias", "logit_scale"];

impl Optimiser {
    /// A new optimiser; parameters whose path contains one of `spared` have no weight decay.
    pub(crate) fn init(self, spared: &[&'static str]) -> ModuleOptimizer {
        let (Self::Sgd { decays, .. } | Self::AdamW { decays, .. }) = self;
        let mut spared = spared.to_vec();
        if decays == Decays::Matrices {
            spared.extend(VECTORS);
        }
        let group = || ParamGroup::from_any_predicates(spared.clone());
        match self {
            Self::Sgd { momentum, nesterov, weight_decay, .. } => {
                let momentum = MomentumConfig { momentum, dampening: 0.0, nesterov };
                let bare = SgdConfig::new().with_momentum(Some(momentum).filter(|momentum| momentum.momentum > 0.0));
                let sgd = bare.clone().with_weight_decay(Some(WeightDecayConfig::new(weight_decay as f32)));
                if spared.is_empty() { sgd.init() } else { sgd.init().with_group(group(), bare.build(), None) }
            }
            Self::AdamW { beta1, beta2, epsilon, weight_decay, .. } => {
                let adam = AdamWConfig::new()
                    .with_beta_1(beta1 as f32)
                    .with_beta_2(beta2 as f32)
                    .with_epsilon(epsilon as f32)
                    .with_weight_decay(weight_decay as f32);
                let bare = adam.clone().with_weight_decay(0.0);
                if spared.is_empty() { adam.init() } else { adam.init().with_group(group(), bare.build(), None) }
            }
        }
    }
}
