//! What can be wrong with a tokenizer.

use std::io;
use std::path::PathBuf;

/// A tokenizer that cannot be had, or text it cannot take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file that cannot be opened, read or written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A folder without a tokenizer.
    #[error("{}: no tokenizer: neither {names}", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Names looked for.
        names: &'static str,
    },
    /// A file that contradicts its format.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Room for fewer tokens than the alphabet has.
    #[error("a vocabulary of {vocabulary} tokens is too small, the bytes and the special tokens take {least}")]
    VocabularyTooSmall {
        /// Tokens asked for.
        vocabulary: usize,
        /// The least there can be.
        least: usize,
    },
    /// A context without room for the start and the end token, or longer than any text tower's.
    #[error("a context of {length} tokens is outside 2 to 65536")]
    ContextLength {
        /// Tokens of the context.
        length: usize,
    },
    /// A token that is not in the vocabulary.
    #[error("token {id} is not in the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The token's number.
        id: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A text without an end token where the text tower would find it.
    #[error("no end token among the first {context} tokens of a text")]
    NoEnd {
        /// Tokens that the text tower reads.
        context: usize,
    },
    /// Text that the vocabulary cannot express, or captions that cannot be learnt from.
    #[error("tokenizer: {what}")]
    Text {
        /// What the tokenizer found.
        what: String,
    },
}
