//! FodFoM: fake outliers as one class more, and classes that keep together.
//!
//! Chen et al., *FodFoM: Fake Outlier Data by Foundation Models Creates Stronger Visual Out-of-Distribution Detector*,
//! ACM MM 2024. The network has K + 1 outputs; outliers, fakes and backgrounds alike, have the label K. Loss:
//! cross-entropy over two views of every picture + w · the supervised contrastive loss (Khosla et al. 2020,
//! <https://arxiv.org/abs/2004.11362>) of their projections z, unit vectors of a two-layer network:
//! (τ / τ₀) · mean_i −1 / |P(i)| Σ_{p ∈ P(i)} log(exp(z_i·z_p / τ) / Σ_{a ≠ i} exp(z_i·z_a / τ)), P(i) the other views of
//! the same label, so that outliers are pulled together too. τ is 0.1, τ₀ 0.07, w 1, z has 128 dimensions.
//!
//! Deviations: the number of outliers in a step is set by `ratio` (the authors' code shuffles all files together, so that
//! it follows from how many there are); accuracy is told among the K known classes. Traces that the making of outliers
//! leaves in them can be learnt in place of what they show: `side` is a control, known pictures and outliers lose the same
//! detail first; `sio+fodfom` with reconstructions of known pictures as the synthetic ones takes the traces' meaning away.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_core::parts::{OUTLIER_BIAS, OUTLIER_WEIGHT};
use knownset_nn::{HostTensor, RECIPE_PREFIX};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::augment::Augment;
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step, Views, targets};
use crate::tensors::unit_rows;
use crate::views::{self, ViewKind};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "fodfom",
    title: "FodFoM",
    year: 2024,
    paper: "https://arxiv.org/abs/2412.05293",
    loss: "-log p_y over K + 1 classes, the last for outliers, + w · supervised contrastive loss of two views",
    outliers: Outliers::Required,
    params: &[
        ParamDoc { name: "ratio", doc: "outliers for every picture, above 0" },
        ParamDoc { name: "contrast", doc: "w, weight of the contrastive loss; 0 leaves it out" },
        ParamDoc { name: "tau", doc: "τ, temperature of the contrastive loss, above 0" },
        views::PARAM,
        ParamDoc {
            name: "side",
            doc: "side that pictures and outliers are first scaled to and back, a control; 0 for none",
        },
    ],
    kind: classifier::<Fodfom>(),
};

/// τ₀ of the contrastive loss.
const BASE: f64 = 0.07;
/// Dimensions of a projection.
const PROJECTED: usize = 128;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fodfom {
    ratio: f64,
    contrast: f64,
    tau: f64,
    views: ViewKind,
    side: u32,
}

impl Default for Fodfom {
    fn default() -> Self {
        Self { ratio: 1.0, contrast: 1.0, tau: 0.1, views: ViewKind::Contrastive, side: 0 }
    }
}

/// The network of the contrastive loss: linear, normalisation, ReLU, linear.
#[derive(Module, Debug)]
pub(crate) struct Projection {
    first: Linear,
    norm: BatchNorm,
    second: Linear,
}

impl Projection {
    /// `[n, d]` → unit vectors `[n, 128]`.
    fn forward(&self, embedding: Tensor<2>) -> Tensor<2> {
        let hidden = self.norm.forward::<2>(self.first.forward(embedding));
        unit_rows(self.second.forward(relu(hidden)))
    }
}

impl Recipe for Fodfom {
    type Parts = Projection;

    fn check(&self) -> Result<(), ParamError> {
        require(self.ratio > 0.0, "ratio", self.ratio, "above 0")?;
        require(self.contrast >= 0.0, "contrast", self.contrast, "at least 0")?;
        require(self.tau > 0.0, "tau", self.tau, "above 0")?;
        require(self.side <= 1024, "side", self.side.into(), "at most 1024")
    }

    fn outputs(&self, classes: usize) -> usize {
        classes + 1
    }

    fn views(&self, standard: &Augment) -> Views {
        let once = match self.side {
            0 => Augment::default(),
            side => format!("resample:side={side}").parse().expect("checked parameters"),
        };
        self.views.two(once, standard)
    }

    fn outliers_per_picture(&self) -> f64 {
        self.ratio
    }

    fn parts(&self, width: usize, _: usize, device: &Device) -> Projection {
        Projection {
            first: LinearConfig::new(width, width).init(device),
            norm: BatchNormConfig::new(width).init(device),
            second: LinearConfig::new(width, PROJECTED).init(device),
        }
    }

    /// Of the known classes: a picture is none of the outliers.
    fn logits(&self, network: &Network<Projection>, embedding: Tensor<2>) -> Tensor<2> {
        known(network.trunk.classify(embedding))
    }

    fn step(&self, network: &mut Network<Projection>, batch: &Batch, _: &Moment) -> Step {
        // First views of pictures and outliers, then second views: the labels repeat.
        let views =
            batch.views.iter().zip(&batch.outliers).flat_map(|(known, outliers)| [known.clone(), outliers.clone()]);
        let embedding = network.embed(Tensor::cat(views.collect(), 0));
        let outliers = batch.outliers.first().map_or(0, |outliers| outliers.dims()[0]);
        let once = batch.labels.iter().copied().chain(std::iter::repeat_n(batch.classes, outliers));
        let labels: Vec<usize> = once.clone().chain(once).collect();
        let logits = network.trunk.classify(embedding.clone());
        let mut loss = cross_entropy::loss(logits.clone(), targets(&labels, &logits.device()));
        if self.contrast > 0.0 {
            loss = loss + contrast(network.parts.forward(embedding), &labels, self.tau) * self.contrast;
        }
        Step::new(loss, &known(logits.narrow(0, 0, batch.len())), &batch.labels)
    }

    /// The projection is of no use any more; the outliers' row of the linear layer moves beside the known classes'.
    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        tensors.retain(|name, _| !name.starts_with("recipe."));
        for (name, part) in [("weight", OUTLIER_WEIGHT), ("bias", OUTLIER_BIAS)] {
            let Some(layer) = tensors.get_mut(&format!("{head}.{name}")) else { continue };
            layer.shape[0] -= 1;
            let values = layer.values.split_off(layer.shape.iter().product());
            tensors.insert(format!("{RECIPE_PREFIX}{part}"), HostTensor { shape: vec![1, values.len()], values });
        }
    }
}

/// The logits `[n, K]` of the known classes, of `[n, K + 1]`.
fn known(logits: Tensor<2>) -> Tensor<2> {
    let classes = logits.dims()[1] - 1;
    logits.narrow(1, 0, classes)
}

/// The supervised contrastive loss of unit vectors `[n, k]` with labels, times τ / τ₀; vectors without another of their
/// label count as 0.
fn contrast(z: Tensor<2>, labels: &[usize], tau: f64) -> Tensor<1> {
    let n = labels.len();
    let device = z.device();
    let matrix = |value: &dyn Fn(usize, usize) -> f32| {
        let values: Vec<f32> = (0..n * n).map(|place| value(place / n, place % n)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [n, n]), &device)
    };
    let others = matrix(&|i, j| f32::from(u8::from(i != j)));
    let partners: Vec<usize> =
        labels.iter().map(|own| labels.iter().filter(|&label| label == own).count() - 1).collect();
    // 1 / |P(i)| at the others of the same label.
    let positive = matrix(&|i, j| if i != j && labels[i] == labels[j] { 1.0 / partners[i] as f32 } else { 0.0 });
    let cosines = z.clone().matmul(z.transpose()) / tau;
    let cosines = cosines.clone() - cosines.detach().max_dim(1);
    let all = (cosines.clone().exp() * others).sum_dim(1).log();
    let sum = ((cosines - all) * positive).sum();
    -sum * (tau / BASE / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// Vectors at right angles, two of each of two labels: each has cosine 1 with its partner and 0 with the two
    /// others, so the loss is log(e^{1/τ} + 2) − 1/τ, times τ / 0.07.
    #[test]
    fn by_hand() {
        let z = rows(&[&[1.0, 0.0], &[0.0, 1.0], &[1.0, 0.0], &[0.0, 1.0]]);
        for tau in [0.5_f64, 1.0] {
            let expected = ((1.0 / tau).exp() + 2.0).ln() - 1.0 / tau;
            let found = number(&contrast(z.clone(), &[0, 1, 0, 1], tau));
            assert!((found - expected * tau / 0.07).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn one_without_a_partner_counts_as_nothing() {
        let z = || rows(&[&[1.0, 0.0], &[0.6, 0.8], &[0.0, 1.0]]);
        let found = number(&contrast(z(), &[0, 0, 1], 1.0));
        // −(0.6 − log(e^0.6 + e^0)) and −(0.6 − log(e^0.6 + e^0.8)), over three.
        let (a, b) = (0.6_f64.exp(), 0.8_f64.exp());
        let expected = ((a + 1.0).ln() - 0.6 + (a + b).ln() - 0.6) / 3.0 / 0.07;
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }

    #[test]
    fn the_exported_head_knows_k_classes() {
        let tensor = |shape: &[usize], values: &[f32]| HostTensor { shape: shape.to_vec(), values: values.to_vec() };
        let mut tensors = BTreeMap::from([
            ("fc.weight".to_owned(), tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            ("fc.bias".to_owned(), tensor(&[3], &[0.1, 0.2, 0.3])),
            ("recipe.first.weight".to_owned(), tensor(&[1], &[0.0])),
        ]);
        Fodfom::default().export(&mut tensors, "fc");
        let expected = BTreeMap::from([
            ("fc.weight".to_owned(), tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
            ("fc.bias".to_owned(), tensor(&[2], &[0.1, 0.2])),
            ("recipe.outlier.weight".to_owned(), tensor(&[1, 2], &[5.0, 6.0])),
            ("recipe.outlier.bias".to_owned(), tensor(&[1, 1], &[0.3])),
        ]);
        assert_eq!(tensors, expected);
    }

    #[test]
    fn gradients() {
        let z = rows(&[&[0.8, 0.6], &[0.6, -0.8], &[-0.6, 0.8], &[0.0, 1.0], &[1.0, 0.0]]);
        gradients_agree(z, |z| contrast(z, &[0, 1, 0, 2, 1], 0.5));
        golden("mixes").agrees("fodfom", ["z"], |[z]| contrast(z, &[0, 1, 2, 2, 0, 1, 2, 2], 0.1));
    }
}
