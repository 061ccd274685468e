//! Adversarial reciprocal points: every class keeps away from a point that stands for all that it is not.
//!
//! Chen et al., *Adversarial Reciprocal Points Learning for Open Set Recognition*, TPAMI 2021
//! (<https://arxiv.org/abs/2103.00953>), without its confusing samples: no pictures are generated (the paper's ARPL, not
//! its ARPL+CS). Logits: z_c = ‖f − p_c‖² / d − f·p_c. Loss: cross-entropy of z / temp, plus `weight-pl` times the mean
//! of max(0, ‖f − p_y‖² / d − R + 1), as the authors' code has it: one radius R for all classes, beginning at 0, and a
//! margin of 1 that R absorbs. Points begin normal with deviation 0.1.
//!
//! The exported head has the weight −(2/d + 1) p_c and the bias ‖p_c‖² / d: what is left of z without ‖f‖² / d, which is
//! the same for every class. Softmax and choice are the recipe's; the authors' score, the largest z, is the largest
//! exported logit plus ‖f‖² / d.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::{Init, Rule};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step, constant};
use crate::tensors::take;

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "arpl",
    title: "ARPL",
    year: 2021,
    paper: "https://arxiv.org/abs/2103.00953",
    loss: "-log p_y + weight-pl max(0, |f - p_y|^2 / d - R + 1) with z_c = |f - p_c|^2 / d - f p_c",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "weight-pl", doc: "weight of the bound on the distance to the label's point, at least 0" },
        ParamDoc { name: "temp", doc: "what logits are divided by, above 0" },
    ],
    kind: classifier::<Arpl>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Arpl {
    weight_pl: f64,
    temp: f64,
}

impl Default for Arpl {
    fn default() -> Self {
        Self { weight_pl: 0.1, temp: 1.0 }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    /// `[K, d]`; the backbone's own linear layer is not used.
    points: Param<Tensor<2>>,
    /// R, `[1]`.
    radius: Param<Tensor<1>>,
}

impl Recipe for Arpl {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight_pl >= 0.0 && self.weight_pl.is_finite(), "weight-pl", self.weight_pl, "at least 0")?;
        require(self.temp > 0.0 && self.temp.is_finite(), "temp", self.temp, "above 0")
    }

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Parts {
        Parts {
            points: Param::from_tensor(Tensor::zeros([classes, width], device)),
            radius: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        match name {
            "recipe.points" => Rule::Set(Init::Normal(0.1)),
            "recipe.radius" => constant(0.0),
            _ => Rule::ByShape,
        }
    }

    fn logits(&self, network: &Network<Parts>, embedding: Tensor<2>) -> Tensor<2> {
        away(embedding, network.parts.points.val())
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, _: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let (points, radius) = (network.parts.points.val(), network.parts.radius.val());
        let logits = away(embedding.clone(), points.clone());
        let targets = batch.targets(&logits.device());
        let class = cross_entropy::loss(logits.clone() / self.temp, targets.clone());
        let loss = class + bound(embedding, points, radius, targets) * self.weight_pl;
        Step::new(loss, &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        let points = take(tensors, "recipe.points");
        take(tensors, "recipe.radius");
        let [classes, width] = [points.shape[0], points.shape[1]];
        let d = width as f64;
        let squares = |row: &[f32]| row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
        let bias = points.values.chunks_exact(width).map(|row| (squares(row) / d) as f32).collect();
        let weight = points.values.iter().map(|&value| (-(2.0 / d + 1.0) * f64::from(value)) as f32).collect();
        tensors.insert(format!("{head}.weight"), HostTensor { shape: points.shape, values: weight });
        tensors.insert(format!("{head}.bias"), HostTensor { shape: vec![classes], values: bias });
    }
}

/// z `[n, K]`: how far embeddings `[n, d]` are from points `[K, d]`.
fn away(embedding: Tensor<2>, points: Tensor<2>) -> Tensor<2> {
    let [_, width] = points.dims();
    let products = embedding.clone().matmul(points.clone().transpose());
    let squares = embedding.square().sum_dim(1) + points.square().sum_dim(1).transpose();
    (squares - products.clone() * 2.0) / width as f64 - products
}

/// The mean of max(0, ‖f − p_y‖² / d − R + 1).
fn bound(embedding: Tensor<2>, points: Tensor<2>, radius: Tensor<1>, labels: Tensor<1, Int>) -> Tensor<1> {
    let distances = (embedding - points.select(0, labels)).square().mean_dim(1);
    relu(distances - radius.unsqueeze() + 1.0).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows, values};

    /// f = (3, 1) and points (1, 1), (0, −1): distances 4/2 and 13/2, products 4 and −1.
    #[test]
    fn by_hand() {
        let (f, points) = (rows(&[&[3.0, 1.0]]), rows(&[&[1.0, 1.0], &[0.0, -1.0]]));
        assert_eq!(values(&away(f.clone(), points.clone())), [-2.0, 7.5]);
        for (label, radius, expected) in [(0, 0.5, 2.5), (1, 0.5, 7.0), (0, 3.5, 0.0)] {
            let radius = rows(&[&[radius]]).reshape([1]);
            assert_eq!(number(&bound(f.clone(), points.clone(), radius, labels(&[label]))), expected);
        }
    }

    fn total(f: Tensor<2>, points: Tensor<2>, radius: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let class = cross_entropy::loss(away(f.clone(), points.clone()), labels.clone());
        class + bound(f, points, radius.reshape([1]), labels) * 0.1
    }

    #[test]
    fn gradients() {
        let f = rows(&[&[1.0, 0.2, -0.5], &[0.3, 0.9, 0.4]]);
        let points = rows(&[&[0.5, -1.0, 0.2], &[1.0, 0.3, -0.4]]);
        let radius = rows(&[&[0.7]]);
        gradients_agree(f.clone(), |f| total(f, points.clone(), radius.clone(), labels(&[0, 1])));
        gradients_agree(points.clone(), |points| total(f.clone(), points, radius.clone(), labels(&[0, 1])));
        gradients_agree(radius.clone(), |radius| total(f.clone(), points.clone(), radius, labels(&[0, 1])));
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let [f, w, radius] = ["f", "w", "radius"].map(|name| golden.rows(name));
        let loss = total(f.clone(), w.clone(), radius.clone(), golden.targets("labels"));
        golden.holds("arpl", &loss, &[("f", f), ("w", w), ("radius", radius)]);
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        let tensors = export_keeps_the_choice(&Arpl::default());
        assert!(tensors.keys().all(|name| !name.starts_with("recipe.")));
    }
}
