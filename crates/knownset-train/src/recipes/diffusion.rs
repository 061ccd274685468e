//! Latent diffusion: from a noisy latent, its time and a text, what the noise is.
//!
//! Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR 2022, as Stable Diffusion. A latent
//! z, drawn from its image's distribution and scaled to unit deviation, becomes x = √ᾱ z + √(1 − ᾱ) ε at a time drawn from
//! all; with the target y = ε, or √ᾱ ε − √(1 − ᾱ) z (`velocity`; Salimans & Ho 2022, <https://arxiv.org/abs/2202.00512>),
//! and SNR = ᾱ / (1 − ᾱ), the loss is the mean over images of
//!
//! w · mean (f(x, time, text) − y)², w = min(SNR, snr) / SNR, or for the velocity min(SNR, snr) / (SNR + 1)
//!
//! (Hang et al. 2023, <https://arxiv.org/abs/2303.09556>; `snr` = 0 leaves w = 1). The schedule of noise is Stable
//! Diffusion's. A share `empty` of the texts is the empty one, from which classifier-free guidance goes away (Ho & Salimans
//! 2022, <https://arxiv.org/abs/2207.12598>). The text encoder is frozen, and so is the autoencoder.
//!
//! Deviation: a share `spliced` of the texts is told by one vector alone, as [`Conditions`] says, because FodFoM asks so.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_core::params::{ParamError, require};
use knownset_nn::Weights;
use knownset_nn::diffusion::{Growth, Prediction, Schedule};
use knownset_nn::network::{UNet, UNetLevel, UNetSpec, initialise_with, load, unet_init, weights_sha256};
use knownset_nn::tokenizer::TokenizerError;
use ndarray::Array2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::autoencoder::{check_levels, preprocess};
use super::{Kind, Outliers, ParamDoc, RecipeEntry, defaults};
use crate::augment::stream;
use crate::chosen::{ChooseError, Named};
use crate::drawing::{Conditions, Latents};
use crate::error::TrainError;
use crate::recipe::{Moment, Step};
use crate::sampler::batches;
use crate::tensors::normals;
use crate::trainer::{Event, Objective, Trained, Training};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "diffusion",
    title: "Latent diffusion",
    year: 2022,
    paper: "https://arxiv.org/abs/2112.10752",
    loss: "w (f(x, time, text) - y)^2, x a noisy latent, y its noise or velocity, w = min(SNR, snr) / SNR",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "side", doc: "of the images in pixels, a multiple of the autoencoder's factor" },
        ParamDoc { name: "levels", doc: "channels of each level, such as [64,96]" },
        ParamDoc { name: "layers", doc: "residual blocks of each level on the way down; one more on the way up" },
        ParamDoc { name: "attending", doc: "how many of the levels, from the lowest up, attend to the text" },
        ParamDoc { name: "heads", doc: "of attention; they divide every level" },
        ParamDoc { name: "groups", doc: "of channels that are normalised together; they divide every level" },
        ParamDoc { name: "predicts", doc: "noise or velocity" },
        ParamDoc { name: "snr", doc: "the largest signal-to-noise ratio that counts in full, 0 for no weights" },
        ParamDoc { name: "empty", doc: "share of texts that are left out, 0 to 1" },
        ParamDoc { name: "spliced", doc: "share of the others told by their end token's state in a generic prompt" },
    ],
    kind: Kind::Generator(defaults::<DiffusionRecipe>),
};

/// Most attention heads.
const HEADS: usize = 64;
/// Stands for an epoch in the random numbers of validation.
const VALIDATION: usize = usize::MAX;

/// The recipe with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiffusionRecipe {
    side: usize,
    levels: Vec<usize>,
    layers: usize,
    attending: usize,
    heads: usize,
    groups: usize,
    predicts: Predicts,
    snr: f64,
    empty: f64,
    spliced: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Predicts {
    Noise,
    Velocity,
}

impl Default for DiffusionRecipe {
    /// A miniature for latents of 16x16; half of the texts are spliced.
    fn default() -> Self {
        Self {
            side: 64,
            levels: vec![64, 96],
            layers: 1,
            attending: 1,
            heads: 4,
            groups: 16,
            predicts: Predicts::Velocity,
            snr: 5.0,
            empty: 0.1,
            spliced: 0.5,
        }
    }
}

impl DiffusionRecipe {
    /// Reads `diffusion:key=value…`.
    ///
    /// ```
    /// let recipe = knownset_train::DiffusionRecipe::parse("diffusion:levels=[32,64]:predicts=noise")?;
    /// assert_eq!(recipe.spec([4, 16, 16], 128).levels.len(), 2);
    /// # Ok::<(), knownset_train::ChooseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        Named::read_as(&ENTRY, text, Self::check)
    }

    fn check(&self) -> Result<(), ParamError> {
        check_levels(&self.levels, self.groups)?;
        let (levels, count) = (&self.levels, self.levels.len());
        require((1..=1024).contains(&self.side), "side", self.side as f64, "1 to 1024")?;
        require((1..=64).contains(&self.layers), "layers", self.layers as f64, "1 to 64")?;
        require(self.attending <= count, "attending", self.attending as f64, "at most the number of levels")?;
        require(levels.first() != Some(&1), "levels", 1.0, "2 channels at least in the first, which say the time")?;
        let divide = (1..=HEADS).contains(&self.heads) && levels.iter().all(|level| level.is_multiple_of(self.heads));
        require(divide, "heads", self.heads as f64, "1 to 64, and a divisor of every level")?;
        require(self.snr >= 0.0 && self.snr.is_finite(), "snr", self.snr, "0 or more")?;
        require((0.0..=1.0).contains(&self.empty), "empty", self.empty, "between 0 and 1")?;
        require((0.0..=1.0).contains(&self.spliced), "spliced", self.spliced, "between 0 and 1")
    }

    /// The network for latents of that shape (channels, height, width) and contexts of vectors of that length.
    pub fn spec(&self, [channels, height, _]: [usize; 3], context: usize) -> UNetSpec {
        let first = self.levels.len() - self.attending.min(self.levels.len());
        let level = |(index, &channels)| UNetLevel { channels, heads: self.heads, attends: index >= first };
        UNetSpec {
            side: Some(height),
            inputs: channels,
            outputs: channels,
            levels: self.levels.iter().enumerate().map(level).collect(),
            layers: self.layers,
            transformers: 1,
            context,
            groups: self.groups,
            epsilon: 1e-5,
            cosines_first: true,
            frequency_shift: 0,
        }
    }

    /// How noise falls: Stable Diffusion's schedule.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            times: 1000,
            growth: Growth::Scaled(0.000_85, 0.012),
            prediction: match self.predicts {
                Predicts::Noise => Prediction::Noise,
                Predicts::Velocity => Prediction::Velocity,
            },
            spacing: None,
            offset: 1,
            ends_clean: Some(false),
            skips_runge_kutta: true,
            clip: None,
        }
    }

    /// How images become the autoencoder's input.
    pub fn preprocess(&self) -> Preprocess {
        preprocess(self.side)
    }

    /// The weight of an error at a time whose ᾱ is this.
    fn weight(&self, alpha: f64) -> f64 {
        if self.snr == 0.0 {
            return 1.0;
        }
        let ratio = alpha / (1.0 - alpha);
        match self.predicts {
            Predicts::Noise => ratio.min(self.snr) / ratio,
            Predicts::Velocity => ratio.min(self.snr) / (ratio + 1.0),
        }
    }
}

/// What is written about every image: one text of its own, drawn anew whenever it is asked for.
pub type TextOf<'a> = &'a (dyn Fn(usize, &mut ChaCha8Rng) -> String + Sync);

/// What a diffusion model is trained on.
#[derive(Clone, Copy)]
pub struct Diffusing<'a> {
    /// The recipe.
    pub recipe: &'a DiffusionRecipe,
    /// How texts become contexts.
    pub conditions: &'a Conditions<'a>,
    /// Training images.
    pub data: (&'a Latents, TextOf<'a>),
    /// Held-out images; minus their loss, always with the same texts, times and noise, is reported after every epoch.
    pub validation: Option<(&'a Latents, TextOf<'a>)>,
}

impl Diffusing<'_> {
    /// Trains to the end, or as far as `watch` lets it. The weights are those of a [`UNet`] of [`Diffusing::spec`], for
    /// latents times [`Latents::scale`] of the training images.
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let (latents, _) = self.data;
        let run = Run {
            task: *self,
            alphas: self.recipe.schedule().alphas(),
            scale: latents.scale(),
            texts: weights_sha256(self.conditions.encoder().network()),
            seed: training.seed,
            batch: training.batch,
        };
        training.run(&run, watch)
    }

    /// The network with the weights of a finished run, on the processor.
    pub fn network(&self, trained: &Trained) -> Result<UNet, TrainError> {
        Ok(load(UNet::new(&self.spec(), &Device::flex()), &Weights::open(&trained.weights)?)?)
    }

    /// The network.
    pub fn spec(&self) -> UNetSpec {
        self.recipe.spec(self.data.0.shape(), self.conditions.shape()[1])
    }
}

struct Run<'a> {
    task: Diffusing<'a>,
    alphas: Vec<f64>,
    scale: f64,
    /// Digest of the text encoder.
    texts: String,
    seed: u64,
    batch: usize,
}

/// A noisy latent.
struct Noisy {
    values: Vec<f32>,
    time: f64,
    context: Array2<f32>,
    /// What the network should answer, and what an error counts.
    target: Vec<f32>,
    weight: f32,
}

impl Objective for Run<'_> {
    type Network = UNet;
    type Indices = Vec<usize>;
    type Batch = Vec<Noisy>;

    fn build(&self, device: &Device) -> UNet {
        UNet::new(&self.task.spec(), device)
    }

    fn initialise(&self, network: UNet, seed: u64) -> UNet {
        initialise_with(network, seed, unet_init)
    }

    fn settings(&self) -> serde_json::Value {
        let images = self.task.data.0.len();
        serde_json::json!({ "diffusion": self.task.recipe, "texts": self.texts, "scale": self.scale, "images": images })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.0.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Vec<Noisy>, String> {
        self.noisy(self.task.data, indices, epoch)
    }

    fn step(&self, network: &mut UNet, batch: Vec<Noisy>, _: &Moment, device: &Device) -> Step {
        Step { loss: self.error(network, &batch, device), hits: 0 }
    }

    fn validate(&self, network: &UNet, device: &Device) -> Result<Option<f64>, String> {
        let Some(data) = self.task.validation else { return Ok(None) };
        let images: Vec<usize> = (0..data.0.len()).collect();
        let mut sum = 0.0;
        for chunk in images.chunks(self.batch) {
            let loss = self.error(network, &self.noisy(data, chunk, VALIDATION)?, device);
            sum += loss.into_data().iter::<f64>().sum::<f64>() * chunk.len() as f64;
        }
        Ok(Some(-sum / images.len() as f64))
    }
}

impl Run<'_> {
    /// Latents with their noise, each by random numbers of its own.
    fn noisy(&self, data: (&Latents, TextOf<'_>), images: &[usize], epoch: usize) -> Result<Vec<Noisy>, String> {
        let one = |&image: &usize| {
            let random = &mut stream(self.seed, epoch, image);
            let context = self.context(data.1, image, random).map_err(|error| error.to_string())?;
            let time = random.random_range(0..self.alphas.len());
            let (mean, deviation) = data.0.of(image);
            let drawn = normals(random, mean.len()).into_iter().zip(mean.iter().zip(deviation));
            let latent: Vec<f32> = drawn
                .map(|(noise, (mean, deviation))| (self.scale * f64::from(mean + deviation * noise)) as f32)
                .collect();
            let noise = normals(random, mean.len());
            let alpha = self.alphas[time];
            let (signal, rest) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
            let pairs = || latent.iter().zip(&noise);
            let values = pairs().map(|(latent, noise)| signal * latent + rest * noise).collect();
            let target = match self.task.recipe.predicts {
                Predicts::Velocity => pairs().map(|(latent, noise)| signal * noise - rest * latent).collect(),
                Predicts::Noise => noise,
            };
            let weight = self.task.recipe.weight(alpha) as f32;
            Ok(Noisy { values, time: time as f64, context, target, weight })
        };
        images.par_iter().map(one).collect()
    }

    /// What is told of an image.
    fn context(
        &self,
        described: TextOf<'_>,
        image: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Array2<f32>, TokenizerError> {
        let Diffusing { recipe, conditions, .. } = self.task;
        let (draw, form): (f64, f64) = (random.random(), random.random());
        let text = described(image, random);
        if draw < recipe.empty {
            Ok(conditions.empty().to_owned())
        } else if form < recipe.spliced {
            conditions.spliced(&text)
        } else {
            conditions.plain(&text)
        }
    }

    /// The weighted error of the network's answers.
    fn error(&self, network: &UNet, batch: &[Noisy], device: &Device) -> Tensor<1> {
        let ([channels, height, width], [tokens, length]) = (self.task.data.0.shape(), self.task.conditions.shape());
        let n = batch.len();
        let maps = |values: Vec<f32>| -> Tensor<4> {
            Tensor::from_data(TensorData::new(values, [n, channels, height, width]), device)
        };
        let inputs = maps(batch.iter().flat_map(|noisy| noisy.values.iter().copied()).collect());
        let targets = maps(batch.iter().flat_map(|noisy| noisy.target.iter().copied()).collect());
        let contexts: Vec<f32> = batch.iter().flat_map(|noisy| noisy.context.iter().copied()).collect();
        let contexts = Tensor::from_data(TensorData::new(contexts, [n, tokens, length]), device);
        let times: Vec<f64> = batch.iter().map(|noisy| noisy.time).collect();
        let weights: Vec<f32> = batch.iter().map(|noisy| noisy.weight).collect();
        let weights = Tensor::from_data(TensorData::new(weights, [n]), device);
        loss(network.forward(inputs, &times, contexts).flatten(1, 3), targets.flatten(1, 3), weights)
    }
}

/// The mean over rows of `[n, d]` of the mean squares of their differences, times their weights `[n]`.
fn loss(answers: Tensor<2>, targets: Tensor<2>, weights: Tensor<1>) -> Tensor<1> {
    let squares = (answers - targets).square().mean_dim(1);
    (squares * weights.unsqueeze_dim(1)).mean()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    fn vector(values: &[f32]) -> Tensor<1> {
        rows(&[values]).squeeze_dim(0)
    }

    #[test]
    fn two_latents_by_hand() {
        let (answers, targets) = (rows(&[&[1.0, 2.0], &[0.0, -1.0]]), rows(&[&[0.0, 4.0], &[0.5, -1.0]]));
        let loss = loss(answers, targets, vector(&[2.0, 4.0]));
        let expected = f64::midpoint(2.0 * f64::midpoint(1.0, 4.0), 4.0 * f64::midpoint(0.25, 0.0));
        assert!((number(&loss) - expected).abs() < 1e-6, "{}", number(&loss));
    }

    #[test]
    fn gradients() {
        let targets = rows(&[&[0.4, -0.2, 1.0], &[0.1, 0.9, -0.6]]);
        gradients_agree(rows(&[&[0.3, -0.8, 0.2], &[1.1, 0.9, 0.0]]), |answers| {
            loss(answers, targets.clone(), vector(&[0.5, 2.0]))
        });
    }

    #[test]
    fn the_golden_of_pytorch() {
        let golden = golden("drawing");
        let (targets, weights): (Tensor<2>, Tensor<1>) =
            (golden.tensor("diffusion.targets"), golden.tensor("diffusion.weights"));
        golden.agrees("diffusion", ["answers"], |[answers]| loss(answers, targets, weights));
    }

    /// ᾱ = 0.9 has a ratio of 9, ᾱ = 0.5 one of 1.
    #[test]
    fn weights_by_hand() {
        let weight = |text: &str, alpha| DiffusionRecipe::parse(text).unwrap().weight(alpha);
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        near(weight("diffusion:predicts=noise", 0.9), 5.0 / 9.0);
        near(weight("diffusion:predicts=noise", 0.5), 1.0);
        near(weight("diffusion", 0.9), 0.5);
        near(weight("diffusion", 0.5), 0.5);
        near(weight("diffusion:snr=0", 0.9), 1.0);
    }

    #[test]
    fn every_parameter_is_documented_and_wrong_ones_are_refused() {
        let defaults = serde_json::to_value(DiffusionRecipe::default()).unwrap();
        let defaults: BTreeSet<&str> = defaults.as_object().unwrap().keys().map(String::as_str).collect();
        let documented: BTreeSet<&str> = ENTRY.params.iter().map(|param| param.name).collect();
        assert_eq!(defaults, documented);
        let wrong = |text: &str| DiffusionRecipe::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("autoencoder"), "`autoencoder` is not the recipe diffusion");
        for text in ["side=0", "attending=3", "heads=7", "heads=0", "empty=2", "spliced=-1", "snr=-1", "predicts=x"] {
            assert_eq!(wrong(&format!("diffusion:{text}")), "bad parameters for `diffusion`", "{text}");
        }
        let attends = |text: &str| -> Vec<bool> {
            let spec = DiffusionRecipe::parse(text).unwrap().spec([4, 16, 16], 128);
            spec.levels.iter().map(|level| level.attends).collect()
        };
        assert_eq!((attends("diffusion"), attends("diffusion:attending=0")), (vec![false, true], vec![false, false]));
    }
}
