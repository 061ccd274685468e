//! The `knownset` command line.

mod benchmark;
mod captions;
mod checkpoints;
mod cli;
mod commands;
mod gallery;
mod hint;
mod images;
mod inputs;
mod known_words;
mod printer;
mod report;
mod results;
mod shard;
mod towers;

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;

use cli::Cli;
use printer::Printer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let printer = Printer { json: cli.global.json, quiet: cli.global.quiet };
    match start(cli.global.threads).and_then(|()| commands::run(cli.command, printer)) {
        Ok(commands::Status::Done) => ExitCode::SUCCESS,
        Ok(commands::Status::GateFailed) => ExitCode::from(1),
        Err(error) => {
            Printer { json: false, quiet: false }.note(hint::render(&error));
            ExitCode::from(2)
        }
    }
}

/// Sets the number of threads, and makes the first Ctrl-C ask for a stop and the second stop at once.
fn start(threads: Option<usize>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    ctrlc::set_handler(|| {
        if images::STOP.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "the second Ctrl-C means now")]
            std::process::exit(2);
        }
    })?;
    Ok(())
}
