//! Arguments of `knownset synth`.

mod fakes;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use knownset_nn::diffusion::Method;
use knownset_nn::{Compute, Precision, SPRITE_CAPTIONER, SPRITE_DETECTOR, SPRITE_DIFFUSION};

use super::at_least_one;
use crate::shard::Shard;
pub(crate) use fakes::{All, Backgrounds, Band, Drawing, Outliers};

#[derive(Debug, Args)]
pub(crate) struct Synth {
    #[command(subcommand)]
    pub(crate) stage: Stage,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stage {
    /// Write a caption of every image
    Captions(Captions),
    /// Find what a prompt names in every image
    Boxes(Boxes),
    /// Draw an image from every context by latent diffusion
    Image(Image),
    /// Draw fake outliers: captions at the edge of their class, moved outwards
    Outliers(Outliers),
    /// Blur the known object out of every image
    Backgrounds(Backgrounds),
    /// Captions, outliers and backgrounds, one after the other: all that `train --recipe fodfom` needs
    All(All),
    /// Draw images of the classes of a dataset, of which nothing else is looked at: what `train --recipe sio+NAME
    /// --synthetic` learns from
    Samples(Samples),
    /// Send images through a pipeline's autoencoder and back: their middle squares at the side it draws, with the traces of
    /// all that it draws
    Reconstructions(Reconstructions),
}

/// Which images a stage is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct Source {
    /// Run on what ships with the program for this world: its training images, and small networks made for them; what
    /// other options say comes first
    #[arg(long, value_name = "NAME")]
    pub(crate) world: Option<WorldName>,
    /// Images, such as folder:PATH; `knownset datasets` lists the forms
    #[arg(
        long,
        value_name = "REF",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_IMAGES)
    )]
    pub(crate) data: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WorldName {
    Sprites,
}

fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| format!("{text:?} is not a number"))
}

/// The images of the world's known classes.
const SPRITE_IMAGES: &str = "world:sprites#train";
/// Most tokens of a caption there.
const SPRITE_MOST_TOKENS: &str = "48";
/// Least score of a box there, whose network is less sure of what it finds than large ones.
const SPRITE_BOX_THRESHOLD: &str = "0.12";
/// Side of the blur's window there: as much of the image as FodFoM's 50 pixels are of its 224.
const SPRITE_WINDOW: &str = "14";
/// Steps from noise to image there, and how far to go beyond what an empty prompt gives.
const SPRITE_STEPS: &str = "20";
const SPRITE_GUIDANCE: &str = "3";
/// Images drawn at the same time there: they are small.
const SPRITE_AT_ONCE: &str = "8";

/// What a stage that says something of images reads, and where it keeps what it says.
#[derive(Debug, Args)]
pub(crate) struct Lines {
    #[command(flatten)]
    pub(crate) source: Source,
    /// File to write, a JSON object a line, in the order of the images; finished lines are kept when the run is stopped,
    /// and the same command goes on behind them
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Only the I-th of N shares of the images
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Images per network call; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Stop at the first unreadable image instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Captions {
    /// The network that writes
    #[arg(long, value_name = "NAME", default_value = "blip2")]
    pub(crate) captioner: CaptionerName,
    /// Its checkpoint folder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_CAPTIONER)
    )]
    pub(crate) weights: PathBuf,
    /// What every caption begins with; it is not written
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prompt: String,
    /// Most tokens of a caption [for --world sprites: 48]
    #[arg(long, value_name = "N", default_value_t = knownset_nn::blip2::MOST_TOKENS, default_value_if("world", "sprites", SPRITE_MOST_TOKENS), value_parser = at_least_one)]
    pub(crate) max_tokens: usize,
    #[command(flatten)]
    pub(crate) lines: Lines,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CaptionerName {
    Blip2,
}

#[derive(Debug, Args)]
pub(crate) struct Boxes {
    /// The network that looks
    #[arg(long, value_name = "NAME", default_value = "grounding-dino")]
    pub(crate) grounding: GroundingName,
    /// Its checkpoint folder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_DETECTOR)
    )]
    pub(crate) weights: PathBuf,
    /// What to look for, each phrase with a full stop: "a cat . a dog ." [default: the image's own class]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) thresholds: BoxThresholds,
    #[command(flatten)]
    pub(crate) lines: Lines,
}

/// Which boxes and words count.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct BoxThresholds {
    /// A box is kept if its score is above this [for --world sprites: 0.12]
    #[arg(
        long,
        value_name = "SCORE",
        default_value_t = 0.3,
        default_value_if("world", "sprites", SPRITE_BOX_THRESHOLD)
    )]
    pub(crate) box_threshold: f32,
    /// A word belongs to a box's phrase if its probability is above this
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    pub(crate) text_threshold: f32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum GroundingName {
    GroundingDino,
}

/// Where a pipeline computes, and in what.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Where {
    /// Where the pipeline is: cpu, or vulkan, metal, wgpu, cuda, if the program was built with that feature
    #[arg(long, value_name = "DEVICE", default_value_t = Compute::default())]
    pub(crate) device: Compute,
    /// What the pipeline computes in: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value_t = Precision::F32)]
    pub(crate) precision: Precision,
}

/// A pipeline, and how it works.
#[derive(Debug, Clone, Args)]
pub(crate) struct Drawer {
    /// The pipeline: a folder as diffusers lays it out; to draw from texts it takes a text encoder, to reconstruct an
    /// autoencoder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_DIFFUSION)
    )]
    pub(crate) weights: PathBuf,
    /// Images made at the same time, each with memory of its own; results do not depend on it [for --world sprites: 8]
    #[arg(long, value_name = "N", default_value_t = 1, default_value_if("world", "sprites", SPRITE_AT_ONCE), value_parser = at_least_one)]
    pub(crate) at_once: usize,
    #[command(flatten)]
    pub(crate) on: Where,
}

#[derive(Debug, Args)]
pub(crate) struct Image {
    /// Pipeline folder as diffusers lays it out
    #[arg(long, value_name = "DIR")]
    pub(crate) weights: PathBuf,
    /// What the network attends to: [n, T, c] numbers (.npy)
    #[arg(long, value_name = "FILE")]
    pub(crate) context: PathBuf,
    /// Unit noise that the images come from: [n, channels, h, w] numbers (.npy)
    #[arg(long, value_name = "FILE")]
    pub(crate) latents: PathBuf,
    /// Steps from noise to image
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    pub(crate) steps: usize,
    /// How far to go beyond what an empty prompt gives; 1 is the context alone, 0 the empty prompt
    #[arg(long, value_name = "FACTOR", default_value_t = 7.5, value_parser = finite)]
    pub(crate) guidance: f64,
    /// How steps are taken
    #[arg(long, value_name = "NAME", default_value = "ddim")]
    pub(crate) scheduler: SchedulerName,
    #[command(flatten)]
    pub(crate) on: Where,
    /// File to write (.npz): `latents`, and `images` [n, H, W, 3] in 0 to 1; until all are drawn, finished ones are kept in
    /// FILE.parts, and the same command goes on behind them
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchedulerName {
    Ddim,
    Pndm,
    Euler,
}

impl SchedulerName {
    /// Its sampler, without fresh noise.
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Ddim => Method::Ddim { eta: 0.0 },
            Self::Pndm => Method::Pndm,
            Self::Euler => Method::Euler,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Samples {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) drawer: Drawer,
    /// Images of every class
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    pub(crate) per_class: usize,
    /// What they are drawn from; {class} is the class's name as words
    #[arg(long, value_name = "TEXT", default_value = "a photo of a {class}")]
    pub(crate) template: String,
    /// Steps from noise to image [for --world sprites: 20]
    #[arg(long, value_name = "N", default_value_t = 25, default_value_if("world", "sprites", SPRITE_STEPS), value_parser = at_least_one)]
    pub(crate) steps: usize,
    /// How far to go beyond what an empty prompt gives; 1 is the prompt alone
    #[arg(long, value_name = "FACTOR", default_value_t = 3.0, value_parser = finite)]
    pub(crate) guidance: f64,
    /// How steps are taken
    #[arg(long, value_name = "NAME", default_value = "ddim")]
    pub(crate) scheduler: SchedulerName,
    /// Seed of the noise; every image has its own, whatever else is drawn
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Only the I-th of N shares of the images
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Folder for CLASS/NUMBER.png and manifest.jsonl; finished images are kept when the run is stopped, and the same
    /// command goes on behind them
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Reconstructions {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) drawer: Drawer,
    /// Folder for the images, CLASS/ROW.png, or ROW.png for one of no class, manifest.jsonl, contact.html; a run that was
    /// stopped goes on where it was
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Only the I-th of N shares of the images; each into a folder of its own
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Stop at the first unreadable image instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
}
