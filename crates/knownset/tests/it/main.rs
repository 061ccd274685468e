//! The real binary, through its command line.
#![allow(missing_docs, reason = "tests")]

mod bad_input;
mod features;
mod images;
mod lists;
mod real;
mod util;
mod workspace;
mod world;
