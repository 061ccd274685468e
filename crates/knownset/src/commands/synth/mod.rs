//! `knownset synth`: images that nobody took, stage by stage; each network is reachable alone.

mod all;
mod backgrounds;
mod boxes;
mod captions;
mod contact;
mod contexts;
mod dataset;
mod drawing;
mod files;
mod image;
mod journal;
mod lines;
mod manifest;
mod moved;
mod outliers;
mod parts;
mod reconstructions;
mod record;
mod samples;
mod scoring;
mod texts;

use super::Status;
use crate::cli::{Stage, Synth};
use crate::printer::Printer;

pub(super) fn run(args: &Synth, printer: Printer) -> anyhow::Result<Status> {
    match &args.stage {
        Stage::Captions(args) => captions::run(args, printer),
        Stage::Boxes(args) => boxes::run(args, printer),
        Stage::Image(args) => image::run(args, printer),
        Stage::Outliers(args) => outliers::run(args, printer),
        Stage::Backgrounds(args) => backgrounds::run(args, printer),
        Stage::All(args) => all::run(args, printer),
        Stage::Samples(args) => samples::run(args, printer),
        Stage::Reconstructions(args) => reconstructions::run(args, printer),
    }
}
