//! Arguments of `knownset train`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use knownset_nn::{Compute, Precision};
use knownset_train::{Curve, Decays, Keep, Optimiser, Schedule, Training};

use super::{Keeping, at_least_one};

/// Passes over the training images, and images per batch, where nothing else is usual.
const EPOCHS: usize = 30;
const BATCH: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Recipe, as name:key=value…; `sio+NAME` adds synthetic images to it; `knownset recipes` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) recipe: String,
    /// Backbone to train, from random weights [default: sprite-resnet, or sprite-clip for the recipe clip]; for recipes
    /// that learn prompts, and for tagood and diffusion, the towers that stay as they are [default: sprite-clip]; tagood
    /// without one reads a feature file
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Weights of towers that stay as they are: a CLIP checkpoint's folder, or hf:ORGANISATION/NAME
    #[arg(long, value_name = "DIR", requires = "backbone")]
    pub(crate) weights: Option<PathBuf>,
    /// What to train with the recipes clip, captioner and detector: a folder with config.json and preprocessor_config.json
    #[arg(long, value_name = "DIR", conflicts_with = "backbone")]
    pub(crate) towers: Option<PathBuf>,
    /// Autoencoder of the recipe diffusion: the folder that the recipe autoencoder made
    #[arg(long, value_name = "DIR")]
    pub(crate) autoencoder: Option<PathBuf>,
    /// Training images, labelled or, for the recipes clip, captioner and diffusion, captioned, or, for detector, with
    /// boxes; for tagood without --backbone, a feature file with `patches` and `labels`
    #[arg(long, value_name = "REF")]
    pub(crate) data: String,
    /// Labelled images whose accuracy is reported after every epoch; for captioner, detector, autoencoder and diffusion
    /// images like --data's, of which the first two look at 500
    #[arg(long, value_name = "REF")]
    pub(crate) val: Option<String>,
    /// Synthetic images of the same classes, for sio
    #[arg(long, value_name = "REF")]
    pub(crate) synthetic: Option<String>,
    /// Images of no known class, for recipes that learn from outliers; may be given more than once
    #[arg(long, value_name = "REF")]
    pub(crate) outliers: Vec<String>,
    /// Changes to training images [default: crop and flip; clip: crop; autoencoder: flip; captioner: none; for prompts
    /// resized-crop,flip]
    #[arg(long, value_name = "LIST")]
    pub(crate) augment: Option<String>,
    /// Folder for weights, checkpoint and log
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Go on from the checkpoint in --out
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) keeping: Keeping,
    #[command(flatten)]
    pub(crate) descent: Descent,
}

/// How a network descends to its weights, whatever it learns.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimisation")]
pub(crate) struct Descent {
    /// Passes over the training images [default: 30; for prompts and tagood the paper's]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<usize>,
    /// Images per batch [default: 64; for prompts 32; tagood: 256]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_size: Option<usize>,
    /// Batches whose gradients are averaged for a step
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) accumulate: usize,
    /// How gradients become steps; adamw has the betas 0.9 and 0.98 and the epsilon 0.000001, as CLIP's training, not
    /// PyTorch's 0.999 and 0.00000001 [default: sgd; clip, captioner, detector, autoencoder, diffusion: adamw; tagood:
    /// adamw, the paper's]
    #[arg(long, value_name = "NAME")]
    pub(crate) optimiser: Option<OptimiserName>,
    /// The highest learning rate [default: 0.1; adamw: 0.001; for prompts and tagood the paper's]
    #[arg(long, value_name = "RATE")]
    pub(crate) lr: Option<f64>,
    /// Epochs in which the rate rises to it [default: 0; clip, captioner, detector, autoencoder, diffusion: 1 in 20]; for
    /// prompts with a cosine, epochs at 0.00001 [default: 1]
    #[arg(long, value_name = "EPOCHS")]
    pub(crate) warmup: Option<f64>,
    /// What the rate does then: cosine, constant, or steps:A,B,… to a tenth after epochs A, B, …
    #[arg(long, value_name = "CURVE", default_value = "cosine", value_parser = curve)]
    pub(crate) schedule: Curve,
    /// Momentum of sgd
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    pub(crate) momentum: f64,
    /// Nesterov's momentum
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// L2 penalty of sgd, decoupled decay of adamw [default: 0.0005; adamw: 0.1]
    #[arg(long, value_name = "RATE")]
    pub(crate) weight_decay: Option<f64>,
    /// Which parameters decay: all, or all but biases and normalisations [default: all; adamw: matrices]
    #[arg(long, value_name = "WHICH")]
    pub(crate) decays: Option<DecaysName>,
    /// Cut gradients to this length over all parameters together
    #[arg(long, value_name = "LENGTH")]
    pub(crate) clip: Option<f64>,
    /// Give away a running mean of the weights with this decay
    #[arg(long, value_name = "DECAY")]
    pub(crate) ema: Option<f64>,
    /// Which epoch's weights to give away; the best is told by --val, never by test images
    #[arg(long, value_name = "WHICH", default_value = "last")]
    pub(crate) keep: KeepName,
    /// Where the network is: cpu, or, if the program was built with that feature, vulkan, metal, wgpu or cuda, the second
    /// one of a kind as KIND:1
    #[arg(long, value_name = "DEVICE", default_value_t = Compute::default())]
    pub(crate) device: Compute,
    /// What a classifier's convolutions and linear layers compute in: f32, or bf16, which a GPU may do faster
    #[arg(long, value_name = "TYPE", default_value_t = Precision::F32)]
    pub(crate) precision: Precision,
    /// Seed of initial weights, shuffling and augmentation
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimiserName {
    Sgd,
    Adamw,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DecaysName {
    All,
    Matrices,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepName {
    Last,
    Best,
}

impl Train {
    /// The run these arguments ask for, on so many images. `usual` is the optimiser when none is named, `warmup` the
    /// warm-up's usual share of the run.
    pub(crate) fn training(
        &self,
        fingerprint: String,
        images: usize,
        usual: OptimiserName,
        warmup: f64,
    ) -> anyhow::Result<Training<'_>> {
        let Descent { epochs, batch_size, accumulate, ema, clip, seed, .. } = self.descent;
        let (epochs, batch_size) = (epochs.unwrap_or(EPOCHS), batch_size.unwrap_or(BATCH));
        let steps = images.div_ceil(batch_size).div_ceil(accumulate);
        let warmup = self.descent.warmup.unwrap_or(warmup * epochs as f64);
        anyhow::ensure!(warmup >= 0.0 && warmup.is_finite(), "--warmup must be at least 0, but is {warmup}");
        if let Some(decay) = ema {
            anyhow::ensure!((0.0..1.0).contains(&decay), "--ema must be at least 0 and below 1, but is {decay}");
        }
        if let Some(length) = clip {
            anyhow::ensure!(length > 0.0, "--clip must be above 0, but is {length}");
        }
        let (optimiser, lr) = self.descent.optimiser(usual);
        Ok(Training {
            fingerprint,
            epochs,
            batch: batch_size,
            accumulate,
            optimiser,
            schedule: Schedule { lr, warmup: (warmup * steps as f64) as usize, curve: self.descent.schedule.clone() },
            clip,
            ema,
            keep: match self.descent.keep {
                KeepName::Last => Keep::Last,
                KeepName::Best => Keep::Best,
            },
            seed,
            compute: self.descent.device,
            precision: self.descent.precision,
            out: &self.out,
            resume: self.resume,
        })
    }
}

impl Descent {
    /// The optimiser and its rate.
    fn optimiser(&self, usual: OptimiserName) -> (Optimiser, f64) {
        let decays = |usual| match self.decays {
            None => usual,
            Some(DecaysName::All) => Decays::All,
            Some(DecaysName::Matrices) => Decays::Matrices,
        };
        match self.optimiser.unwrap_or(usual) {
            OptimiserName::Sgd => {
                let weight_decay = self.weight_decay.unwrap_or(5e-4);
                let (momentum, nesterov) = (self.momentum, self.nesterov);
                let decays = decays(Decays::All);
                (Optimiser::Sgd { momentum, nesterov, weight_decay, decays }, self.lr.unwrap_or(0.1))
            }
            OptimiserName::Adamw => {
                let weight_decay = self.weight_decay.unwrap_or(0.1);
                let decays = decays(Decays::Matrices);
                let adam = Optimiser::AdamW { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay, decays };
                (adam, self.lr.unwrap_or(1e-3))
            }
        }
    }
}

fn curve(text: &str) -> Result<Curve, String> {
    match text.split_once(':') {
        None if text == "cosine" => Ok(Curve::Cosine { least: 0.0 }),
        None if text == "constant" => Ok(Curve::Constant),
        Some(("steps", epochs)) => {
            let after: Result<Vec<usize>, _> = epochs.split(',').map(|epoch| epoch.trim().parse()).collect();
            let after = after.map_err(|_| format!("{epochs:?} is not a list of epochs such as 100,150"))?;
            Ok(Curve::Steps { after, factor: 0.1 })
        }
        _ => Err("there are: cosine, constant, steps:A,B,…".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves() {
        assert_eq!(curve("cosine"), Ok(Curve::Cosine { least: 0.0 }));
        assert_eq!(curve("steps:100, 150"), Ok(Curve::Steps { after: vec![100, 150], factor: 0.1 }));
        assert!(curve("steps:x").is_err() && curve("line").is_err());
    }
}
