//! `knownset train`: images → a trained network.

mod autoencoder;
mod captioner;
mod classifier;
mod clip;
mod detector;
mod diffusion;
mod prompts;
mod tokens;

pub(crate) use classifier::train as classifier;

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_train::{
    AutoencoderRecipe, Chosen, ChosenPrompts, ChosenTokens, DiffusionRecipe, Event, RecipeEntry, find,
};

use super::Status;
use crate::cli::{KeepName, Train};
use crate::images::{Images, STOP};
use crate::printer::{Printer, Progress};

/// Share of the run that is warm-up, for recipes that begin with small steps.
const WARMUP: f64 = 1.0 / 20.0;
/// Pixels of padding per 32 pixels of the network's input, as in the usual crop of 32-pixel images padded by 4.
const PAD_SHARE: u32 = 8;

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    knownset_train::keep_freed_memory();
    let name = args.recipe.split(':').next().unwrap_or_default();
    if name == "diffusion" {
        return diffusion::run(args, &DiffusionRecipe::parse(&args.recipe)?, printer);
    }
    anyhow::ensure!(args.autoencoder.is_none(), "the recipe {name} has no use for --autoencoder");
    if find(name).is_ok_and(RecipeEntry::learns_prompts) {
        return prompts::run(args, &ChosenPrompts::parse(&args.recipe)?, printer);
    }
    if find(name).is_ok_and(RecipeEntry::reads_tokens) {
        return tokens::run(args, &ChosenTokens::parse(&args.recipe)?, printer);
    }
    anyhow::ensure!(
        args.weights.is_none(),
        "the recipe {name} begins with random weights; it has no use for --weights"
    );
    match name {
        "clip" if args.recipe == "clip" => clip::run(args, find("clip")?, printer),
        "autoencoder" => autoencoder::run(args, &AutoencoderRecipe::parse(&args.recipe)?, printer),
        "captioner" => captioner::run(args, printer),
        "detector" => detector::run(args, printer),
        _ => classifier::run(args, &Chosen::parse(&args.recipe)?, printer),
    }
}

/// What tells a run's images from others: those of `data`, and where the best epoch is kept, those it is chosen by.
fn fingerprint(args: &Train, data: String) -> anyhow::Result<String> {
    if args.descent.keep != KeepName::Best {
        return Ok(data);
    }
    let val = args.val.as_ref().context("--keep best: there are no validation images to choose by; give --val")?;
    Ok(format!("{data}; kept by {}", Images::open(val, true)?.fingerprint()))
}

/// Refuses what a recipe has no use for.
fn unused(name: &str, flags: &[(&str, bool)]) -> anyhow::Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => anyhow::bail!("the recipe {name} has no use for {flag}"),
        None => Ok(()),
    }
}

/// Shows how a run goes, and stops it at Ctrl-C.
struct Watch {
    printer: Printer,
    images: usize,
    progress: Progress,
    /// What the figure on held-out images is called.
    validation: &'static str,
    /// Whether it is a share, and there is one of training images too.
    shares: bool,
}

impl Watch {
    fn new(printer: Printer, images: usize, validation: &'static str) -> Self {
        Self { printer, images, progress: printer.progress("epoch", images), validation, shares: true }
    }

    /// Of a run that tells nothing right or wrong.
    fn without_shares(self) -> Self {
        Self { shares: false, ..self }
    }

    fn see(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Step(count) => self.progress.advance(*count),
            Event::Epoch(epoch) => {
                let (number, loss, seconds) = (epoch.epoch, epoch.loss, epoch.seconds);
                let figures = match (self.shares, epoch.validation_accuracy) {
                    (false, None) => String::new(),
                    (false, Some(figure)) => format!(", {} {figure:.4}", self.validation),
                    (true, None) => format!(", train {:.2} %", 100.0 * epoch.accuracy),
                    (true, Some(share)) => {
                        let [training, held_out] = [epoch.accuracy, share].map(|share| 100.0 * share);
                        format!(", train {training:.2} %, {} {held_out:.2} %", self.validation)
                    }
                };
                self.printer.note(format!("epoch {number}: loss {loss:.4}{figures}, {seconds:.0} s"));
                self.progress = self.printer.progress(&format!("epoch {}", number + 1), self.images);
            }
        }
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
