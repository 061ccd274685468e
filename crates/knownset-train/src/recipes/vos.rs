//! VOS: outliers drawn where the classes' Gaussians are thin, told from known pictures by a weighted energy.
//!
//! Du et al., *VOS: Learning What You Don't Know by Virtual Outlier Synthesis*, ICLR 2022. Each class has a Gaussian
//! over its latest `queue` embeddings, with a covariance that all share plus 10⁻⁴ on its diagonal. Of `samples` draws
//! from it the `select` of the lowest density are outliers. Loss: cross-entropy + β · cross-entropy of a logistic layer
//! that reads E = log Σ_c max(0, w_c) exp z_c and tells pictures from outliers; w and the layer are learned. β is 0.1,
//! and the term begins after 40 % of the epochs, as in the paper.
//!
//! The density of a draw falls with its Mahalanobis distance r, and r² of a Gaussian has the χ² distribution with d
//! degrees, whatever the direction: `samples` values of r² are drawn and only those that are kept get a direction.
//!
//! Deviations: w begins at 1, where E is the energy, instead of at random between 0 and 1. Queues need not be full:
//! otherwise classes of less than `queue` pictures might never be learned from. OpenOOD draws w anew in every step and
//! cuts E from its gradient, so that its term teaches nothing; here, as in the authors' code, it does.
//!
//! Exported are `recipe.energy.weight` `[1, K]`, w, and `recipe.energy.logistic` `[1, 2]`, slope and offset of the
//! log-odds that E is a known picture's.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use knownset_core::linalg::{cholesky, project};
use knownset_core::moments::Moments;
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::Rule;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::queue::{Queue, tensor};
use crate::recipe::{Batch, Moment, Recipe, Step, constant};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "vos",
    title: "VOS",
    year: 2022,
    paper: "https://arxiv.org/abs/2202.01197",
    loss: "-log p_y + β logistic loss of E = log Σ max(0, w) exp z at pictures and at draws of low density",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "weight", doc: "β, weight of the logistic loss, at least 0" },
        ParamDoc { name: "start", doc: "share of the epochs without outliers, 0..1" },
        ParamDoc { name: "queue", doc: "embeddings a class's Gaussian is of, at least 1" },
        ParamDoc { name: "samples", doc: "draws from each class's Gaussian in a step, at least 1" },
        ParamDoc { name: "select", doc: "draws of the lowest density that are kept, at most samples" },
    ],
    kind: classifier::<Vos>(),
};

/// What is added to the covariance's diagonal.
const RIDGE: f64 = 1e-4;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Vos {
    weight: f64,
    start: f64,
    queue: usize,
    samples: usize,
    select: usize,
}

impl Default for Vos {
    fn default() -> Self {
        Self { weight: 0.1, start: 0.4, queue: 1000, samples: 10_000, select: 1 }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    /// w.
    energy: Linear,
    /// Logits of being an outlier and of being known.
    logistic: Linear,
    queue: Queue,
}

impl Recipe for Vos {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require((0.0..=1.0).contains(&self.start), "start", self.start, "between 0 and 1")?;
        require(self.queue >= 1, "queue", self.queue as f64, "at least 1")?;
        require(self.samples >= 1, "samples", self.samples as f64, "at least 1")?;
        let select = (1..=self.samples).contains(&self.select);
        require(select, "select", self.select as f64, "between 1 and samples")
    }

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Parts {
        Parts {
            energy: LinearConfig::new(classes, 1).with_bias(false).init(device),
            logistic: LinearConfig::new(1, 2).init(device),
            queue: Queue::new([classes, self.queue, width], device),
        }
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        match name {
            "recipe.energy.weight" => constant(1.0),
            name if name.starts_with("recipe.queue.") => constant(0.0),
            _ => Rule::ByShape,
        }
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, moment: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let logits = network.trunk.classify(embedding.clone());
        let loss = cross_entropy::loss(logits.clone(), batch.targets(&logits.device()));
        network.parts.queue.push(&embedding, &batch.labels);
        if !moment.past(self.start) {
            return Step::new(loss, &logits, &batch.labels);
        }
        let outliers = self.outliers(&network.parts.queue.classes(), &mut moment.random());
        let outliers = network.trunk.classify(tensor(outliers, &logits.device()));
        let uncertainty = uncertainty(logits.clone(), outliers, &network.parts.energy, &network.parts.logistic);
        Step::new(loss + uncertainty * self.weight, &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        tensors.retain(|name, _| !name.starts_with("recipe.queue."));
        let mut difference = |name| match tensors.remove(name).map(|tensor| tensor.values).as_deref() {
            Some(&[outlier, known]) => known - outlier,
            _ => 0.0,
        };
        let values = vec![difference("recipe.logistic.weight"), difference("recipe.logistic.bias")];
        tensors.insert("recipe.energy.logistic".to_owned(), HostTensor { shape: vec![1, 2], values });
    }
}

impl Vos {
    /// `[m, d]`: of `samples` draws from the Gaussian of each class `[n_c, d]`, the `select` of the lowest density.
    fn outliers(&self, classes: &[Array2<f32>], rng: &mut ChaCha8Rng) -> Array2<f32> {
        let views: Vec<ArrayView2<'_, f32>> = classes.iter().map(|rows| rows.view()).collect();
        let rows = concatenate(Axis(0), &views).expect("rows of the network's width");
        let counts = classes.iter().map(Array2::nrows).enumerate();
        let labels: Array1<i64> = counts.flat_map(|(label, count)| repeat_n(label as i64, count)).collect();
        let moments = Moments::of(rows.view(), labels.view(), classes.len());
        let mut covariance = moments.within_class_covariance();
        covariance.diag_mut().mapv_inplace(|value| value + RIDGE);
        // What is no covariance comes from embeddings that are no numbers; they make the loss none, and the run stops.
        let root = cholesky(&covariance).unwrap_or_else(|| Array2::from_elem(covariance.dim(), f64::NAN));
        let d = rows.ncols();
        let mut outliers = Array2::zeros((0, d));
        for (mean, _) in moments.class_means.outer_iter().zip(moments.class_counts).filter(|(_, count)| *count > 0) {
            let distances = farthest(d, self.samples, self.select, rng);
            let mut draws = Array2::from_shape_simple_fn((distances.len(), d), || StandardNormal.sample(rng));
            for (mut draw, distance) in draws.outer_iter_mut().zip(distances) {
                let length: f64 = draw.dot(&draw);
                draw *= distance / length.sqrt();
            }
            let draws = (project(draws.view(), root.t()) + mean).mapv(|value| value as f32);
            outliers.append(Axis(0), draws.view()).expect("rows of the network's width");
        }
        outliers
    }
}

/// The `select` longest of `samples` draws from a standard Gaussian of dimension `d`, as lengths.
fn farthest(d: usize, samples: usize, select: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let Ok(squares) = ChiSquared::new(d as f64) else { return Vec::new() };
    let mut squares: Vec<f64> = squares.sample_iter(rng).take(samples).collect();
    if select < samples {
        squares.select_nth_unstable_by(select, |a: &f64, b| b.total_cmp(a));
        squares.truncate(select);
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// Cross-entropy of telling logits `[n, K]` of known pictures from `[m, K]` of outliers by their weighted energy.
pub(crate) fn uncertainty(known: Tensor<2>, outliers: Tensor<2>, energy: &Linear, logistic: &Linear) -> Tensor<1> {
    let (n, m, device) = (known.dims()[0], outliers.dims()[0], known.device());
    let energies = weighted_energy(Tensor::cat(vec![known, outliers], 0), energy.weight.val().transpose());
    let labels = Tensor::<1, Int>::cat(vec![Tensor::ones([n], &device), Tensor::zeros([m], &device)], 0);
    cross_entropy::loss(logistic.forward(energies), labels)
}

/// log Σ_c max(0, w_c) exp z_c of logits `[n, K]` for w `[1, K]` → `[n, 1]`.
pub(crate) fn weighted_energy(logits: Tensor<2>, weights: Tensor<2>) -> Tensor<2> {
    /// Below every sum that has a positive weight near the largest logit; the logarithm of 0 is no number.
    const LEAST: f64 = 1e-30;
    let largest = logits.clone().detach().max_dim(1);
    let sums = ((logits - largest.clone()).exp() * relu(weights)).sum_dim(1);
    sums.clamp_min(LEAST).log() + largest
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use ndarray::array;

    use super::*;
    use crate::augment::stream;
    use crate::testing::{convolution_gradients, golden, gradients_agree, number, rows, step};

    /// Weights `[1, K]` as burn keeps a layer, `[K, 1]`.
    fn layer(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Linear {
        let mut layer = LinearConfig::new(1, 1).with_bias(bias.is_some()).init(&weight.device());
        layer.weight = Param::from_tensor(weight.transpose());
        layer.bias = bias.map(Param::from_tensor);
        layer
    }

    #[test]
    fn the_weighted_energy_by_hand() {
        let weights = || rows(&[&[2.0, -1.0, 0.5]]);
        let energy = number(&weighted_energy(rows(&[&[1.0, 9.0, 3.0]]), weights()).sum());
        let expected = (2.0 * 1.0_f64.exp() + 0.5 * 3.0_f64.exp()).ln();
        assert!((energy - expected).abs() < 1e-5, "{energy} {expected}: a negative weight counts for nothing");
        let plain = number(&weighted_energy(rows(&[&[900.0, 900.0]]), rows(&[&[1.0, 1.0]])).sum());
        assert!((plain - 900.0 - 2.0_f64.ln()).abs() < 1e-3, "{plain}");
        let none = number(&weighted_energy(rows(&[&[0.0, 0.0]]), rows(&[&[-1.0, 0.0]])).sum());
        assert!(none.is_finite() && none < -60.0, "{none}");
    }

    /// E = log 4 of a known picture and log 2 of an outlier; the layer's logits are (0, E).
    #[test]
    fn the_logistic_loss_by_hand() {
        let energy = layer(rows(&[&[1.0, 1.0]]), None);
        let bias = Tensor::zeros([2], &Device::flex().autodiff());
        let logistic = layer(rows(&[&[0.0], &[1.0]]), Some(bias));
        let log2 = 2.0_f32.ln();
        let loss = number(&uncertainty(rows(&[&[log2, log2]]), rows(&[&[0.0, 0.0]]), &energy, &logistic));
        let expected = f64::midpoint((5.0_f64 / 4.0).ln(), 3.0_f64.ln());
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
    }

    /// OpenOOD's term has no gradient at all: w is drawn anew in every step, and E is cut off.
    #[test]
    fn every_part_learns() {
        let device = Device::flex().autodiff();
        let bias = || Some(Tensor::from_floats([0.2, -0.1], &device));
        let known = || rows(&[&[1.0, -0.5, 0.3], &[0.2, 2.0, -1.0]]);
        let outliers = || rows(&[&[0.5, 0.1, -1.4]]);
        let (w, slope) = (|| rows(&[&[1.0, 0.4, 0.7]]), || rows(&[&[0.3], &[-0.6]]));
        let (energy, logistic) = (|| layer(w(), None), || layer(slope(), bias()));
        gradients_agree(known(), |known| uncertainty(known, outliers(), &energy(), &logistic()));
        gradients_agree(outliers(), |outliers| uncertainty(known(), outliers, &energy(), &logistic()));
        let own = energy();
        let loss = uncertainty(known(), outliers(), &own, &logistic());
        let gradient = own.weight.val().grad(&loss.backward()).expect("w learns");
        assert!(gradient.abs().max().into_data().iter::<f32>().all(|largest| largest > 1e-3));
        gradients_agree(w(), |w| {
            let energies = weighted_energy(known(), w);
            cross_entropy::loss(logistic().forward(energies), Tensor::from_ints([1, 0], &device))
        });
        golden("outliers").agrees(
            "vos",
            ["known", "outliers", "weights", "slope", "offset"],
            |[known, outliers, weights, slope, offset]| {
                let energies = weighted_energy(Tensor::cat(vec![known, outliers], 0), weights);
                let labels = Tensor::<1, Int>::from_ints([1, 1, 1, 1, 0, 0, 0], &energies.device());
                cross_entropy::loss(energies.matmul(slope) + offset, labels)
            },
        );
    }

    /// A step's gradient that reaches the embedding is that of cross-entropy plus β times that of the logistic loss,
    /// once that has begun; a term that is cut off would leave it as it is.
    #[test]
    fn the_logistic_loss_teaches_the_network() {
        let gradients = |weight, start| {
            let (network, step) = step(&Vos { weight, start, queue: 5, samples: 20, ..Vos::default() });
            convolution_gradients(&network, &step)
        };
        let (plain, slight, whole) = (gradients(0.0, 0.0), gradients(100.0, 0.0), gradients(1000.0, 0.0));
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let difference = |of: &[f64]| of.iter().zip(&plain).map(|(a, b)| a - b).collect::<Vec<_>>();
        let (slight, whole) = (difference(&slight), difference(&whole));
        assert!(largest(&whole) > 0.01 * largest(&plain), "{} of {}", largest(&whole), largest(&plain));
        for (slight, whole) in slight.iter().zip(&whole) {
            assert!((10.0 * slight - whole).abs() < 0.01 * largest(&plain), "{slight} {whole}");
        }
        assert_eq!(gradients(1.0, 1.0), gradients(0.0, 1.0), "it has not begun");
    }

    /// Two classes about (0, 0) and (100, 0), both with the variances 4 and 1: kept draws have lengths whose square is
    /// the largest of 1000 χ² values of two degrees, whose mean is 2 Σ 1/i ≈ 14.97.
    #[test]
    fn outliers_lie_far_out_in_every_direction_of_their_class() {
        const DRAWS: usize = 400;
        let class = |x: f32| array![[x + 2.0, 1.0], [x + 2.0, -1.0], [x - 2.0, 1.0], [x - 2.0, -1.0]];
        let vos = Vos { samples: 1000, select: 1, ..Vos::default() };
        let (mut squares, mut right) = (0.0, 0);
        for draw in 0..DRAWS {
            let outliers = vos.outliers(&[class(0.0), Array2::zeros((0, 2)), class(100.0)], &mut stream(2, 0, draw));
            assert_eq!(outliers.dim(), (2, 2), "a class without rows has none");
            for (outlier, centre) in outliers.outer_iter().zip([0.0, 100.0]) {
                let (x, y) = (f64::from(outlier[0]) - centre, f64::from(outlier[1]));
                squares += x * x / 4.0 + y * y;
                right += usize::from(x > 0.0);
            }
        }
        let mean = squares / (2 * DRAWS) as f64;
        let expected = 2.0 * (1..=1000).map(|i| 1.0 / f64::from(i)).sum::<f64>();
        assert!((mean - expected).abs() < 0.4, "{mean} {expected}");
        assert!((350..450).contains(&right), "{right} of {} to the right", 2 * DRAWS);
    }

    /// The lengths are distributed as those of whole draws: the mean of the largest of 50 in five dimensions.
    #[test]
    fn lengths_are_those_of_whole_draws() {
        const DRAWS: usize = 2000;
        let longest = |draw| farthest(5, 50, 2, &mut stream(3, 0, draw)).into_iter().fold(0.0, f64::max);
        let ours = (0..DRAWS).map(longest).sum::<f64>() / DRAWS as f64;
        let whole = |draw| {
            let rng = &mut stream(4, 0, draw);
            let length = |_| (0..5).map(|_| StandardNormal.sample(rng)).map(|x: f64| x * x).sum::<f64>().sqrt();
            (0..50).map(length).fold(0.0, f64::max)
        };
        let whole = (0..DRAWS).map(whole).sum::<f64>() / DRAWS as f64;
        assert!((ours - whole).abs() < 0.05, "{ours} {whole}");
        assert_eq!(farthest(5, 50, 7, &mut stream(3, 0, 0)).len(), 7);
    }

    #[test]
    fn what_is_exported() {
        let tensor = |shape: &[usize], values: &[f32]| HostTensor { shape: shape.to_vec(), values: values.to_vec() };
        let mut tensors = BTreeMap::from([
            ("recipe.energy.weight".to_owned(), tensor(&[1, 2], &[1.0, 3.0])),
            ("recipe.logistic.weight".to_owned(), tensor(&[2, 1], &[1.0, 3.5])),
            ("recipe.logistic.bias".to_owned(), tensor(&[2], &[0.5, 0.25])),
            ("recipe.queue.rows".to_owned(), tensor(&[2, 1, 1], &[0.0, 0.0])),
            ("recipe.queue.had".to_owned(), tensor(&[2], &[0.0, 0.0])),
        ]);
        Vos::default().export(&mut tensors, "fc");
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["recipe.energy.logistic", "recipe.energy.weight"]);
        assert_eq!(tensors["recipe.energy.logistic"], tensor(&[1, 2], &[2.5, -0.25]));
    }
}
