//! What can be typed: clap types and nothing else.

mod synth;
mod train;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use knownset_detect::{Ratio, Stream};

use crate::shard::Shard;

pub(crate) use synth::{
    All, Backgrounds, Band, BoxThresholds, Boxes, CaptionerName, Captions, Drawing, GroundingName, Image, Lines,
    Outliers, Reconstructions, Samples, Source, Stage, Synth, Where,
};
pub(crate) use train::{KeepName, OptimiserName, Train};
pub(crate) use words::{EmbedText, Part, Probe, Words, Zeroshot};

/// Tell whether an image belongs to what a model knows.
#[derive(Debug, Parser)]
#[command(name = "knownset", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Scores are higher = more in-distribution. Data goes to stdout, talk to stderr.\n\
    Exit status: 0 done, 1 a gate you asked for failed, 2 error.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of a table
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,
    /// No progress and no notes on stderr
    #[arg(short, long, global = true, display_order = 101)]
    pub(crate) quiet: bool,
    /// Worker threads [default: all cores]; results do not depend on it
    #[arg(short = 'j', long, global = true, value_name = "N", display_order = 102, value_parser = at_least_one)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole path on bundled data: extract, fit all detectors, evaluate, report; no network
    Demo(Demo),
    /// Turn images into a feature file
    Extract(Extract),
    /// Fit one detector on features of the known set
    Fit(Fit),
    /// Score features or images with a fitted detector
    Score(Score),
    /// Compare detectors: known set + images to refuse → table and report
    Bench(Bench),
    /// Recompute every metric from saved scores
    Eval(Eval),
    /// Choose a threshold that bounds the false-alarm rate
    Calibrate(Calibrate),
    /// Train a network with a recipe
    Train(Train),
    /// Compare recipes: train each with several seeds, judge all by the same detectors
    Study(Study),
    /// Make images that nobody took, or ask one of the networks it takes: captions, boxes, images
    Synth(Synth),
    /// Turn prompts into text features, one row a line
    EmbedText(EmbedText),
    /// Label and score images by class names alone; with --ood, compare zero-shot detectors
    Zeroshot(Zeroshot),
    /// Why, and how firmly, towers that read words tell unknown images: alignment, other modalities, sensitivity
    Probe(Probe),
    /// List the detectors, or explain one
    Detectors(List),
    /// List the backbones, or explain one
    Backbones(List),
    /// List the forms of dataset references
    Datasets(List),
    /// List the training recipes, or explain one
    Recipes(List),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Folder for the report, the tables and a fitted detector
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// The network to run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Network {
    /// Backbone by name; `knownset backbones` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<String>,
    /// Weights: .safetensors, or a PyTorch .pt/.pth/.th read as data; FILE#PREFIX for one of several networks in a file;
    /// not needed for a backbone with bundled ones
    #[arg(long, value_name = "FILE", requires = "backbone")]
    pub(crate) weights: Option<PathBuf>,
    /// Head to put behind the backbone's patches, as `train --recipe tagood` leaves it
    #[arg(long, value_name = "FILE", requires = "backbone")]
    pub(crate) head: Option<PathBuf>,
}

/// How images are read and fed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reading {
    /// Images per network call; results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Stop at the first truncated or unreadable image instead of counting it
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) keeping: Keeping,
}

/// Where finished work is kept.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Keeping {
    /// Keep finished features here [default: $KNOWNSET_CACHE or the user's cache folder]
    #[arg(long, value_name = "DIR", env = "KNOWNSET_CACHE")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Neither read nor keep cached features, whatever --cache-dir says
    #[arg(long)]
    pub(crate) no_cache: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// Backbone by name; `knownset backbones` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: String,
    /// Weights: .safetensors, or a PyTorch .pt/.pth/.th read as data; FILE#PREFIX for one of several networks in a file;
    /// not needed for a backbone with bundled ones
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Head to put behind the backbone's patches, as `train --recipe tagood` leaves it
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,
    /// Write the features of the patches too, of towers that give them
    #[arg(long, conflicts_with = "head")]
    pub(crate) patches: bool,
    /// Images, such as folder:PATH; `knownset datasets` lists the forms
    #[arg(long, value_name = "REF")]
    pub(crate) data: String,
    /// Feature file to write (.safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Only the I-th of N shares of the images, from 1; an undivided run over the same cache joins them
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Fit {
    /// Detector by name, with parameters as in knn:k=10; `knownset detectors` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) detector: String,
    /// Features of the known set
    #[arg(long, value_name = "FILE")]
    pub(crate) train: PathBuf,
    /// Held-out features of the known set, for detectors that tune something on them
    #[arg(long, value_name = "FILE")]
    pub(crate) val: Option<PathBuf>,
    /// Detector file to write (.safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Score {
    /// A fitted detector
    #[arg(long, value_name = "FILE")]
    pub(crate) detector: PathBuf,
    /// Features to score
    #[arg(long, value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    pub(crate) features: Option<PathBuf>,
    /// Images to score, through the network the detector was fitted on
    #[arg(long, value_name = "REF")]
    pub(crate) data: Option<String>,
    /// Where that network's weights are, if not where they were when the detector was fitted
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Where the head on that network's patches is, if it has one and it is not where it was
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,
    /// Features of the known set, to name each image's nearest training images
    #[arg(long, value_name = "FILE")]
    pub(crate) train: Option<PathBuf>,
    /// Also write the scores here (.csv, .npz or .safetensors)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Study {
    /// File that describes the study
    #[arg(value_name = "PLAN.toml")]
    pub(crate) plan: PathBuf,
    /// Folder for the runs, study.json and study.md; a study goes on where it stopped
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Hold the runs against this one instead of the plan's baseline, in study-RUN.json and study-RUN.md
    #[arg(long, value_name = "RUN")]
    pub(crate) baseline: Option<String>,
    /// Only train and judge the I-th of N shares of the runs and their seeds; the same command without a share, over the
    /// same folder, makes the tables
    #[arg(long, value_name = "I/N", conflicts_with = "baseline")]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) network: Network,
    /// The known set: a feature file, or images with --backbone
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) train: String,
    /// Held-out part of the known set, for detectors that tune something on it
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) val: Option<String>,
    /// In-distribution test images
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) id: String,
    /// Images to refuse; repeat for several sets
    #[arg(long, value_name = "NAME=FILE|REF", required = true, value_parser = named)]
    pub(crate) ood: Vec<(String, String)>,
    /// Comma-separated detectors, each with parameters as in knn:k=10
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) detectors: String,
    /// Folder for report.html, results.{json,csv,md,tex} and the scores
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    #[command(flatten)]
    pub(crate) gate: Gate,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Scores of in-distribution images (.npz, .csv or .safetensors with `conf`, optionally `pred` and `label`)
    #[arg(long, value_name = "FILE")]
    pub(crate) id: PathBuf,
    /// Scores of images to refuse; repeat for several sets
    #[arg(long, value_name = "NAME=FILE", required = true, value_parser = named)]
    pub(crate) ood: Vec<(String, String)>,
    /// What to call the detector in the table
    #[arg(long, value_name = "NAME", default_value = "scores")]
    pub(crate) name: String,
    /// Folder for report.html and results.{json,csv,md,tex}
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) gate: Gate,
}

/// A condition that turns the exit status to 1.
#[derive(Debug, Clone, Args)]
pub(crate) struct Gate {
    /// Fail (exit 1) unless the best detector's mean reaches this, such as auroc=0.9
    #[arg(long, value_name = "METRIC=VALUE", value_parser = gate)]
    pub(crate) fail_under: Option<(GateMetric, f64)>,
}

/// Metrics a gate can be set on, all better when higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GateMetric {
    Auroc,
    AuprIn,
    AuprOut,
}

#[derive(Debug, Args)]
pub(crate) struct Calibrate {
    /// A fitted detector
    #[arg(long, value_name = "FILE")]
    pub(crate) detector: PathBuf,
    /// In-distribution images, or their features, that the detector was not fitted on
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) id: String,
    /// Bound on the share of in-distribution images that may be flagged
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub(crate) alpha: f64,
    /// Where the network's weights are, if not where they were when the detector was fitted
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// Where the head on the network's patches is, if it has one and it is not where it was
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,
    /// Calibrated detector file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// How sets become a stream, for detectors that learn from what they score.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct StreamArgs {
    /// Seed of the order in which a test stream mixes known and unknown images
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stream_seed: u64,
    /// Known against unknown images in the stream, such as 1:100 [default: all images]
    #[arg(long, value_name = "ID:OOD")]
    pub(crate) stream_ratio: Option<Ratio>,
}

impl StreamArgs {
    pub(crate) fn stream(self) -> Stream {
        Stream { seed: self.stream_seed, ratio: self.stream_ratio }
    }
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Explain this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected NAME=FILE, such as textures=textures.safetensors".into()),
    }
}

fn gate(text: &str) -> Result<(GateMetric, f64), String> {
    let (metric, value) = text.split_once('=').ok_or("expected METRIC=VALUE, such as auroc=0.9")?;
    let metric = GateMetric::from_str(&metric.replace('_', "-"), true)?;
    let value = value.parse().map_err(|_| format!("{value:?} is not a number"))?;
    Ok((metric, value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
