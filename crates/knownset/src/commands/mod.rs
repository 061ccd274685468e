//! One file per command.

mod bench;
mod calibrate;
mod completions;
mod demo;
mod embed_text;
mod eval;
mod extract;
mod fit;
mod lists;
mod probe;
mod score;
mod study;
mod synth;
mod train;
mod zeroshot;

use crate::cli::{Command, Gate};
use crate::printer::Printer;
use crate::results::Results;

/// How a command ended, if not with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Exit status 0.
    Done,
    /// A gate the user asked for failed: exit status 1.
    GateFailed,
}

/// Runs a command.
pub(crate) fn run(command: Command, printer: Printer) -> anyhow::Result<Status> {
    match command {
        Command::Demo(args) => demo::run(&args, printer),
        Command::Extract(args) => extract::run(&args, printer),
        Command::Fit(args) => fit::run(&args, printer),
        Command::Score(args) => score::run(&args, printer),
        Command::Bench(args) => bench::run(&args, printer),
        Command::Eval(args) => eval::run(&args, printer),
        Command::Calibrate(args) => calibrate::run(&args, printer),
        Command::Train(args) => train::run(&args, printer),
        Command::Study(args) => study::run(&args, printer),
        Command::Synth(args) => synth::run(&args, printer),
        Command::EmbedText(args) => embed_text::run(&args, printer),
        Command::Zeroshot(args) => zeroshot::run(&args, printer),
        Command::Probe(args) => probe::run(&args, printer),
        Command::Detectors(args) => lists::detectors(&args, printer),
        Command::Backbones(args) => lists::backbones(&args, printer),
        Command::Datasets(args) => lists::datasets(&args, printer),
        Command::Recipes(args) => lists::recipes(&args, printer),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Compares the best mean with the gate, if there is one.
fn judge(results: &Results, gate: &Gate, printer: Printer) -> Status {
    let Some(gate) = gate.fail_under else { return Status::Done };
    let (passes, best) = results.passes(gate);
    if passes {
        return Status::Done;
    }
    printer.note(format!("gate failed: the best mean {:?} is {best:.4}, below {}", gate.0, gate.1));
    Status::GateFailed
}
