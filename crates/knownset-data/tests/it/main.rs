//! Integration tests: one binary.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod arrays;
mod attacks;
mod corruptions;
mod decoding;
mod formats;
mod hub;
mod preprocessing;
mod server;
mod shared;
mod words;

use std::path::{Path, PathBuf};

use knownset_data::{DataError, DatasetRef, ImageSource};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn attack(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks").join(name)
}

fn open(reference: &str) -> Result<Box<dyn ImageSource>, DataError> {
    reference.parse::<DatasetRef>()?.open()
}

fn refused(reference: &str) -> DataError {
    match open(reference) {
        Ok(source) => panic!("{reference} opened with {} rows", source.len()),
        Err(error) => error,
    }
}

fn rows(source: &dyn ImageSource) -> Vec<(&str, i64)> {
    (0..source.len()).map(|i| (source.id(i), source.label(i))).collect()
}
