//! RegMixup: mixtures of two pictures beside the pictures themselves.
//!
//! Pinto et al., *RegMixup: Mixup as a Regularizer Can Surprisingly Improve Accuracy and Out Distribution Robustness*,
//! NeurIPS 2022. Loss: cross-entropy of the pictures + η · cross-entropy of mixtures λ x + (1 − λ) x' with the target
//! λ at y and 1 − λ at y'; x' is another picture of the batch, λ ~ Beta(α, α), one a step. α is 20 and η 1, as in the
//! paper. No deviation.

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::mix::beta;
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "reg-mixup",
    title: "RegMixup",
    year: 2022,
    paper: "https://arxiv.org/abs/2206.14502",
    loss: "-log p_y + η (-λ log p_y - (1 - λ) log p_y' at λ x + (1 - λ) x')",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "alpha", doc: "α, λ is drawn from Beta(α, α); above 0" },
        ParamDoc { name: "weight", doc: "η, weight of the mixtures' loss, at least 0" },
    ],
    kind: classifier::<RegMixup>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RegMixup {
    alpha: f64,
    weight: f64,
}

impl Default for RegMixup {
    fn default() -> Self {
        Self { alpha: 20.0, weight: 1.0 }
    }
}

impl Recipe for RegMixup {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.alpha > 0.0, "alpha", self.alpha, "above 0")?;
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, moment: &Moment) -> Step {
        let Mixture { pictures, partners, lambda } = Mixture::draw(batch, moment, self.alpha);
        // One pass, so that both share their batch statistics.
        let logits = network.trunk.classify(network.embed(Tensor::cat(vec![batch.images(), pictures], 0)));
        let n = batch.len();
        let (plain, mixed) = (logits.clone().narrow(0, 0, n), logits.narrow(0, n, n));
        let targets = batch.targets(&plain.device());
        let loss = cross_entropy::loss(plain.clone(), targets.clone());
        let loss = loss + of_mixtures(mixed, targets, partners, lambda) * self.weight;
        Step::new(loss, &plain, &batch.labels)
    }
}

/// A batch's pictures, each mixed with another one.
pub(super) struct Mixture {
    /// `[n, 3, side, side]`.
    pub(super) pictures: Tensor<4>,
    /// With which, `[n]`.
    pub(super) partners: Tensor<1, Int>,
    /// The share of a picture itself.
    pub(super) lambda: f64,
}

impl Mixture {
    /// Partners by chance, and λ of Beta(α, α) for all.
    pub(super) fn draw(batch: &Batch, moment: &Moment, alpha: f64) -> Self {
        let random = &mut moment.random();
        let lambda = beta(random, alpha, alpha);
        let images = batch.images();
        let partners = partners(batch.len(), random, &images.device());
        Self { pictures: mixtures(images, partners.clone(), lambda), partners, lambda }
    }
}

/// For each of `n` pictures another one of the batch, by chance; a picture may be its own.
pub(super) fn partners(n: usize, random: &mut ChaCha8Rng, device: &Device) -> Tensor<1, Int> {
    let mut order: Vec<i64> = (0..n as i64).collect();
    order.shuffle(random);
    Tensor::from_data(TensorData::new(order, [n]), device)
}

/// λ x + (1 − λ) x' of pictures `[n, 3, side, side]` x and their partners x'.
pub(super) fn mixtures(images: Tensor<4>, partners: Tensor<1, Int>, lambda: f64) -> Tensor<4> {
    images.clone() * lambda + images.select(0, partners) * (1.0 - lambda)
}

/// Cross-entropy of mixtures' logits `[n, K]`: λ at a picture's own label of `[n]`, 1 − λ at its partner's.
pub(super) fn of_mixtures(
    logits: Tensor<2>,
    labels: Tensor<1, Int>,
    partners: Tensor<1, Int>,
    lambda: f64,
) -> Tensor<1> {
    let others = labels.clone().select(0, partners);
    cross_entropy::loss(logits.clone(), labels) * lambda + cross_entropy::loss(logits, others) * (1.0 - lambda)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::testing::{golden, gradients_agree, number, rows};

    fn ints(values: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex().autodiff())
    }

    /// λ = 0.7 between the labels 0 and 1: soft targets 0.7 and 0.3.
    #[test]
    fn mixtures_have_soft_targets() {
        let logits = || rows(&[&[1.0, 0.2], &[-0.5, 0.4]]);
        let mixed = |logits| of_mixtures(logits, ints(&[0, 1]), ints(&[1, 0]), 0.7);
        let soft = cross_entropy::soft_loss(logits(), rows(&[&[0.7, 0.3], &[0.3, 0.7]]));
        assert!((number(&mixed(logits())) - number(&soft)).abs() < 1e-6);
        gradients_agree(logits(), mixed);
        golden("mixes").agrees("reg-mixup", ["logits"], |[logits]| {
            of_mixtures(logits, ints(&[2, 0, 1, 2]), ints(&[3, 2, 1, 0]), 0.35)
        });
    }

    #[test]
    fn partners_are_a_permutation_of_chance() {
        let device = Device::flex().autodiff();
        let draw = |step| partners(20, &mut stream(1, 1, step), &device).into_data().iter::<i64>().collect::<Vec<_>>();
        let mut sorted = draw(0);
        assert_ne!(sorted, draw(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<i64>>());
    }
}
