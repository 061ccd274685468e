//! `knownset train`: images → a trained network.

mod captioner;
mod classifier;
mod clip;
mod detector;
mod prompts;
mod tokens;

pub(crate) use classifier::train as classifier;

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use knownset_train::{Chosen, ChosenPrompts, ChosenTokens, Event, RecipeEntry, find};

use super::Status;
use crate::cli::Train;
use crate::images::STOP;
use crate::printer::{Printer, Progress};

/// Pixels of padding per 32 pixels of the network's input, as in the usual crop of 32-pixel images padded by 4.
const PAD_SHARE: u32 = 8;

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    knownset_train::keep_freed_memory();
    let name = args.recipe.split(':').next().unwrap_or_default();
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
        "captioner" => captioner::run(args, printer),
        "detector" => detector::run(args, printer),
        _ => classifier::run(args, &Chosen::parse(&args.recipe)?, printer),
    }
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
}

impl Watch {
    fn new(printer: Printer, images: usize, validation: &'static str) -> Self {
        Self { printer, images, progress: printer.progress("epoch", images), validation }
    }

    fn see(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Step(count) => self.progress.advance(*count),
            Event::Epoch(epoch) => {
                let validation = epoch.validation_accuracy;
                let validation = validation.map(|share| format!(", {} {:.2} %", self.validation, 100.0 * share));
                let (number, loss, accuracy) = (epoch.epoch, epoch.loss, 100.0 * epoch.accuracy);
                let (validation, seconds) = (validation.unwrap_or_default(), epoch.seconds);
                self.printer
                    .note(format!("epoch {number}: loss {loss:.4}, train {accuracy:.2} %{validation}, {seconds:.0} s"));
                self.progress = self.printer.progress(&format!("epoch {}", number + 1), self.images);
            }
        }
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
