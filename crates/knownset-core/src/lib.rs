//! The parts of out-of-distribution detection that need no tensors framework: what a backbone said about
//! images ([`Features`]), how good a score is ([`metrics`]), what a score means ([`calibration`]), and the
//! statistics every detector is fitted from.
//!
//! Scores in this project are **higher = more in-distribution**, everywhere.

pub mod calibration;
mod correlation;
pub mod detection;
pub mod digest;
mod distribution;
mod feature_file;
mod features;
mod interval;
pub mod linalg;
pub mod logistic;
pub mod metrics;
pub mod moments;
pub mod neighbours;
pub mod numpy;
pub mod params;
pub mod parts;
mod preprocess;
pub mod prompts;
mod score_file;
pub mod state;
mod tensor_file;

pub use correlation::spearman;
pub use distribution::Distribution;
pub use feature_file::{FeatureFileError, read_features, write_features};
pub use features::{Features, FeaturesError, Head, Origin, OriginMismatch, UNKNOWN_LABEL};
pub use interval::Interval;
pub use preprocess::{Filter, Preprocess, Resize, ScaledPreprocess};
pub use score_file::{ScoreFileError, ScoreTable};
pub use tensor_file::{Tensor, TensorFile, TensorFileError, half_to_f32, write_atomically};
