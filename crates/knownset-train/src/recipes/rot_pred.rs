//! Rotation prediction: the network also tells by how much a picture was turned.
//!
//! Hendrycks et al., *Using Self-Supervised Learning Can Improve Model Robustness and Uncertainty*, NeurIPS 2019
//! (<https://arxiv.org/abs/1906.12340>), in OpenOOD's form. Loss: cross-entropy of the classes on the pictures as they
//! are, plus `weight` times that of four turns on the pictures turned counter-clockwise by 0, 90, 180 and 270 degrees;
//! all 4 n pass the network at once. Exported parts: `rotation.weight` `[4, d]`, `rotation.bias` `[1, 4]`.
//!
//! Deviation from the paper: there are no translations, and `weight` is 1 as in OpenOOD.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step};
use crate::tensors::{row, take};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "rot-pred",
    title: "Rotation prediction",
    year: 2019,
    paper: "https://arxiv.org/abs/1906.12340",
    loss: "-log p_y - weight log q_r, q the softmax of v f for the picture turned r times by 90 degrees",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "weight", doc: "weight of the turns, at least 0" }],
    kind: classifier::<RotPred>(),
};

/// Turns by a quarter, none among them.
const TURNS: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RotPred {
    weight: f64,
}

impl Default for RotPred {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    rotation: Linear,
}

impl Recipe for RotPred {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0 && self.weight.is_finite(), "weight", self.weight, "at least 0")
    }

    fn parts(&self, width: usize, _: usize, device: &Device) -> Parts {
        Parts { rotation: LinearConfig::new(width, TURNS).init(device) }
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, _: &Moment) -> Step {
        let embedding = network.embed(turned(batch.images()));
        let rotations = network.parts.rotation.forward(embedding.clone());
        let logits = network.trunk.classify(embedding.narrow(0, 0, batch.len()));
        let targets = batch.targets(&logits.device());
        Step::new(loss(logits.clone(), rotations, targets, self.weight), &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        let bias = take(tensors, "recipe.rotation.bias");
        tensors.insert("recipe.rotation.bias".into(), row(bias.values));
    }
}

/// `[n, 3, side, side]` → `[4 n, 3, side, side]`: all as they are, then all turned by 90 degrees, and so on.
fn turned(images: Tensor<4>) -> Tensor<4> {
    let across = images.clone().swap_dims(2, 3);
    let (quarter, three_quarters) = (across.clone().flip([2]), across.flip([3]));
    let half = images.clone().flip([2, 3]);
    Tensor::cat(vec![images, quarter, half, three_quarters], 0)
}

/// The loss of logits `[n, K]` for labels `[n]` and of rotation logits `[4 n, 4]` in the order of [`turned`].
fn loss(logits: Tensor<2>, rotations: Tensor<2>, labels: Tensor<1, Int>, weight: f64) -> Tensor<1> {
    let [all, turns] = rotations.dims();
    let truth: Vec<i64> = (0..all).map(|place| (place / (all / turns).max(1)) as i64).collect();
    let truth = Tensor::from_data(TensorData::new(truth, [all]), &rotations.device());
    cross_entropy::loss(logits, labels) + cross_entropy::loss(rotations, truth) * weight
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows};

    /// As PyTorch's and NumPy's `rot90`.
    #[test]
    fn turns_are_counter_clockwise() {
        let image = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &Device::flex());
        let turned: Vec<f32> = turned(image).into_data().iter::<f32>().collect();
        assert_eq!(
            turned,
            [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 1.0, 3.0], [4.0, 3.0, 2.0, 1.0], [3.0, 1.0, 4.0, 2.0]].concat()
        );
    }

    /// Two classes undecided and one picture whose turns are all thought to be half turns: log 2 + w (log(3 + e) −
    /// 1/4).
    #[test]
    fn by_hand() {
        let half: &[f32] = &[0.0, 0.0, 1.0, 0.0];
        let loss = loss(rows(&[&[0.0, 0.0]]), rows(&[half; 4]), labels(&[1]), 0.5);
        let expected = 2.0_f64.ln() + 0.5 * ((3.0 + 1.0_f64.exp()).ln() - 0.25);
        assert!((number(&loss) - expected).abs() < 1e-6);
    }

    #[test]
    fn gradients() {
        let z = rows(&[&[1.0, 2.0], &[0.5, -1.0]]);
        let turns: Vec<Vec<f32>> =
            (0..8).map(|i| (0..4).map(|j| ((i * 3 + j * 5) % 7) as f32 / 3.0).collect()).collect();
        let turns = rows(&turns.iter().map(Vec::as_slice).collect::<Vec<_>>());
        gradients_agree(z.clone(), |z| loss(z, turns.clone(), labels(&[0, 1]), 0.7));
        gradients_agree(turns.clone(), |turns| loss(z.clone(), turns, labels(&[0, 1]), 0.7));
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let (z, turns) = (golden.rows("z"), golden.rows("turns"));
        let loss = loss(z.clone(), turns.clone(), golden.targets("labels"), 1.0);
        golden.holds("rot-pred", &loss, &[("z", z), ("turns", turns)]);
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        let tensors = export_keeps_the_choice(&RotPred::default());
        assert_eq!(tensors["recipe.rotation.bias"].shape, [1, 4]);
        assert_eq!(tensors["recipe.rotation.weight"].shape[0], 4);
    }
}
