//! CIDER: embeddings on the unit sphere, close to their class's prototype, prototypes far from one another.
//!
//! Ming et al., *How to Exploit Hyperspherical Embeddings for Out-of-Distribution Detection?*, ICLR 2023. A projection
//! of two layers maps f to unit vectors u of length 128. A class's prototype μ follows its pictures one after the
//! other, μ ← (m μ + (1 − m) u) / its length. Loss, over two views of every picture: the mean of log 1/(K − 1) Σ_{j ≠
//! i} exp(μ_i·μ_j / τ) over the classes, through the step's moves of μ, + w · the cross-entropy of u·μ / τ, μ held
//! still. τ is 0.1, m 0.95, w 2; views are those of contrastive learning (resized crop, flip, colour jitter, grey).
//! Detectors read f, as the paper does: k nearest neighbours of f on the unit sphere.
//!
//! Deviations: a linear head is trained beside it on f, whose gradient ends there, so that the exported backbone has
//! logits; the paper has no classifier. A prototype begins with its class's first picture instead of a pass over other
//! pictures, and does not count before. The authors' code, and OpenOOD after it, multiplies the second term by τ / 0.07,
//! 0.07 being a constant of the contrastive code it was taken from; the paper does not (w = 2.857 gives the same).

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::Rule;
use serde::{Deserialize, Serialize};

use super::oe::log_sum_exp;
use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::augment::Augment;
use crate::network::{Kept, Network, keep, kept};
use crate::recipe::{Batch, Moment, Recipe, Step, Views, constant};
use crate::tensors::unit_rows;
use crate::views::{self, ViewKind};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "cider",
    title: "CIDER",
    year: 2023,
    paper: "https://arxiv.org/abs/2203.04450",
    loss: "w · -log softmax(u·μ / τ)_y + log mean exp(μ_i·μ_j / τ), u = unit projection of f, μ prototypes",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "weight", doc: "w, weight of a picture's closeness to its prototype, at least 0" },
        ParamDoc { name: "temperature", doc: "τ, what cosines are divided by, above 0" },
        ParamDoc { name: "momentum", doc: "m, how much of a prototype stays, 0..1" },
        ParamDoc { name: "width", doc: "length of the projected vectors, at least 1" },
        views::PARAM,
    ],
    kind: classifier::<Cider>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cider {
    weight: f64,
    temperature: f64,
    momentum: f64,
    width: usize,
    views: ViewKind,
}

impl Default for Cider {
    fn default() -> Self {
        Self { weight: 2.0, temperature: 0.1, momentum: 0.95, width: 128, views: ViewKind::default() }
    }
}

/// The projection and the classes' prototypes.
#[derive(Module, Debug)]
pub(crate) struct Sphere {
    project: TwoLayers,
    prototypes: Kept<2>,
}

impl Recipe for Cider {
    type Parts = Sphere;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require(self.temperature > 0.0, "temperature", self.temperature, "above 0")?;
        require((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "at least 0 and below 1")?;
        require(self.width >= 1, "width", self.width as f64, "at least 1")
    }

    fn views(&self, standard: &Augment) -> Views {
        self.views.two(Augment::default(), standard)
    }

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Sphere {
        Sphere::new(width, self.width, classes, device)
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        if name == "recipe.prototypes" { constant(0.0) } else { Rule::ByShape }
    }

    fn step(&self, network: &mut Network<Sphere>, batch: &Batch, _: &Moment) -> Step {
        let labels = labels_of_views(batch);
        let embedding = network.embed(Tensor::cat(batch.views.clone(), 0));
        let (head, hits) = beside(&network.trunk.classify(embedding.clone().detach()), batch);
        let terms = network.parts.terms(embedding, &labels, self.temperature, self.momentum);
        Step { loss: terms.dispersion + terms.compactness * self.weight + head, hits }
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        tensors.retain(|name, _| !name.starts_with("recipe."));
    }
}

/// The labels of all views, one view after the other.
pub(crate) fn labels_of_views(batch: &Batch) -> Vec<usize> {
    batch.labels.repeat(batch.views.len())
}

/// The loss of the linear head, for logits of all views, and how many first views it tells right.
pub(crate) fn beside(logits: &Tensor<2>, batch: &Batch) -> (Tensor<1>, usize) {
    let first = logits.clone().narrow(0, 0, batch.len());
    let targets = batch.targets(&logits.device()).repeat_dim(0, batch.views.len());
    let loss = cross_entropy::loss(logits.clone(), targets);
    let hits = Step::new(loss.clone(), &first, &batch.labels).hits;
    (loss, hits)
}

/// Both terms of the loss.
pub(crate) struct Terms {
    pub(crate) compactness: Tensor<1>,
    pub(crate) dispersion: Tensor<1>,
}

impl Sphere {
    /// From embeddings of length `inner` to `outer`; prototypes are to be initialised with zeros.
    pub(crate) fn new(inner: usize, outer: usize, classes: usize, device: &Device) -> Self {
        let prototypes = Param::from_tensor(Tensor::zeros([classes, outer], device));
        Self { project: TwoLayers::new([inner, inner, outer], device), prototypes }
    }

    /// Moves the prototypes towards embeddings `[n, d]` of these classes, and what the loss says then.
    pub(crate) fn terms(&mut self, embedding: Tensor<2>, labels: &[usize], temperature: f64, momentum: f64) -> Terms {
        let units = unit_rows(self.project.forward(embedding));
        let prototypes = moved(kept(&self.prototypes), &units, labels, momentum);
        keep(&mut self.prototypes, prototypes.clone());
        Terms {
            compactness: compactness(units, prototypes.clone().detach(), labels, temperature),
            dispersion: dispersion(prototypes, temperature),
        }
    }
}

/// A linear layer, a rectifier and another linear layer.
#[derive(Module, Debug)]
pub(crate) struct TwoLayers {
    hidden: Linear,
    output: Linear,
}

impl TwoLayers {
    pub(crate) fn new([inputs, hidden, outputs]: [usize; 3], device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(inputs, hidden).init(device),
            output: LinearConfig::new(hidden, outputs).init(device),
        }
    }

    pub(crate) fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(rows)))
    }
}

/// Prototypes `[K, d]` after unit vectors `[n, d]` of these classes, each in its turn, with their gradient; a prototype
/// of zeros takes its first vector whole.
pub(crate) fn moved(prototypes: Tensor<2>, units: &Tensor<2>, labels: &[usize], momentum: f64) -> Tensor<2> {
    let (classes, device) = (prototypes.dims()[0], prototypes.device());
    let mut turns = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(place, &label)| turns[label].push(place));
    let rounds = turns.iter().map(Vec::len).max().unwrap_or(0);
    // Classes do not meet: a round moves every class that has another picture by its next one.
    (0..rounds).fold(prototypes, |prototypes, round| {
        let next = turns.iter().map(|turn| turn.get(round).copied());
        let places: Vec<i64> = next.clone().map(|place| place.unwrap_or(0) as i64).collect();
        let idle: Vec<bool> = next.map(|place| place.is_none()).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [classes]), &device);
        let idle = Tensor::<2, Bool>::from_data(TensorData::new(idle, [classes, 1]), &device);
        let towards = units.clone().select(0, places) * (1.0 - momentum);
        let idle = idle.expand(prototypes.dims());
        unit_rows(prototypes.clone() * momentum + towards).mask_where(idle, prototypes)
    })
}

/// A logit that never wins.
const NEVER: f64 = -1e9;

/// Mean cross-entropy of cosines `[n, d]` · `[K, d]`ᵀ over the temperature; prototypes of zeros are no class.
pub(crate) fn compactness(units: Tensor<2>, prototypes: Tensor<2>, labels: &[usize], temperature: f64) -> Tensor<1> {
    let targets: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [labels.len()]), &units.device());
    let cosines = units.matmul(prototypes.clone().transpose()) / temperature;
    let absent = begun(&prototypes).transpose().equal_elem(0.0).expand(cosines.dims());
    cross_entropy::loss(cosines.mask_fill(absent, NEVER), targets)
}

/// Mean over the prototypes `[K, d]` of log mean exp of their cosines to the others over the temperature; those of
/// zeros do not count, and less than two have nothing to say.
pub(crate) fn dispersion(prototypes: Tensor<2>, temperature: f64) -> Tensor<1> {
    let [classes, _] = prototypes.dims();
    let device = prototypes.device();
    let begun = begun(&prototypes);
    let count = begun.clone().sum().into_data().iter::<f64>().sum::<f64>();
    if count < 2.0 {
        return Tensor::zeros([1], &device);
    }
    let others = begun.clone().matmul(begun.clone().transpose()) * (Tensor::<2>::eye(classes, &device) * -1.0 + 1.0);
    let cosines = prototypes.clone().matmul(prototypes.transpose()) / temperature;
    let sums = log_sum_exp(cosines.mask_fill(others.equal_elem(0.0), NEVER));
    ((sums - (count - 1.0).ln()) * begun).sum() / count
}

/// `[K, 1]`: 1 for prototypes that have begun, 0 for those of zeros.
fn begun(prototypes: &Tensor<2>) -> Tensor<2> {
    prototypes.clone().detach().abs().sum_dim(1).greater_elem(0.0).float()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::values;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// m = 0.5: (1, 0) and then (0, 1) give (1, 1)/√2, and (0, 1) again (√2/2, 1 + √2/2) to its length.
    #[test]
    fn prototypes_move_in_turn() {
        let units = rows(&[&[1.0, 0.0], &[0.0, 1.0], &[0.0, -1.0], &[0.0, 1.0]]);
        let after = values(moved(rows(&[&[0.0, 0.0], &[0.0, 1.0], &[-1.0, 0.0]]), &units, &[0, 0, 2, 0], 0.5));
        let half = 0.5_f32.sqrt();
        let length = half.hypot(1.0 + half);
        let expected = [half / length, (1.0 + half) / length, 0.0, 1.0, -half, -half];
        assert!(after.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{after:?} {expected:?}");
    }

    /// Two prototypes at a right angle: log e⁰ = 0 of each other; a third without a picture changes nothing.
    #[test]
    fn terms_by_hand() {
        let right = rows(&[&[1.0, 0.0], &[0.0, 1.0], &[0.0, 0.0]]);
        assert!(number(&dispersion(right.clone(), 0.1)).abs() < 1e-5);
        let same = number(&dispersion(rows(&[&[1.0, 0.0], &[1.0, 0.0]]), 0.1));
        assert!((same - 10.0).abs() < 1e-5, "{same}");
        let three = number(&dispersion(rows(&[&[1.0, 0.0], &[0.0, 1.0], &[-1.0, 0.0]]), 0.5));
        let (side, middle) = (f64::midpoint(1.0, (-2.0_f64).exp()).ln(), 0.0);
        assert!((three - (2.0 * side + middle) / 3.0).abs() < 1e-5, "{three}");
        assert_eq!(number(&dispersion(rows(&[&[1.0, 0.0], &[0.0, 0.0]]), 0.1)), 0.0, "one prototype alone");
        assert!(number(&dispersion(rows(&[&[1.0, 0.0], &[1.0, 0.0]]), 1e-3)).is_finite());
        let loss = number(&compactness(rows(&[&[0.6, 0.8]]), right, &[1], 0.2));
        assert!((loss - (1.0 + (-1.0_f64).exp()).ln()).abs() < 1e-5, "{loss}: no third class");
    }

    #[test]
    fn gradients() {
        let before = || rows(&[&[0.8, 0.6], &[0.0, 0.0], &[-0.6, 0.8]]);
        let raw = || rows(&[&[1.0, -0.5], &[0.2, 2.0], &[-1.0, 0.3], &[0.4, 0.5]]);
        let labels = [0, 1, 0, 2];
        gradients_agree(raw(), |raw| dispersion(moved(before(), &unit_rows(raw), &labels, 0.5), 0.5));
        gradients_agree(raw(), |raw| {
            let prototypes = rows(&[&[0.8, 0.6], &[1.0, 0.0], &[-0.6, 0.8]]);
            compactness(unit_rows(raw), prototypes, &labels, 0.5)
        });
    }

    /// The whole loss as the authors' code and OpenOOD's have it, without its factor τ / 0.07.
    #[test]
    fn the_reference_agrees() {
        let golden = golden("outliers");
        let labels = golden.labels("cider.labels");
        golden.agrees("cider", ["features"], |[features]| {
            let units = unit_rows(features);
            let prototypes = moved(golden.tensor("cider.before"), &units, &labels, 0.95);
            let still = prototypes.clone().detach();
            assert!(near(&values(still.clone()), &values(golden.tensor::<2>("cider.after"))));
            compactness(units, still, &labels, 0.1) * 2.0 + dispersion(prototypes, 0.1)
        });
    }

    fn near(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn the_prototypes_are_kept_and_the_projection_learns() {
        let device = Device::flex().autodiff();
        let mut sphere = Sphere::new(2, 3, 2, &device);
        let embedding = rows(&[&[1.0, -0.5], &[0.2, 2.0], &[-1.0, 0.3]]).require_grad();
        let terms = sphere.terms(embedding.clone(), &[0, 1, 0], 0.1, 0.9);
        let kept = values(kept(&sphere.prototypes));
        assert!(kept.chunks(3).all(|row| (row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5), "{kept:?}");
        let gradients = terms.dispersion.backward();
        assert!(embedding.grad(&gradients).is_some() && sphere.project.output.weight.val().grad(&gradients).is_some());
        assert!(sphere.prototypes.val().grad(&gradients).is_none(), "no optimiser moves the prototypes");
    }
}
