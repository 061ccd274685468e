//! Integration tests of `knownset-nn`.

mod bad_weights;
mod hashed;
mod layers;
mod parity;
mod pickles;
mod real_weights;
mod same_bits;
mod training;
