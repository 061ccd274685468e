//! What can go wrong between a weights file and a running network.

use std::path::PathBuf;

use crate::network::Mismatch;
use crate::weights::WeightsError;

/// A backbone that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// No backbone of that name.
    #[error("unknown backbone `{name}`{}", nearest.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    UnknownBackbone {
        /// The name asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<&'static str>,
    },
    /// Two towers where a classifier was wanted.
    #[error("`{backbone}` is a pair of towers without a classifier; it is opened from a checkpoint folder")]
    Towers {
        /// The backbone.
        backbone: &'static str,
    },
    /// A backbone that needs a weights file.
    #[error("no weights are bundled for `{backbone}`: give a weights file")]
    NotBundled {
        /// The backbone.
        backbone: &'static str,
    },
    /// The weights file cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights file holds another network's tensors.
    #[error("{backbone}: {mismatch}")]
    Mismatch {
        /// The backbone to be loaded.
        backbone: &'static str,
        /// All differences.
        mismatch: Box<Mismatch>,
    },
    /// A recipe's tensor of a shape that cannot be used.
    #[error("{}recipe.{name} has shape {shape:?}, expected {expected}", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Part {
        /// The file, if the weights came from one.
        path: Option<PathBuf>,
        /// The part.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// A recipe's tensor without the one that belongs to it.
    #[error("{}recipe.{present} is there but recipe.{absent} is not", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    HalfPart {
        /// The file, if the weights came from one.
        path: Option<PathBuf>,
        /// The part that is there.
        present: &'static str,
        /// The part that is not.
        absent: &'static str,
    },
    /// A head without classes.
    #[error("{}the head {head} has shape {shape:?}, expected [classes, features] with at least one class", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Head {
        /// The file, if the weights came from one.
        path: Option<PathBuf>,
        /// The head's weight.
        head: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}
