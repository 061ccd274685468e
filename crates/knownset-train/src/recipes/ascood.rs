//! ASCOOD: outliers are known pictures whose decisive pixels are destroyed.
//!
//! Regmi, *Image-based Outlier Synthesis With Training Data* (first *Going Beyond Conventional OOD Detection*), 2024. g
//! is the gradient of the logit of a picture's class with respect to the picture, the network in evaluation mode.
//! `gradient` adds α g at the share p of values with the largest |g|; `shuffle` permutes the share p of pixels with the
//! largest Σ exp g over the channels. These are the pixels the paper calls invariant: what stays is the spurious rest.
//! Logits are W ẑ, ẑ = σ (f − mean f) / deviation of f, over the values of one embedding. Loss: cross-entropy of the
//! pictures + w · KL(uniform ‖ softmax) of the outliers, both in one pass. w is 1, p 0.1, α 10, σ 0.5, as in the
//! authors' settings; their CIFAR runs use `shuffle`, p 0.15 for CIFAR-10 and w 5 for CIFAR-100.
//!
//! Deviations: the linear layer has no bias. Its rows less their means, times σ over the mean deviation s̄ of the run's
//! embeddings, are the exported head: it reads f itself, decides as the trained layer does, and its logits are the
//! trained ones times (deviation of f) / s̄. The authors' option of a smaller rate for the last layer, off by default,
//! is left out.
//!
//! Exported is `recipe.ascood.deviation` `[1, 1]`, s̄.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::Rule;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::oe::from_uniform;
use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Kept, Network, keep, kept};
use crate::queue::values;
use crate::recipe::{Batch, Moment, Recipe, Step, constant};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "ascood",
    title: "ASCOOD",
    year: 2024,
    paper: "https://arxiv.org/abs/2411.10794",
    loss: "-log p_y + w KL(uniform || p'), x' = x with its decisive pixels destroyed, z = W standardised f",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "mode", doc: "gradient or shuffle, how pixels are destroyed" },
        ParamDoc { name: "weight", doc: "w, weight of the outliers' loss, at least 0" },
        ParamDoc { name: "share", doc: "p, share of the pixels that are destroyed, above 0 and at most 1" },
        ParamDoc { name: "alpha", doc: "α, what mode gradient multiplies the gradient by" },
        ParamDoc { name: "sigma", doc: "σ, deviation of a standardised embedding, above 0" },
    ],
    kind: classifier::<Ascood>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Ascood {
    mode: Mode,
    weight: f64,
    share: f64,
    alpha: f64,
    sigma: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Gradient,
    Shuffle,
}

impl Default for Ascood {
    fn default() -> Self {
        Self { mode: Mode::Gradient, weight: 1.0, share: 0.1, alpha: 10.0, sigma: 0.5 }
    }
}

/// Added to an embedding's deviation before division.
const EPSILON: f64 = 1e-6;
/// How much a step's mean deviation counts in the running one.
const RECENT: f64 = 0.1;

#[derive(Module, Debug)]
pub(crate) struct Spread {
    /// `[1]` running mean s̄ of the embeddings' deviation; 0 before the first step.
    deviation: Kept<1>,
}

impl Recipe for Ascood {
    type Parts = Spread;

    fn check(&self) -> Result<(), ParamError> {
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require(self.share > 0.0 && self.share <= 1.0, "share", self.share, "above 0 and at most 1")?;
        require(self.alpha.is_finite(), "alpha", self.alpha, "a number")?;
        require(self.sigma > 0.0, "sigma", self.sigma, "above 0")
    }

    fn parts(&self, _: usize, _: usize, device: &Device) -> Spread {
        Spread { deviation: Param::from_tensor(Tensor::zeros([1], device)) }
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        if name == "recipe.deviation" { constant(0.0) } else { Rule::ByShape }
    }

    fn logits(&self, network: &Network<Spread>, embedding: Tensor<2>) -> Tensor<2> {
        let (weight, _) = network.trunk.head();
        (standardised(embedding) * self.sigma).matmul(weight.transpose())
    }

    fn step(&self, network: &mut Network<Spread>, batch: &Batch, moment: &Moment) -> Step {
        let (images, n) = (batch.images(), batch.len());
        let device = images.device();
        let targets = batch.targets(&device);
        let gradient = self.gradient(network, images.clone(), targets.clone());
        let outliers = self.outliers(images.clone(), gradient, &mut moment.random());
        let embedding = network.embed(Tensor::cat(vec![images, outliers], 0));
        network.parts.follow(&embedding.clone().narrow(0, 0, n));
        let logits = self.logits(network, embedding);
        let (known, outliers) = (logits.clone().narrow(0, 0, n), logits.narrow(0, n, n));
        // Cross-entropy from the uniform distribution less its entropy.
        let divergence = from_uniform(outliers) - (batch.classes as f64).ln();
        let loss = cross_entropy::loss(known.clone(), targets) + divergence * self.weight;
        Step::new(loss, &known, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        let Some(deviation) = tensors.remove("recipe.deviation") else { return };
        let spread = deviation.values.first().map_or(0.0, |&spread| f64::from(spread)) + EPSILON;
        if let Some(weight) = tensors.get_mut(&format!("{head}.weight")) {
            let width = weight.shape.last().copied().unwrap_or(1).max(1);
            for row in weight.values.chunks_mut(width) {
                let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / width as f64;
                for value in row {
                    *value = ((f64::from(*value) - mean) * self.sigma / spread) as f32;
                }
            }
        }
        if let Some(bias) = tensors.get_mut(&format!("{head}.bias")) {
            bias.values.fill(0.0);
        }
        let deviation = HostTensor { shape: vec![1, 1], values: deviation.values };
        tensors.insert("recipe.ascood.deviation".to_owned(), deviation);
    }
}

impl Spread {
    /// Takes in the mean deviation of a step's embeddings `[n, d]`.
    fn follow(&mut self, embedding: &Tensor<2>) {
        let now = embedding.clone().detach().var(1).sqrt().mean();
        let before = kept(&self.deviation);
        let begun = before.clone().into_data().iter::<f32>().any(|value| value > 0.0);
        let after = if begun { before * (1.0 - RECENT) + now * RECENT } else { now };
        keep(&mut self.deviation, after);
    }
}

impl Ascood {
    /// Gradient of the labels' logits with respect to the pictures, of a copy of the network in evaluation mode.
    fn gradient(&self, network: &Network<Spread>, images: Tensor<4>, targets: Tensor<1, Int>) -> Tensor<4> {
        let still = network.valid().train().freeze();
        let images = images.detach().require_grad();
        let logits = self.logits(&still, still.embed(images.clone()));
        let gradients = logits.gather(1, targets.unsqueeze_dim(1)).sum().backward();
        images.grad(&gradients).expect("logits depend on the pictures")
    }

    /// The pictures `[n, c, h, w]` with the pixels destroyed that the gradient says are decisive.
    fn outliers(&self, images: Tensor<4>, gradient: Tensor<4>, rng: &mut ChaCha8Rng) -> Tensor<4> {
        let (shape, device) = (images.dims(), images.device());
        let [_, _, height, width] = shape;
        let size = shape[1..].iter().product();
        let (mut images, gradient) = (values(images), values(gradient));
        for (picture, gradient) in images.chunks_exact_mut(size).zip(gradient.chunks_exact(size)) {
            match self.mode {
                Mode::Gradient => push(picture, gradient, self.share, self.alpha as f32),
                Mode::Shuffle => shuffle(picture, gradient, height * width, self.share, rng),
            }
        }
        Tensor::from_data(TensorData::new(images, shape), &device)
    }
}

/// Adds `alpha` times the gradient at the share of values with the largest absolute gradient.
fn push(picture: &mut [f32], gradient: &[f32], share: f64, alpha: f32) {
    let sizes: Vec<f64> = gradient.iter().map(|&value| f64::from(value.abs())).collect();
    for place in largest(&sizes, share) {
        picture[place] += alpha * gradient[place];
    }
}

/// Permutes the share of pixels, of planes of `plane` values, with the largest sum of exp(gradient) over the channels.
fn shuffle(picture: &mut [f32], gradient: &[f32], plane: usize, share: f64, rng: &mut ChaCha8Rng) {
    let pixel = |place: usize| gradient.iter().skip(place).step_by(plane).map(|&value| f64::from(value).exp()).sum();
    let sizes: Vec<f64> = (0..plane).map(pixel).collect();
    let places = largest(&sizes, share);
    let mut from = places.clone();
    from.shuffle(rng);
    for channel in picture.chunks_exact_mut(plane) {
        let moved: Vec<f32> = from.iter().map(|&place| channel[place]).collect();
        places.iter().zip(moved).for_each(|(&place, value)| channel[place] = value);
    }
}

/// Places of the share of values that are largest, rounded down, the first of equals.
fn largest(sizes: &[f64], share: f64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..sizes.len()).collect();
    // A share whose product should be whole is.
    let count = (sizes.len() as f64 * share + 1e-9).floor() as usize;
    let order = |a: &usize, b: &usize| sizes[*b].total_cmp(&sizes[*a]).then(a.cmp(b));
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable();
    places
}

/// Embeddings `[n, d]` less their mean, over their deviation (divided by d − 1), each embedding on its own.
pub(crate) fn standardised(embedding: Tensor<2>) -> Tensor<2> {
    let (variance, mean) = embedding.clone().var_mean(1);
    // The root of 0 has no gradient.
    (embedding - mean) / (variance.clamp_min(1e-24).sqrt() + EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::testing::{golden, gradients_agree, rows};

    /// 1, 2, 3 have the mean 2 and the deviation 1; −2, 2 the deviation √8.
    #[test]
    fn standardised_by_hand() {
        let three = values(standardised(rows(&[&[1.0, 2.0, 3.0], &[5.0, 5.0, 5.0]])));
        assert!(three.iter().zip([-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{three:?}");
        let two = values(standardised(rows(&[&[-2.0, 2.0]])));
        assert!((two[1] - 0.5_f32.sqrt()).abs() < 1e-5, "{two:?}");
    }

    /// Of six values two, a third, with the largest absolute gradient move by twice their gradient.
    #[test]
    fn gradients_push_the_decisive_values() {
        let mut picture = [1.0; 6];
        push(&mut picture, &[0.1, -3.0, 0.5, 2.0, 0.0, -1.0], 1.0 / 3.0, 2.0);
        assert_eq!(picture, [1.0, -5.0, 1.0, 5.0, 1.0, 1.0]);
    }

    /// Pixels 1 and 3 of four have the largest Σ exp g: a large negative gradient is not decisive here.
    #[test]
    fn shuffling_moves_whole_pixels_and_only_the_decisive_ones() {
        let gradient = [0.0, 2.0, -9.0, 1.0, 0.0, 0.0, 0.0, 1.5];
        let mut swapped = 0;
        for draw in 0..50 {
            let mut picture = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
            shuffle(&mut picture, &gradient, 4, 0.5, &mut stream(1, 0, draw));
            let [first, second] = if picture[1] == 3.0 { [3.0, 1.0] } else { [1.0, 3.0] };
            assert_eq!(picture, [0.0, first, 2.0, second, 10.0, 10.0 + first, 12.0, 10.0 + second]);
            swapped += usize::from(first == 3.0);
        }
        assert!((10..40).contains(&swapped), "{swapped}");
    }

    #[test]
    fn gradients() {
        let weight = || rows(&[&[0.5, -1.0], &[0.3, 0.2], &[-0.4, 0.8]]);
        let loss = |embedding: Tensor<2>| {
            let logits = (standardised(embedding) * 0.5).matmul(weight());
            from_uniform(logits) - 2.0_f64.ln()
        };
        gradients_agree(rows(&[&[1.0, -0.5, 0.3], &[0.2, 2.0, -1.0]]), loss);
        golden("outliers").agrees("ascood", ["embedding", "weight"], |[embedding, weight]| {
            let logits = (standardised(embedding) * 0.5).matmul(weight.transpose());
            let labels = Tensor::from_ints([0, 2, 1], &logits.device());
            let known = cross_entropy::loss(logits.clone().narrow(0, 0, 3), labels);
            known + from_uniform(logits.narrow(0, 3, 3)) - 4.0_f64.ln()
        });
    }

    /// The pushed pictures as the authors' code makes them.
    #[test]
    fn the_reference_agrees_on_outliers() {
        let golden = golden("outliers");
        let [picture, gradient, expected] =
            ["picture", "gradient", "pushed"].map(|name| values(golden.tensor::<2>(&format!("ascood.{name}"))));
        let size = picture.len() / 2;
        for image in 0..2 {
            let all = image * size..(image + 1) * size;
            let mut found = picture[all.clone()].to_vec();
            push(&mut found, &gradient[all.clone()], 0.1, 10.0);
            assert!(found.iter().zip(&expected[all]).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    /// The exported head reads f and says the trained logits times the deviation over its running mean.
    #[test]
    fn the_exported_head_decides_as_the_trained_one() {
        let ascood = Ascood::default();
        let weight = [1.0, -0.5, 2.0, 0.3, 0.1, -0.7];
        let tensor = |shape: &[usize], values: &[f32]| HostTensor { shape: shape.to_vec(), values: values.to_vec() };
        let mut tensors = BTreeMap::from([
            ("fc.weight".to_owned(), tensor(&[2, 3], &weight)),
            ("fc.bias".to_owned(), tensor(&[2], &[0.5, 0.0])),
            ("recipe.deviation".to_owned(), tensor(&[1], &[2.0])),
        ]);
        ascood.export(&mut tensors, "fc");
        assert_eq!(tensors["fc.bias"].values, [0.0, 0.0]);
        assert_eq!(tensors["recipe.ascood.deviation"], tensor(&[1, 1], &[2.0]));
        let embedding = [1.0_f32, 4.0, 7.0];
        let exported = tensors["fc.weight"].values.chunks(3);
        let exported: Vec<f32> = exported.map(|row| row.iter().zip(embedding).map(|(w, f)| w * f).sum()).collect();
        let trained =
            values((standardised(rows(&[&embedding])) * 0.5).matmul(rows(&[&weight[..3], &weight[3..]]).transpose()));
        for (exported, trained) in exported.iter().zip(trained) {
            assert!((exported - trained * 3.0 / 2.0).abs() < 1e-4, "{exported} {trained}");
        }
    }

    #[test]
    fn the_running_deviation_begins_with_the_first_step() {
        let device = Device::flex().autodiff();
        let mut spread = Ascood::default().parts(3, 2, &device);
        spread.follow(&rows(&[&[1.0, 2.0, 3.0], &[0.0, 3.0, 6.0]]));
        assert!((values(kept(&spread.deviation))[0] - 2.0).abs() < 1e-6);
        spread.follow(&rows(&[&[1.0, 2.0, 3.0]]));
        assert!((values(kept(&spread.deviation))[0] - 1.9).abs() < 1e-6);
    }
}
