//! One file per dataset format.

pub(crate) mod arrays;
pub(crate) mod cifar;
pub(crate) mod folder;
pub(crate) mod imglist;
pub(crate) mod mnist;
mod npy;
mod shared_file;
pub(crate) mod world;
pub(crate) mod zip;

use std::io::Read;
use std::path::Path;

use crate::{DataError, Limits};

/// Reads a whole file of a dataset's own making, at most `limit` bytes of it.
fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = fs_err::File::open(path).map_err(DataError::Io)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(DataError::Io)?;
    if bytes.len() as u64 > limit {
        return Err(DataError::Malformed { path: path.to_owned(), what: format!("longer than {limit} bytes") });
    }
    Ok(bytes)
}

/// Reads one image file; errors start with its id.
fn read_image(id: &str, path: &Path) -> Result<Vec<u8>, DataError> {
    read_bounded(path, Limits::MAX_FILE_BYTES)
        .map_err(|error| DataError::Read { id: id.to_owned(), what: error.to_string() })
}

/// Size and time of last change, as text; what is wrong where there is none.
fn stamp(path: &Path) -> String {
    let stamp = fs_err::metadata(path).and_then(|data| Ok((data.len(), data.modified()?)));
    match stamp {
        Ok((bytes, modified)) => format!("{bytes} {modified:?}"),
        Err(error) => error.kind().to_string(),
    }
}
