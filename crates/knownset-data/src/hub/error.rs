//! What can be wrong with a model of the hub.

use std::path::PathBuf;

/// A model that cannot be had from the hub or its cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not a reference to a model.
    #[error("`{reference}` is not of the form `hf:ORGANISATION/NAME[@REVISION]`")]
    Syntax {
        /// The text given.
        reference: String,
    },
    /// A file of the cache that cannot be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No folder for the cache.
    #[error("no home folder for the model cache: set HF_HOME")]
    NoHome,
    /// Not in the cache, and the network is not to be used.
    #[error("{model}: {what} is not in the cache {}, and HF_HUB_OFFLINE forbids fetching it", cache.display())]
    Offline {
        /// The model.
        model: String,
        /// What is missing.
        what: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// 401 or 403.
    #[error("{url}: access denied ({status}); {hint}")]
    Denied {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What may help.
        hint: String,
    },
    /// 404.
    #[error("{url}: not found; check the model's name and revision")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// Another answer than asked for, also when asked again.
    #[error("{url}: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or one that broke, also when tried again.
    #[error("{url}: {what}; with HF_HUB_OFFLINE=1 a copy in the cache is used")]
    Network {
        /// What was asked for.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// An answer that is none of a hub, or a dangerous one.
    #[error("{url}: {what}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// None of the model's files is one that is wanted.
    #[error("{model} has none of {wanted}")]
    NothingWanted {
        /// The model.
        model: String,
        /// The patterns.
        wanted: String,
    },
    /// A file larger than is allowed.
    #[error("{file} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size, or how much of it came.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A file whose content is not what the hub says.
    #[error("{file}: SHA-256 is {found}, the hub says {stated}; the download was removed")]
    Digest {
        /// The file.
        file: String,
        /// The hub's.
        stated: String,
        /// The content's.
        found: String,
    },
    /// The caller asked to stop; what was loaded is kept and continued from.
    #[error("stopped")]
    Stopped,
}

impl HubError {
    /// Whether the same request may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => false,
        }
    }
}
