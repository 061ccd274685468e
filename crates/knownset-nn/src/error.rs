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
    /// A backbone without the patches that a head reads.
    #[error("`{backbone}` gives no features of patches, which a head for tokens reads")]
    NoPatches {
        /// The backbone.
        backbone: String,
    },
    /// Weights that are not a head for tokens.
    #[error("{}not a head for tokens, as the recipe tagood trains it", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    NotAHead {
        /// The file, if the weights came from one.
        path: Option<PathBuf>,
    },
    /// A head for other patches than the backbone's.
    #[error("{}the head reads {} tokens of length {}, but `{backbone}` gives {} of length {}", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default(), reads[0], reads[1], gives[0], gives[1])]
    OtherTokens {
        /// The head's file, if the weights came from one.
        path: Option<PathBuf>,
        /// Tokens it reads, and their length.
        reads: [usize; 2],
        /// The backbone.
        backbone: String,
        /// Patches it gives, and their length.
        gives: [usize; 2],
    },
    /// A head that was trained on the patches of other weights.
    #[error("{}the head was trained on the patches of other weights than these of `{backbone}`", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    OtherTower {
        /// The head's file, if the weights came from one.
        path: Option<PathBuf>,
        /// The backbone.
        backbone: String,
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
