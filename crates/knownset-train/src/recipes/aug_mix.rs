//! AugMix: a picture and two mixtures of its augmentations are to be told alike.
//!
//! Hendrycks et al., *AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty*, ICLR 2020. Loss:
//! cross-entropy of the picture + λ · the Jensen–Shannon divergence of the three softmaxes, the mean over them of
//! KL(p_i ‖ m), m being their mean, which is not let below 1e-7. λ is 12. The three share their crop and flip. No
//! deviation; how pictures are mixed is the augmentation `aug-mix`'s.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::augment::Augment;
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step, Views};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "aug-mix",
    title: "AugMix",
    year: 2020,
    paper: "https://arxiv.org/abs/1912.02781",
    loss: "-log p_y + λ JS(p, p', p'') of a picture and two mixtures of its augmentations",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "weight", doc: "λ, weight of the divergence, at least 0" },
        ParamDoc { name: "severity", doc: "strength of the augmentations, 0.1 to 10" },
    ],
    kind: classifier::<AugMix>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AugMix {
    weight: f64,
    severity: f64,
}

impl Default for AugMix {
    fn default() -> Self {
        Self { weight: 12.0, severity: 3.0 }
    }
}

impl Recipe for AugMix {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require((0.1..=10.0).contains(&self.severity), "severity", self.severity, "from 0.1 to 10")
    }

    fn views(&self, standard: &Augment) -> Views {
        let mixture: Augment = format!("aug-mix:severity={}", self.severity).parse().expect("checked parameters");
        let each = vec![Augment::default(), mixture.clone(), mixture];
        Views { once: standard.clone(), each }
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let n = batch.len();
        let logits = network.trunk.classify(network.embed(Tensor::cat(batch.views.clone(), 0)));
        let view = |index: usize| logits.clone().narrow(0, index * n, n);
        let clean = view(0);
        let loss = cross_entropy::loss(clean.clone(), batch.targets(&clean.device()));
        let loss = loss + divergence([clean.clone(), view(1), view(2)]) * self.weight;
        Step::new(loss, &clean, &batch.labels)
    }
}

/// Mean over rows of the Jensen–Shannon divergence of three views' logits, each `[n, K]`.
fn divergence(views: [Tensor<2>; 3]) -> Tensor<1> {
    let [n, _] = views[0].dims();
    let shares = views.map(|logits| softmax(logits, 1));
    let mean = (shares[0].clone() + shares[1].clone() + shares[2].clone()) / 3.0;
    let log_mean = mean.clamp(1e-7, 1.0).log();
    // Where a softmax is 0 in f32 its logarithm is not, and 0 times it is 0.
    let kl = |p: Tensor<2>| (p.clone() * (p.clamp_min(1e-30).log() - log_mean.clone())).sum();
    let [first, second, third] = shares;
    (kl(first) + kl(second) + kl(third)) / (3 * n) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// Views (p, 1 − p) = (1, 0), (0, 1), (1, 0) up to e⁻³⁰: the mean is (2/3, 1/3), the divergence
    /// (2 log 3/2 + log 3) / 3.
    #[test]
    fn by_hand() {
        let sure = rows(&[&[30.0, 0.0]]);
        let other = rows(&[&[0.0, 30.0]]);
        let found = number(&divergence([sure.clone(), other, sure]));
        let expected = (2.0 * 1.5_f64.ln() + 3.0_f64.ln()) / 3.0;
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        let same = rows(&[&[0.3, -1.0, 2.0]]);
        assert!(number(&divergence([same.clone(), same.clone(), same])).abs() < 1e-7);
    }

    #[test]
    fn gradients() {
        let second = rows(&[&[0.1, 0.5, -0.2], &[1.0, 0.0, 0.3]]);
        let third = rows(&[&[-0.4, 0.9, 0.2], &[0.2, 0.1, 0.0]]);
        gradients_agree(rows(&[&[1.5, -0.5, 0.3], &[0.2, 2.0, -1.0]]), |first| {
            divergence([first, second.clone(), third.clone()])
        });
        golden("mixes").agrees("aug-mix", ["first", "second", "third"], divergence);
    }
}
