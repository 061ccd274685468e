//! Integration tests of `knownset-nn`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod bad_weights;
mod blip2;
mod clip;
mod diffusion;
mod diffusion_folders;
mod grounding;
mod hashed;
mod layers;
mod opt;
mod parity;
mod parts;
mod pickles;
mod real_weights;
mod same_bits;
mod samplers;
mod token_head;
mod tokenizer;
mod training;
