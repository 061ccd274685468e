//! What can be wrong with a weights file.

use std::io;
use std::path::PathBuf;

/// A weights file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be opened, read or written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither safetensors, nor a PyTorch zip, nor an old PyTorch pickle.
    #[error("{path}: not a weights file (neither .safetensors nor a PyTorch .pt/.pth)")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A broken `.safetensors`.
    #[error("{path}: {source}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: safetensors::SafeTensorError,
    },
    /// A broken zip container.
    #[error("{path}: {source}")]
    Zip {
        /// The file.
        path: PathBuf,
        /// What the parser found.
        source: zip::result::ZipError,
    },
    /// A pickle that is broken or wants something run.
    #[error("{path}: {source}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        source: PickleError,
    },
    /// The pickle's top object holds no tensors.
    #[error("{path}: no tensors found, expected a dictionary of tensors or a checkpoint with `state_dict`")]
    NoTensors {
        /// The file.
        path: PathBuf,
    },
    /// No tensors under the prefix asked for.
    #[error("{path}: no tensors named `{prefix}.…`; their names begin with {}", first(found))]
    Prefix {
        /// The file.
        path: PathBuf,
        /// The prefix.
        prefix: String,
        /// What comes before the first dot of the names there are.
        found: Vec<String>,
    },
    /// An element type with no f32 reading.
    #[error("{path}: tensor {name} has element type {dtype}, which is not supported")]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },
    /// A zip member the pickle refers to is missing.
    #[error("{path}: {entry} is missing")]
    EntryMissing {
        /// The file.
        path: PathBuf,
        /// The member.
        entry: String,
    },
    /// A zip member that is compressed, which PyTorch never does.
    #[error("{path}: {entry} is compressed, PyTorch stores its members")]
    EntryCompressed {
        /// The file.
        path: PathBuf,
        /// The member.
        entry: String,
    },
    /// Values stored with the most significant byte first.
    #[error("{path}: big-endian values are not supported")]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// A size stated in the file contradicts what the file holds.
    #[error("{path}: {what} states {stated} bytes but the file holds {held}")]
    Size {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: String,
        /// Bytes the file says.
        stated: u64,
        /// Bytes there are.
        held: u64,
    },
    /// A tensor that reaches outside its storage, or repeats its elements.
    #[error("{path}: tensor {name} of shape {shape:?} does not fit its storage of {storage} elements")]
    OutsideStorage {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Elements of the storage.
        storage: usize,
    },
}

/// The first ten, and how many more there are.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = names.len().saturating_sub(SHOWN);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// A pickle refused. Nothing in a pickle is ever run: globals are looked up in a fixed list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// A global outside the list, such as `os.system`.
    #[error("the pickle asks for `{module}.{name}`, which is not part of a weights file; refused, nothing was run")]
    Global {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
    },
    /// The data ends inside an instruction.
    #[error("the pickle ends early, at byte {at}")]
    Truncated {
        /// Offset in the pickle.
        at: usize,
    },
    /// An instruction outside what PyTorch writes.
    #[error("unsupported pickle instruction 0x{code:02x} at byte {at}")]
    Instruction {
        /// The opcode.
        code: u8,
        /// Offset in the pickle.
        at: usize,
    },
    /// An instruction whose operands are missing or of the wrong kind.
    #[error("malformed pickle at byte {at}: {why}")]
    Malformed {
        /// Offset in the pickle.
        at: usize,
        /// What was expected.
        why: &'static str,
    },
    /// More objects than any weights file has.
    #[error("the pickle makes more than {limit} objects")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}
