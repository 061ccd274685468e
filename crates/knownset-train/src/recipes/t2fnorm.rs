//! T2FNorm: embeddings of one length in training, of their own when scoring.
//!
//! Regmi et al., *T2FNorm: Train-time Feature Normalization for OOD Detection in Image Classification*, CVPR Workshops
//! 2024 (<https://arxiv.org/abs/2305.17797>). Loss: cross-entropy of W f / (τ ‖f‖) + b, τ = 0.1; afterwards the logits
//! are W f / τ + b, and those decide. The exported head is W / τ and b, so that any detector sees the scoring logits;
//! the part `t2fnorm.tau` says by what W was divided. No deviation.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};
use crate::tensors::{row, unit_rows};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "t2fnorm",
    title: "T2FNorm",
    year: 2023,
    paper: "https://arxiv.org/abs/2305.17797",
    loss: "-log p_y with z = W f / (tau |f|) + b",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "tau", doc: "τ, the temperature of the unit embedding, above 0" }],
    kind: classifier::<T2FNorm>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct T2FNorm {
    tau: f64,
}

impl Default for T2FNorm {
    fn default() -> Self {
        Self { tau: 0.1 }
    }
}

impl Recipe for T2FNorm {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.tau > 0.0 && self.tau.is_finite(), "tau", self.tau, "above 0")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    /// With the embedding's own length, as when scoring.
    fn logits(&self, network: &Network<NoParts>, embedding: Tensor<2>) -> Tensor<2> {
        network.trunk.classify(embedding / self.tau)
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let logits = network.trunk.classify(read(embedding, self.tau));
        let targets = batch.targets(&logits.device());
        Step::new(cross_entropy::loss(logits.clone(), targets), &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        if let Some(weight) = tensors.get_mut(&format!("{head}.weight")) {
            weight.values.iter_mut().for_each(|value| *value = (f64::from(*value) / self.tau) as f32);
        }
        tensors.insert("recipe.t2fnorm.tau".into(), row(vec![self.tau as f32]));
    }
}

/// What the linear layer reads in training: f / (τ ‖f‖).
fn read(embedding: Tensor<2>, tau: f64) -> Tensor<2> {
    unit_rows(embedding) / tau
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows, values};

    /// Logits in training of a linear layer of weight `w` and bias `b`.
    fn logits(f: &Tensor<2>, w: &Tensor<2>, b: &Tensor<2>, tau: f64) -> Tensor<2> {
        read(f.clone(), tau).matmul(w.clone().transpose()) + b.clone()
    }

    /// f = (3, 4) is read as (3, 4) / (0.2 · 5) = (3, 4); W is the identity and b = (1, 0), so the logits are equal.
    #[test]
    fn by_hand() {
        let (w, b) = (rows(&[&[1.0, 0.0], &[0.0, 1.0]]), rows(&[&[1.0, 0.0]]));
        for length in [1.0, 7.0] {
            let logits = logits(&rows(&[&[3.0 * length, 4.0 * length]]), &w, &b, 0.2);
            let loss = cross_entropy::loss(logits, labels(&[0]));
            assert!((number(&loss) - 2.0_f64.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn gradients() {
        let (w, b) = (rows(&[&[1.0, -0.5], &[0.3, 1.0]]), rows(&[&[0.1, 0.0]]));
        gradients_agree(rows(&[&[1.0, 0.4], &[0.5, 2.0]]), |f| {
            cross_entropy::loss(logits(&f, &w, &b, 0.5), labels(&[0, 1]))
        });
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let (f, w, b) = (golden.rows("f"), golden.rows("w"), golden.rows("b"));
        let loss = cross_entropy::loss(logits(&f, &w, &b, 0.1), golden.targets("labels"));
        golden.holds("t2fnorm", &loss, &[("f", f), ("w", w), ("b", b)]);
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe_when_scoring() {
        let tensors = export_keeps_the_choice(&T2FNorm::default());
        assert_eq!(tensors["recipe.t2fnorm.tau"], row(vec![0.1]));
    }

    /// A long bias decides when the embedding is short, and not when it is long: the two sets of logits differ.
    #[test]
    fn training_and_scoring_differ() {
        let (w, b) = (rows(&[&[1.0, 0.0], &[0.0, 1.0]]), rows(&[&[0.0, 2.0]]));
        let f = rows(&[&[5.0, 0.0]]);
        let training = values(&logits(&f, &w, &b, 1.0));
        let scoring = values(&(f.matmul(w.transpose()) + b));
        assert!(training[0] < training[1] && scoring[0] > scoring[1]);
    }
}
