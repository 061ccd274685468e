//! `knownset completions`: a completion script for a shell.

use clap::CommandFactory;

use super::Status;
use crate::cli::{Cli, Completions};
use crate::printer::data;

pub(super) fn run(args: &Completions) -> anyhow::Result<Status> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "knownset", &mut script);
    data(&String::from_utf8_lossy(&script))?;
    Ok(Status::Done)
}
