//! `knownset synth`: images that nobody took, stage by stage; each network is reachable alone.

mod boxes;
mod captions;
mod image;
mod lines;
mod samples;

use super::Status;
use crate::cli::{Stage, Synth};
use crate::printer::Printer;

pub(super) fn run(args: &Synth, printer: Printer) -> anyhow::Result<Status> {
    match &args.stage {
        Stage::Captions(args) => captions::run(args, printer),
        Stage::Boxes(args) => boxes::run(args, printer),
        Stage::Image(args) => image::run(args, printer),
        Stage::Samples(args) => samples::run(args, printer),
    }
}
