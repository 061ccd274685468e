//! Maximum classifier discrepancy: two heads that are to agree on known pictures and to differ on outliers.
//!
//! Yu & Aizawa, *Unsupervised Out-of-Distribution Detection by Maximum Classifier Discrepancy*, ICCV 2019. Loss:
//! cross-entropy of both heads' logits + λ · max(0, m − mean over outliers of H(p₁) − H(p₂)), H the entropy of a head's
//! softmax; the second term only after a share of the epochs. λ is 1, m 1.2, the share 0.9, as in OpenOOD's settings,
//! and two outliers come with every picture.
//!
//! Deviations: OpenOOD's entropy takes the softmax over the batch instead of the classes; the paper's, over the
//! classes, is meant and taken here. The paper alternates steps on labelled and on unlabelled pictures; here, as in
//! OpenOOD, a step has both.
//!
//! The mean of both heads is the exported head; the second is in `recipe.second.weight` `[K, d]` and
//! `recipe.second.bias` `[1, K]`, which gives the first as twice the mean less the second.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Tensor};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "mcd",
    title: "MCD",
    year: 2019,
    paper: "https://arxiv.org/abs/1908.04951",
    loss: "-log p1_y - log p2_y + λ max(0, m - (H(p1') - H(p2')))",
    outliers: Outliers::Required,
    params: &[
        ParamDoc { name: "weight", doc: "λ, weight of the discrepancy, at least 0" },
        ParamDoc { name: "margin", doc: "m, the discrepancy that is enough, in nats" },
        ParamDoc { name: "start", doc: "share of the epochs without the discrepancy, 0..1" },
        ParamDoc { name: "ratio", doc: "outliers for every picture, above 0" },
    ],
    kind: classifier::<Mcd>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Mcd {
    weight: f64,
    margin: f64,
    start: f64,
    ratio: f64,
}

impl Default for Mcd {
    fn default() -> Self {
        Self { weight: 1.0, margin: 1.2, start: 0.9, ratio: 2.0 }
    }
}

/// The second head; the first is the network's own.
#[derive(Module, Debug)]
pub(crate) struct Second {
    second: Linear,
}

impl Recipe for Mcd {
    type Parts = Second;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require(self.margin.is_finite(), "margin", self.margin, "a number")?;
        require((0.0..=1.0).contains(&self.start), "start", self.start, "between 0 and 1")?;
        require(self.ratio > 0.0, "ratio", self.ratio, "above 0")
    }

    fn outliers_per_picture(&self) -> f64 {
        self.ratio
    }

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Second {
        Second { second: LinearConfig::new(width, classes).init(device) }
    }

    fn logits(&self, network: &Network<Second>, embedding: Tensor<2>) -> Tensor<2> {
        (network.trunk.classify(embedding.clone()) + network.parts.second.forward(embedding)) * 0.5
    }

    fn step(&self, network: &mut Network<Second>, batch: &Batch, moment: &Moment) -> Step {
        let apart = moment.past(self.start);
        let (images, n) = if apart { batch.with_outliers() } else { (batch.images(), batch.len()) };
        let embedding = network.embed(images);
        let heads = [network.trunk.classify(embedding.clone()), network.parts.second.forward(embedding)];
        let [first, second] = heads.clone().map(|logits| logits.narrow(0, 0, n));
        let targets = batch.targets(&first.device());
        let loss = cross_entropy::loss(first.clone(), targets.clone()) + cross_entropy::loss(second.clone(), targets);
        let hits = Step::new(loss.clone(), &((first + second) * 0.5), &batch.labels).hits;
        if !apart {
            return Step { loss, hits };
        }
        let [first, second] = heads.map(|logits| {
            let m = logits.dims()[0] - n;
            logits.narrow(0, n, m)
        });
        Step { loss: loss + agreement(first, second, self.margin) * self.weight, hits }
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        for name in ["weight", "bias"] {
            let Some(second) = tensors.get_mut(&format!("recipe.second.{name}")) else { continue };
            if let &[length] = second.shape.as_slice() {
                second.shape = vec![1, length];
            }
            let second = second.values.clone();
            if let Some(first) = tensors.get_mut(&format!("{head}.{name}")) {
                first.values.iter_mut().zip(second).for_each(|(first, second)| *first = f32::midpoint(*first, second));
            }
        }
    }
}

/// max(0, margin − mean of H(p₁) − H(p₂)) for both heads' logits `[m, K]` of outliers, a single number.
pub(crate) fn agreement(first: Tensor<2>, second: Tensor<2>, margin: f64) -> Tensor<1> {
    relu(-(entropies(first) - entropies(second)).mean() + margin)
}

/// Entropy `[m, 1]` of the softmax over the classes, in nats.
fn entropies(logits: Tensor<2>) -> Tensor<2> {
    let log = log_softmax(logits, 1);
    -(log.clone().exp() * log).sum_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::values;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// The entropy of (1/2, 1/2) is log 2, that of (3/4, 1/4) is log 4 − 3/4 log 3.
    #[test]
    fn by_hand() {
        let log3 = 3.0_f32.ln();
        let even = || rows(&[&[0.0, 0.0], &[5.0, 5.0]]);
        let uneven = || rows(&[&[log3, 0.0], &[5.0, 5.0 + log3]]);
        let gap = 2.0_f64.ln() - (4.0_f64.ln() - 0.75 * 3.0_f64.ln());
        let loss = |margin| number(&agreement(even(), uneven(), margin));
        assert!((loss(1.2) - (1.2 - gap)).abs() < 1e-6, "{}", loss(1.2));
        assert_eq!(loss(0.1), 0.0, "apart enough");
        let swapped = number(&agreement(uneven(), even(), 1.2));
        assert!((swapped - (1.2 + gap)).abs() < 1e-6, "{swapped}");
    }

    /// OpenOOD takes the softmax over the batch: an outlier's entropy would depend on the others.
    #[test]
    fn an_entropy_is_of_one_picture() {
        let alone = values(entropies(rows(&[&[1.0, -2.0, 0.5]])));
        let together = values(entropies(rows(&[&[1.0, -2.0, 0.5], &[7.0, 3.0, -9.0], &[0.0, 0.0, 0.0]])));
        assert_eq!(alone[0], together[0]);
        assert!((f64::from(together[2]) - 3.0_f64.ln()).abs() < 1e-6, "of K classes, not of the batch");
    }

    #[test]
    fn gradients() {
        let other = || rows(&[&[0.5, 0.1, -1.4], &[2.0, -1.0, 0.3]]);
        let one = || rows(&[&[1.0, -0.5, 0.3], &[0.2, 2.0, -1.0]]);
        gradients_agree(one(), |first| agreement(first, other(), 1.2));
        gradients_agree(other(), |second| agreement(one(), second, 1.2));
        golden("outliers").agrees("mcd", ["first", "second"], |[first, second]| agreement(first, second, 1.2));
    }

    #[test]
    fn the_exported_head_is_the_mean_and_gives_both_back() {
        let tensor = |shape: &[usize], values: &[f32]| HostTensor { shape: shape.to_vec(), values: values.to_vec() };
        let mut tensors = BTreeMap::from([
            ("fc.weight".to_owned(), tensor(&[2, 1], &[1.0, 3.0])),
            ("fc.bias".to_owned(), tensor(&[2], &[0.5, 0.0])),
            ("recipe.second.weight".to_owned(), tensor(&[2, 1], &[2.0, -1.0])),
            ("recipe.second.bias".to_owned(), tensor(&[2], &[0.0, 1.0])),
        ]);
        Mcd::default().export(&mut tensors, "fc");
        assert_eq!(tensors["fc.weight"], tensor(&[2, 1], &[1.5, 1.0]));
        assert_eq!(tensors["fc.bias"], tensor(&[2], &[0.25, 0.5]));
        assert_eq!(tensors["recipe.second.weight"], tensor(&[2, 1], &[2.0, -1.0]));
        assert_eq!(tensors["recipe.second.bias"], tensor(&[1, 2], &[0.0, 1.0]));
    }
}
