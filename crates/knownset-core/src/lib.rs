//! The parts of out-of-distribution detection that need no tensors framework.

pub mod digest;
mod features;
mod preprocess;

pub use features::{Features, FeaturesError, Head, Origin, OriginMismatch, UNKNOWN_LABEL};
pub use preprocess::{Filter, Preprocess, Resize};
