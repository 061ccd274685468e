//! Logit normalisation: confidence may not grow with the length of the logits.
//!
//! Wei et al., *Mitigating Neural Network Overconfidence with Logit Normalization*, ICML 2022
//! (<https://arxiv.org/abs/2205.09310>). Loss: cross-entropy of z / (τ ‖z‖), τ = 0.04. The network is used as any
//! other afterwards: z itself, whose largest entry is at the same class. Deviation: where the authors add 1e-7 to ‖z‖,
//! which makes the gradient of logits of zero ten million times as long, a length below 1e-12 counts as 1.

use burn::tensor::{Device, Int, Tensor};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};
use crate::tensors::unit_rows;

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "logit-norm",
    title: "LogitNorm",
    year: 2022,
    paper: "https://arxiv.org/abs/2205.09310",
    loss: "-log p_y with p = softmax(z / (tau |z|))",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "tau", doc: "τ, the temperature of the unit logits, above 0" }],
    kind: classifier::<LogitNorm>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogitNorm {
    tau: f64,
}

impl Default for LogitNorm {
    fn default() -> Self {
        Self { tau: 0.04 }
    }
}

impl Recipe for LogitNorm {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.tau > 0.0 && self.tau.is_finite(), "tau", self.tau, "above 0")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let logits = network.trunk.classify(network.embed(batch.images()));
        let targets = batch.targets(&logits.device());
        Step::new(loss(logits.clone(), targets, self.tau), &logits, &batch.labels)
    }
}

/// The loss of logits `[n, K]` for labels `[n]`, a single number.
fn loss(logits: Tensor<2>, labels: Tensor<1, Int>, tau: f64) -> Tensor<1> {
    cross_entropy::loss(unit_rows(logits) / tau, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows, values};

    /// (3, 4) has length 5: with τ = 0.2 the logits are (3, 4), the loss at the first class is log(1 + e).
    #[test]
    fn by_hand_and_the_length_does_not_matter() {
        for length in [1.0, 100.0] {
            let loss = loss(rows(&[&[3.0 * length, 4.0 * length]]), labels(&[0]), 0.2);
            assert!((number(&loss) - 1.0_f64.exp().ln_1p()).abs() < 1e-5);
        }
    }

    #[test]
    fn gradients() {
        gradients_agree(rows(&[&[1.0, 2.0, -1.0], &[0.5, -1.0, 0.1]]), |z| loss(z, labels(&[0, 2]), 0.5));
    }

    /// p = (1/2, 1/2), and (p − onehot) / τ is all there is.
    #[test]
    fn logits_of_zero_have_a_gradient_of_usual_length() {
        let zeros = rows(&[&[0.0, 0.0]]).require_grad();
        let gradient = zeros.grad(&loss(zeros.clone(), labels(&[0]), 0.25).backward()).unwrap();
        assert_eq!(values(&gradient), [-2.0, 2.0]);
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let z = golden.rows("z");
        golden.holds("logit-norm", &loss(z.clone(), golden.targets("labels"), 0.04), &[("z", z)]);
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        export_keeps_the_choice(&LogitNorm::default());
    }
}
