//! Outlier exposure: outliers are to get the uniform distribution.
//!
//! Hendrycks, Mazeika & Dietterich, *Deep Anomaly Detection with Outlier Exposure*, ICLR 2019. Loss: cross-entropy of
//! the known pictures + λ · mean over outliers of log Σ_c exp z_c − mean_c z_c, which is the cross-entropy from the
//! uniform distribution. λ is 0.5 and a step has two outliers for every picture, as in the paper (batches of 128 and
//! 256); both pass the network as one batch. Deviation: the paper fine-tunes trained networks or trains from scratch;
//! here it is always from scratch.

use burn::tensor::{Device, Tensor};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "oe",
    title: "Outlier Exposure",
    year: 2019,
    paper: "https://arxiv.org/abs/1812.04606",
    loss: "-log p_y + λ (log Σ exp z' - mean z')",
    outliers: Outliers::Required,
    params: &[
        ParamDoc { name: "weight", doc: "λ, weight of the outliers' loss, at least 0" },
        ParamDoc { name: "ratio", doc: "outliers for every picture, above 0" },
    ],
    kind: classifier::<Oe>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Oe {
    weight: f64,
    ratio: f64,
}

impl Default for Oe {
    fn default() -> Self {
        Self { weight: 0.5, ratio: 2.0 }
    }
}

impl Recipe for Oe {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require(self.ratio > 0.0, "ratio", self.ratio, "above 0")
    }

    fn outliers_per_picture(&self) -> f64 {
        self.ratio
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let (known, outliers) = both(network, batch);
        let targets = batch.targets(&known.device());
        let loss = cross_entropy::loss(known.clone(), targets) + from_uniform(outliers) * self.weight;
        Step::new(loss, &known, &batch.labels)
    }
}

/// Logits of the known pictures and of the outliers, from one pass.
pub(crate) fn both(network: &Network<NoParts>, batch: &Batch) -> (Tensor<2>, Tensor<2>) {
    let (images, n) = batch.with_outliers();
    let logits = network.trunk.classify(network.embed(images));
    let m = logits.dims()[0] - n;
    (logits.clone().narrow(0, 0, n), logits.narrow(0, n, m))
}

/// Cross-entropy of logits `[m, K]` from the uniform distribution, a single number.
pub(crate) fn from_uniform(logits: Tensor<2>) -> Tensor<1> {
    (log_sum_exp(logits.clone()) - logits.mean_dim(1)).mean()
}

/// log Σ_c exp z_c of logits `[n, K]` → `[n, 1]`.
pub(crate) fn log_sum_exp(logits: Tensor<2>) -> Tensor<2> {
    let largest = logits.clone().detach().max_dim(1);
    (logits - largest.clone()).exp().sum_dim(1).log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// log(e¹ + e³) − 2 and log 2 − 0; large logits stay finite.
    #[test]
    fn by_hand() {
        let loss = number(&from_uniform(rows(&[&[1.0, 3.0], &[0.0, 0.0]])));
        let expected = f64::midpoint((1.0_f64.exp() + 3.0_f64.exp()).ln() - 2.0, 2.0_f64.ln());
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        let large = number(&from_uniform(rows(&[&[900.0, 900.0]])));
        assert!((large - 2.0_f64.ln()).abs() < 1e-4, "{large}");
    }

    #[test]
    fn gradients() {
        gradients_agree(rows(&[&[1.0, -0.5, 0.3], &[0.2, 2.0, -1.0]]), from_uniform);
        golden("outliers").agrees("oe", ["logits"], |[logits]| from_uniform(logits));
    }
}
