//! The real binary, through its command line.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod bad_input;
mod drawing;
mod fakes;
mod features;
mod images;
mod lists;
mod miniatures;
mod odd_data;
mod parts;
mod probe;
mod prompts;
mod real;
mod seeing;
#[cfg(unix)]
mod stopped;
mod study;
mod synth;
mod tokens;
mod train;
mod util;
mod workshop;
mod workspace;
mod world;
mod zeroshot;
