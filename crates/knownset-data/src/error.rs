//! What can be wrong with a dataset.

use std::path::PathBuf;

use crate::{DecodeError, PickleError};

/// A dataset that cannot be opened, or an image of it that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    // === the reference ===
    /// A scheme that no dataset format has.
    #[error("unknown dataset scheme `{scheme}:` in `{reference}`; the nearest is `{nearest}`")]
    UnknownScheme {
        /// The whole reference.
        reference: String,
        /// Its scheme.
        scheme: String,
        /// Syntax of the format with the most similar name.
        nearest: &'static str,
    },
    /// Neither a reference nor a folder.
    #[error("`{reference}` is no folder, and no dataset reference such as `folder:PATH`")]
    NotAReference {
        /// The text given.
        reference: String,
    },
    /// A known scheme followed by something it does not understand.
    #[error("`{reference}` is not of the form `{syntax}`")]
    Syntax {
        /// The text given.
        reference: String,
        /// The form expected.
        syntax: &'static str,
    },
    /// A bundled world, or a split of one, that there is not.
    #[error(transparent)]
    World(#[from] crate::world::WorldError),

    /// A corruption, or a severity, that there is not.
    #[error(transparent)]
    Corruption(#[from] crate::corruptions::CorruptionError),

    // === the dataset ===
    /// A file or folder that cannot be opened or read; the message names the path.
    #[error(transparent)]
    Io(std::io::Error),
    /// Nothing to read.
    #[error("{}: no images{}", path.display(), folder.as_ref().map(|folder| format!(" under `{folder}`")).unwrap_or_default())]
    Empty {
        /// The folder, archive or list.
        path: PathBuf,
        /// The folder inside the archive that was asked for.
        folder: Option<String>,
    },
    /// A class that would silently shift the labels of those after it if it were left out.
    #[error("{}: class folder `{class}` holds no images; remove it or fill it", path.display())]
    EmptyClass {
        /// The folder or archive.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A part of the dataset is not there.
    #[error("{}: {what} not found", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// A file that contradicts its format.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A line of an image list that cannot be used.
    #[error("{}, line {line}: {problem}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: ListProblem,
    },
    /// A pickle that is not the plain dict of a CIFAR batch. It was never executed.
    #[error("{}: {problem}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What was found in it.
        problem: PickleError,
    },
    /// An archive entry that is refused for what it could do.
    #[error("{}: entry `{entry}` refused: {why}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Name of the entry.
        entry: String,
        /// Why it is refused.
        why: String,
    },

    // === one image ===
    /// An image whose bytes cannot be read.
    #[error("{id}: {what}")]
    Read {
        /// The image.
        id: String,
        /// What went wrong.
        what: String,
    },
    /// An image whose bytes are no acceptable image.
    #[error("{id}: {problem}")]
    Decode {
        /// The image.
        id: String,
        /// What is wrong with it.
        problem: DecodeError,
    },
}

/// What is wrong with a line of an image list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListProblem {
    /// A path alone.
    #[error("no label after the path")]
    NoLabel,
    /// A label alone.
    #[error("no path before the label")]
    NoPath,
    /// Neither a whole number from −1 up nor a dict.
    #[error("label `{label}` is neither a whole number from -1 up nor a dict such as {{\"class_label\": 0}}")]
    BadLabel {
        /// The text where the label should be.
        label: String,
    },
    /// A dict without the one key that matters.
    #[error("label `{label}` has no `class_label`")]
    NoClassLabel {
        /// The dict.
        label: String,
    },
    /// A path that leads out of the root.
    #[error("path `{image}` leaves the root folder")]
    EscapesRoot {
        /// The path.
        image: String,
    },
    /// Bytes that are no text.
    #[error("not UTF-8")]
    NotText,
}
