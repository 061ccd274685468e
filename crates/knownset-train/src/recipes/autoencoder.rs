//! The autoencoder of latent diffusion: images to fewer numbers of a normal distribution, and back.
//!
//! Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR 2022. An image x of P values in
//! −1..1 becomes means μ and variances σ² of its latents; x̂ is decoded from μ + σ ε, ε unit noise. Loss, the mean over
//! images of
//!
//! (Σ |x − x̂| + square · Σ (x − x̂)² + kl · ½ Σ (μ² + σ² − 1 − ln σ²)) / P.
//!
//! Deviations: the paper adds a perceptual loss and a discriminator, which take networks of their own; without them fine
//! texture comes out smooth. It does not divide by P, which Adam does not notice. Its weight of the divergence, 1e-6, is
//! for large images; a larger one makes latents that bear a diffusion model's errors better.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::Weights;
use knownset_nn::network::{Autoencoder, AutoencoderSpec, autoencoder_init, initialise_with, load};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Kind, Outliers, ParamDoc, RecipeEntry, defaults};
use crate::augment::{Augment, stream};
use crate::chosen::{ChooseError, Named};
use crate::error::TrainError;
use crate::pictures::{Pictures, normalised};
use crate::recipe::{Moment, Step};
use crate::sampler::batches;
use crate::tensors::normals;
use crate::trainer::{Event, Objective, Trained, Training};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "autoencoder",
    title: "Latent autoencoder",
    year: 2022,
    paper: "https://arxiv.org/abs/2112.10752",
    loss: "|x - x^| + square (x - x^)^2 + kl KL(latents, unit normal), x^ decoded from noisy latents of the image x",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "side", doc: "of the images in pixels; halved by every level but the first" },
        ParamDoc { name: "levels", doc: "channels of each level, such as [16,32,64]" },
        ParamDoc { name: "layers", doc: "residual blocks of each level of the encoder; the decoder has one more" },
        ParamDoc { name: "latents", doc: "channels of the latents" },
        ParamDoc { name: "groups", doc: "of channels that are normalised together; they divide every level" },
        ParamDoc { name: "kl", doc: "weight of the latents' divergence from unit noise, 0 or more" },
        ParamDoc { name: "square", doc: "weight of the squared error beside the absolute one, 0 or more" },
    ],
    kind: Kind::Generator(defaults::<AutoencoderRecipe>),
};

/// The largest side, and the most channels and blocks.
const LARGEST: usize = 1024;
/// The most levels.
pub(super) const DEEPEST: usize = 8;
/// Images per batch when validating.
const VALIDATION_BATCH: usize = 16;

/// The recipe with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoencoderRecipe {
    side: usize,
    levels: Vec<usize>,
    layers: usize,
    latents: usize,
    groups: usize,
    kl: f64,
    square: f64,
}

impl Default for AutoencoderRecipe {
    /// For images of 64 pixels; the paper's weight.
    fn default() -> Self {
        Self { side: 64, levels: vec![16, 32, 64], layers: 1, latents: 4, groups: 8, kl: 1e-6, square: 0.0 }
    }
}

impl AutoencoderRecipe {
    /// Reads `autoencoder:key=value…`.
    ///
    /// ```
    /// let recipe = knownset_train::AutoencoderRecipe::parse("autoencoder:side=32:levels=[16,32]")?;
    /// assert_eq!((recipe.spec().factor(), recipe.preprocess().size), (2, 32));
    /// # Ok::<(), knownset_train::ChooseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        Named::read_as(&ENTRY, text, Self::check)
    }

    fn check(&self) -> Result<(), ParamError> {
        check_levels(&self.levels, self.groups)?;
        let small = |value: usize| (1..=LARGEST).contains(&value);
        let fits = small(self.side) && self.side.is_multiple_of(self.spec().factor());
        require(
            fits,
            "side",
            self.side as f64,
            "at most 1024, and twice a whole number for every level but the first",
        )?;
        require(small(self.layers), "layers", self.layers as f64, "1 to 1024")?;
        require(small(self.latents), "latents", self.latents as f64, "1 to 1024")?;
        require(self.kl >= 0.0 && self.kl.is_finite(), "kl", self.kl, "0 or more")?;
        require(self.square >= 0.0 && self.square.is_finite(), "square", self.square, "0 or more")
    }

    /// The network; its latents' scale is 1 until it is measured.
    pub fn spec(&self) -> AutoencoderSpec {
        let Self { levels, layers, latents, groups, .. } = self.clone();
        AutoencoderSpec { image: 3, latents, levels, layers, groups, scale: 1.0 }
    }

    /// The network with the weights of a finished run, on the processor.
    pub fn network(&self, trained: &Trained) -> Result<Autoencoder, TrainError> {
        Ok(load(Autoencoder::new(&self.spec(), &Device::flex()), &Weights::open(&trained.weights)?)?)
    }

    /// How images become its input.
    pub fn preprocess(&self) -> Preprocess {
        preprocess(self.side)
    }

    /// The loss of images and what they were decoded as, `[n, 3, side, side]`, whose latents are `[n, l, h, w]`.
    fn loss(&self, images: Tensor<4>, decoded: Tensor<4>, mean: Tensor<4>, log_variance: Tensor<4>) -> Tensor<1> {
        let values = images.shape().num_elements();
        let apart = decoded - images;
        let mut sum = apart.clone().abs().sum();
        if self.square > 0.0 {
            sum = sum + apart.square().sum() * self.square;
        }
        let divergence = (mean.square() + log_variance.clone().exp() - log_variance - 1.0).sum() * 0.5;
        (sum + divergence * self.kl) / values as f64
    }
}

/// Refuses levels that no network has.
pub(super) fn check_levels(levels: &[usize], groups: usize) -> Result<(), ParamError> {
    require((1..=DEEPEST).contains(&levels.len()), "levels", levels.len() as f64, "1 to 8 of them")?;
    require(groups >= 1, "groups", groups as f64, "at least 1")?;
    let odd = levels.iter().find(|&&channels| !(1..=LARGEST).contains(&channels) || !channels.is_multiple_of(groups));
    odd.map_or(Ok(()), |&odd| require(false, "levels", odd as f64, "1 to 1024 channels each, and multiples of groups"))
}

/// Images of a side as values in −1..1.
pub(super) fn preprocess(side: usize) -> Preprocess {
    let size = side as u32;
    let resize = Resize::Shorter { size, filter: Filter::Bilinear };
    Preprocess { resize, size, mean: [0.5; 3], std: [0.5; 3] }
}

/// What an autoencoder is trained on.
#[derive(Clone, Copy)]
pub struct Autoencoding<'a> {
    /// The recipe.
    pub recipe: &'a AutoencoderRecipe,
    /// Training images.
    pub data: &'a dyn Pictures,
    /// Images whose peak signal-to-noise ratio after decoding is reported after every epoch; it changes nothing, unless
    /// the best epoch is to be kept.
    pub validation: Option<&'a dyn Pictures>,
    /// Changes to training images.
    pub augment: &'a Augment,
}

impl Autoencoding<'_> {
    /// Trains to the end, or as far as `watch` lets it. The weights are those of an [`Autoencoder`] of
    /// [`AutoencoderRecipe::spec`].
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        if self.data.is_empty() {
            return Err(TrainError::NoPictures);
        }
        training.run(&Run { task: *self, seed: training.seed, batch: training.batch }, watch)
    }
}

struct Run<'a> {
    task: Autoencoding<'a>,
    seed: u64,
    batch: usize,
}

impl Objective for Run<'_> {
    type Network = Autoencoder;
    type Indices = Vec<usize>;
    type Batch = Vec<f32>;

    fn build(&self, device: &Device) -> Autoencoder {
        Autoencoder::new(&self.task.recipe.spec(), device)
    }

    fn initialise(&self, network: Autoencoder, seed: u64) -> Autoencoder {
        initialise_with(network, seed, autoencoder_init)
    }

    fn settings(&self) -> serde_json::Value {
        let Autoencoding { recipe, data, augment, .. } = self.task;
        serde_json::json!({ "autoencoder": recipe, "augment": augment.to_string(), "images": data.len() })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Vec<f32>, String> {
        let Autoencoding { recipe, data, augment, .. } = self.task;
        let one = |&index: &usize| {
            let picture = data.picture(index)?;
            let picture = augment.apply(picture, recipe.side, &mut stream(self.seed, epoch, index));
            Ok(normalised(picture, &recipe.preprocess()))
        };
        let all: Result<Vec<Vec<f32>>, String> = indices.par_iter().map(one).collect();
        Ok(all?.concat())
    }

    fn step(&self, network: &mut Autoencoder, batch: Vec<f32>, moment: &Moment, device: &Device) -> Step {
        let images = self.images(batch, device);
        let (mean, log_variance) = network.encode(images.clone());
        let noise = normals(&mut moment.random(), mean.shape().num_elements());
        let noise = Tensor::<4>::from_data(TensorData::new(noise, mean.dims()), device);
        let decoded = network.decode(mean.clone() + (log_variance.clone() * 0.5).exp() * noise);
        Step { loss: self.task.recipe.loss(images, decoded, mean, log_variance), hits: 0 }
    }

    /// Decibels by which the square of the values' range is above the mean squared error.
    fn validate(&self, network: &Autoencoder, device: &Device) -> Result<Option<f64>, String> {
        let Autoencoding { recipe, validation: Some(data), .. } = self.task else { return Ok(None) };
        let (mut squares, mut values) = (0.0, 0);
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let load = |&index: &usize| Ok(normalised(data.picture(index)?, &recipe.preprocess()));
            let inputs: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(load).collect();
            let images = self.images(inputs?.concat(), device);
            let (mean, _) = network.encode(images.clone());
            let apart = (network.decode(mean).clamp(-1.0, 1.0) - images).into_data();
            squares += apart.iter::<f64>().map(|apart| apart * apart).sum::<f64>();
            values += apart.shape().num_elements();
        }
        // Of values in 0..1, as images are.
        Ok((values > 0).then(|| -10.0 * (squares / 4.0 / values as f64).log10()))
    }
}

impl Run<'_> {
    fn images(&self, values: Vec<f32>, device: &Device) -> Tensor<4> {
        let side = self.task.recipe.side;
        let n = values.len() / (3 * side * side);
        Tensor::from_data(TensorData::new(values, [n, 3, side, side]), device)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    const RECIPE: fn(f64, f64) -> AutoencoderRecipe =
        |kl, square| AutoencoderRecipe { kl, square, ..Default::default() };

    /// Rows as one image of a channel.
    fn image(rows: Tensor<2>) -> Tensor<4> {
        rows.unsqueeze()
    }

    /// Two images of two values: |1| + |−2| + 3 (1 + 4), |0| + |0.5| + 3 · 0.25, and of each a latent with μ = 2, σ² = e
    /// and μ = 0, σ² = 1.
    #[test]
    fn two_images_by_hand() {
        let four = |values: [f32; 4]| rows(&[&values[..2], &values[2..]]).reshape([2, 1, 1, 2]);
        let latents = |values: [f32; 2]| rows(&[&values]).reshape([2, 1, 1, 1]);
        let (images, decoded) = (four([0.0, 1.0, 0.5, 0.0]), four([1.0, -1.0, 0.5, 0.5]));
        let loss = RECIPE(0.25, 3.0).loss(images, decoded, latents([2.0, 0.0]), latents([1.0, 0.0]));
        let divergence = 0.5 * (4.0 + std::f64::consts::E - 1.0 - 1.0);
        let expected = (3.0 + 15.0 + 0.5 + 0.75 + 0.25 * divergence) / 4.0;
        assert!((number(&loss) - expected).abs() < 1e-6, "{} {expected}", number(&loss));
    }

    #[test]
    fn gradients() {
        let recipe = RECIPE(0.5, 2.0);
        let (a, b) = (rows(&[&[0.3, -0.8], &[0.1, 0.9]]), rows(&[&[-0.4, 0.2], &[0.6, -0.5]]));
        gradients_agree(a.clone(), |decoded| {
            recipe.loss(image(b.clone()), image(decoded), image(a.clone()), image(b.clone()))
        });
        gradients_agree(a.clone(), |mean| {
            recipe.loss(image(b.clone()), image(a.clone()), image(mean), image(b.clone()))
        });
        gradients_agree(a.clone(), |log| recipe.loss(image(b.clone()), image(a.clone()), image(a.clone()), image(log)));
    }

    #[test]
    fn the_golden_of_pytorch() {
        let golden = golden("drawing");
        let images: Tensor<2> = golden.tensor("autoencoder.images");
        golden.agrees("autoencoder", ["decoded", "mean", "log_variance"], |[decoded, mean, log_variance]| {
            RECIPE(0.1, 0.5).loss(image(images), image(decoded), image(mean), image(log_variance))
        });
    }

    #[test]
    fn every_parameter_is_documented_and_wrong_ones_are_refused() {
        let defaults = serde_json::to_value(AutoencoderRecipe::default()).unwrap();
        let defaults: BTreeSet<&str> = defaults.as_object().unwrap().keys().map(String::as_str).collect();
        let documented: BTreeSet<&str> = ENTRY.params.iter().map(|param| param.name).collect();
        assert_eq!(defaults, documented);
        let wrong = |text: &str| AutoencoderRecipe::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("clip"), "`clip` is not the recipe autoencoder");
        for text in ["side=66", "side=0", "side=100000", "levels=[]", "levels=[12]", "groups=0", "layers=0", "kl=-1"] {
            assert_eq!(wrong(&format!("autoencoder:{text}")), "bad parameters for `autoencoder`", "{text}");
        }
        let deep = "autoencoder:levels=[8,8,8,8,8,8,8,8,8]";
        assert!(AutoencoderRecipe::parse(deep).is_err() && AutoencoderRecipe::parse("autoencoder:x=1").is_err());
    }
}
