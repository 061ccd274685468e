//! Arguments of the stages that end in images.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use knownset_nn::clip::SPRITE_CLIP;
use knownset_nn::{SPRITE_CAPTIONER, SPRITE_DETECTOR};
use knownset_train::synthesis::{Nearness, Outward};
use serde::Serialize;

use super::{
    BoxThresholds, Drawer, SPRITE_GUIDANCE, SPRITE_MOST_TOKENS, SPRITE_STEPS, SPRITE_WINDOW, SchedulerName, Source,
    finite,
};
use crate::cli::{Keeping, at_least_one};
use crate::shard::Shard;

/// FodFoM's window.
const WINDOW: u32 = knownset_train::synthesis::WINDOW as u32;

#[derive(Debug, Args)]
pub(crate) struct Outliers {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Captions of the images of --data, as `synth captions` writes them
    #[arg(long, value_name = "FILE")]
    pub(crate) captions: PathBuf,
    /// Folder for the images, below images/, manifest.jsonl, contact.html, and what lies between: features.npz,
    /// edges.jsonl, fakes.npz; a run that was stopped goes on where it was
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Only the I-th of N shares of the images; each into a folder of its own
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
}

/// How captions become images.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Outliers")]
pub(crate) struct Drawing {
    /// The CLIP whose text tower reads captions: a checkpoint's folder, or hf:ORGANISATION/NAME; its text tower is to be
    /// the pipeline's text encoder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_CLIP)
    )]
    pub(crate) clip: PathBuf,
    #[command(flatten)]
    pub(crate) drawer: Drawer,
    /// What is said of an image
    #[arg(long, value_name = "TEXT", default_value = "This is a photo of {class} and {caption}", value_parser = template)]
    pub(crate) template: String,
    /// How near a caption is to its class's mean: mahalanobis, cosine, euclidean
    #[arg(long, value_name = "NAME", default_value_t = Nearness::Cosine)]
    pub(crate) edge: Nearness,
    /// Share of a class's captions that are its edge
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = percent)]
    pub(crate) percent: f64,
    #[command(flatten)]
    pub(crate) moves: Moves,
    /// The prompt around the moved feature
    #[arg(long, value_name = "TEXT", default_value = knownset_train::GENERIC)]
    pub(crate) prompt: String,
    /// Steps from noise to image [for --world sprites: 20]
    #[arg(long, value_name = "N", default_value_t = 50, default_value_if("world", "sprites", SPRITE_STEPS), value_parser = at_least_one)]
    pub(crate) steps: usize,
    /// How far to go beyond what an empty prompt gives; 1 is the context alone [for --world sprites: 3]
    #[arg(long, value_name = "FACTOR", default_value_t = 7.5, default_value_if("world", "sprites", SPRITE_GUIDANCE), value_parser = finite)]
    pub(crate) guidance: f64,
    /// How steps are taken
    #[arg(long, value_name = "NAME", default_value = "ddim")]
    pub(crate) scheduler: SchedulerName,
    /// Seed of the noise that images come from
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Side of the images that are kept, in pixels; 0: as they are drawn
    #[arg(long, value_name = "SIDE", default_value_t = 0, value_parser = side())]
    pub(crate) size: u32,
    /// Keep only images whose cosine with their class's name, by the CLIP, is in this range; either end may be left out
    #[arg(long, value_name = "LOW..HIGH", allow_hyphen_values = true)]
    pub(crate) clip_score: Option<Band>,
    /// Keep the fake tokens too, in contexts.npy [images, T, c]: what `synth image --context` draws from
    #[arg(long)]
    pub(crate) keep_contexts: bool,
    #[command(flatten)]
    pub(crate) keeping: Keeping,
}

/// How captions at the edge of their class move outwards.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Moves {
    /// Images from each caption at the edge, each further out than the one before [default: 5]
    #[arg(long = "moves", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    count: Option<u16>,
    /// How far the first one moves, in distances of the caption from its class's mean [default: 0.1; released: 0.00003]
    #[arg(long = "move-first", value_name = "SHARE", value_parser = finite)]
    first: Option<f64>,
    /// How much further each of the others moves [default: 0.1; released: 0.00003]
    #[arg(long = "move-more", value_name = "SHARE", value_parser = finite)]
    more: Option<f64>,
    /// Move as FodFoM's released code does: every coordinate by the same number
    #[arg(long, value_name = "WITH")]
    compat: Option<Compat>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compat {
    Released,
}

impl Moves {
    pub(crate) fn outward(self) -> Outward {
        let usual = match self.compat {
            Some(Compat::Released) => Outward::RELEASED,
            None => Outward::FROM_MEAN,
        };
        Outward {
            first: self.first.unwrap_or(usual.first),
            more: self.more.unwrap_or(usual.more),
            count: self.count.map_or(usual.count, usize::from),
            ..usual
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Backgrounds {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Where the known object is, as `synth boxes` writes it
    #[arg(long, value_name = "FILE", required_unless_present_any = ["grounding_weights", "world"])]
    pub(crate) boxes: Option<PathBuf>,
    /// A detector's checkpoint folder, to look for each image's own class
    #[arg(long, value_name = "DIR", conflicts_with = "boxes", default_value_if("world", "sprites", SPRITE_DETECTOR))]
    pub(crate) grounding_weights: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) thresholds: BoxThresholds,
    /// Folder for the images, below images/, manifest.jsonl, contact.html, and boxes.jsonl unless it is given; a run that
    /// was stopped goes on where it was
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Side of the blur's window in pixels [for --world sprites: 14]
    #[arg(long, value_name = "SIDE", default_value_t = WINDOW, default_value_if("world", "sprites", SPRITE_WINDOW), value_parser = window())]
    pub(crate) window: u32,
    /// Side that images are brought to before the blur; 0: as they are. FodFoM takes 224 for CIFAR
    #[arg(long, value_name = "SIDE", default_value_t = 0, value_parser = side())]
    pub(crate) size: u32,
    /// Only the I-th of N shares of the images; each into a folder of its own
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Images between two writes; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Stop at the first unreadable image instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
pub(crate) struct All {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The captioner's checkpoint folder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_CAPTIONER)
    )]
    pub(crate) captioner_weights: PathBuf,
    /// The detector's checkpoint folder
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "world",
        default_value_if("world", "sprites", SPRITE_DETECTOR)
    )]
    pub(crate) grounding_weights: PathBuf,
    /// Folder for captions.jsonl, outliers/ and backgrounds/; for `train`, folder:DIR is all fakes, folder:DIR/outliers and
    /// folder:DIR/backgrounds are one kind. A run that was stopped goes on where it was
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Most tokens of a caption [for --world sprites: 48]
    #[arg(long, value_name = "N", default_value_t = knownset_nn::blip2::MOST_TOKENS, default_value_if("world", "sprites", SPRITE_MOST_TOKENS), value_parser = at_least_one)]
    pub(crate) max_tokens: usize,
    /// Images per network call; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Stop at the first unreadable image instead of leaving it out
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) thresholds: BoxThresholds,
    /// Side of the blur's window in pixels: --window of `synth backgrounds` [for --world sprites: 14]
    #[arg(long, value_name = "SIDE", default_value_t = WINDOW, default_value_if("world", "sprites", SPRITE_WINDOW), value_parser = window())]
    pub(crate) blur_window: u32,
    /// Side that images are brought to before boxes are blurred: --size of `synth backgrounds`
    #[arg(long, value_name = "SIDE", default_value_t = 0, value_parser = side())]
    pub(crate) blur_size: u32,
    #[command(flatten)]
    pub(crate) drawing: Drawing,
}

/// A range of scores, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Band {
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl FromStr for Band {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range such as 0.2..0.3, 0.2.. or ..0.3");
        let (low, high) = text.split_once("..").ok_or_else(wrong)?;
        let end = |text: &str| match text {
            "" => Ok(None),
            _ => finite(text).map(Some).map_err(|_| wrong()),
        };
        let band = Self { low: end(low)?, high: end(high)? };
        match (band.low, band.high) {
            (None, None) => Err(wrong()),
            (Some(low), Some(high)) if low > high => Err(format!("{low} is above {high}")),
            _ => Ok(band),
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = finite(text)?;
    if percent > 0.0 && percent <= 100.0 { Ok(percent) } else { Err("expected a number above 0, at most 100".into()) }
}

/// Sides of images that this program makes larger or smaller.
fn side() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=16384)
}

fn window() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=4096)
}

fn template(text: &str) -> Result<String, String> {
    match text.matches("{caption}").count() {
        1 => Ok(text.to_owned()),
        times => Err(format!("{{caption}} must occur once, it occurs {times} times")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        assert_eq!("0.2..0.3".parse(), Ok(Band { low: Some(0.2), high: Some(0.3) }));
        assert_eq!("-1..".parse(), Ok(Band { low: Some(-1.0), high: None }));
        assert_eq!("..0".parse(), Ok(Band { low: None, high: Some(0.0) }));
        for text in ["..", "0.2", "0.3..0.2", "x..1", "nan..1"] {
            assert!(text.parse::<Band>().is_err(), "{text}");
        }
    }
}
