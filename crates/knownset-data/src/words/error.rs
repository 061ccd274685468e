//! What can be wrong with words.

use std::path::PathBuf;

/// Templates, class names or a corpus that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    // === the reference ===
    /// Neither the name of a set of templates nor a file.
    #[error("no templates named {name:?}, and no such file; there are: {}", known.join(", "))]
    UnknownTemplates {
        /// The text given.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// No bundled corpus has this name.
    #[error("no bundled words named {name:?}; there are: {}", known.join(", "))]
    UnknownCorpus {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// No perturbation has this name.
    #[error("no perturbation named {name:?}; there are: {}", known.join(", "))]
    UnknownPerturbation {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// A list that was to be left out of a corpus is not in it.
    #[error("{}: no word list {name:?}; there are: {}", path.display(), known.join(", "))]
    UnknownList {
        /// The corpus.
        path: PathBuf,
        /// The list asked for.
        name: String,
        /// The lists that exist.
        known: Vec<String>,
    },

    // === the content ===
    /// A file or folder that cannot be opened or read; the message names the path.
    #[error(transparent)]
    Io(std::io::Error),
    /// A file longer than any word list.
    #[error("{file}: longer than {limit} bytes")]
    TooLong {
        /// The file, or the archive and the entry in it.
        file: String,
        /// The most that is read.
        limit: u64,
    },
    /// A line that cannot be used.
    #[error("{file}, line {line}: {what}")]
    Line {
        /// The file, or the archive and the entry in it.
        file: String,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file that starts with `[` and is no list of strings in JSON.
    #[error("{}: not a JSON list of strings: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Nothing to read.
    #[error("{}: no {what}", path.display())]
    Empty {
        /// The file, folder or archive.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A file, folder or archive that is not what it should be.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
