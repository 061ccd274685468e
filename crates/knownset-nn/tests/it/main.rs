//! Integration tests of `knownset-nn`.

mod real_weights;
