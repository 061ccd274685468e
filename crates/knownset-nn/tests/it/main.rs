//! Integration tests of `knownset-nn`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod bad_weights;
mod clip;
mod grounding;
mod hashed;
mod layers;
mod parity;
mod parts;
mod pickles;
mod real_weights;
mod same_bits;
mod token_head;
mod tokenizer;
mod training;
