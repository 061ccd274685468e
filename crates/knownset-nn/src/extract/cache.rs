//! Finished parts of extractions on disk, addressed by what they were computed from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use knownset_core::{Tensor, TensorFile, TensorFileError};
use ndarray::{Array1, Axis, Ix1, Ix2, Ix3};

use super::Extracted;

/// The folder name carries the layout's version: a new layout ignores the old folder.
const LAYOUT: &str = "features-v2";

/// A folder of feature parts, safe to delete at any time.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A part cannot be read or written.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// A part is readable but not what was written.
    #[error("{path}: a damaged cache entry; delete it")]
    Damaged {
        /// The part.
        path: PathBuf,
    },
}

impl Cache {
    /// The cache below `root`, which is made when something is first written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The parts of one network on one dataset.
    pub(super) fn features(&self, key: &str) -> Store {
        Store { folder: self.root.join(LAYOUT).join(key) }
    }
}

/// The parts under one key.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    fn path(&self, rows: &Range<usize>) -> PathBuf {
        self.folder.join(format!("rows-{:09}-{:09}.safetensors", rows.start, rows.end))
    }

    /// The part of those rows, if it was finished before.
    pub(super) fn read(&self, rows: &Range<usize>) -> Result<Option<Extracted>, CacheError> {
        let path = self.path(rows);
        if !path.exists() {
            return Ok(None);
        }
        let file = TensorFile::read(&path)?;
        decode(file, rows).map(Some).ok_or(CacheError::Damaged { path })
    }

    /// Keeps a finished part.
    pub(super) fn write(&self, rows: &Range<usize>, part: &Extracted) -> Result<(), CacheError> {
        let indices = |rows: &[usize]| -> Tensor { rows.iter().map(|&row| row as i64).collect::<Array1<i64>>().into() };
        let mut tensors = BTreeMap::from([
            ("embedding".to_owned(), part.embedding.clone().into()),
            ("rows".to_owned(), indices(&part.rows)),
            ("truncated".to_owned(), indices(&part.truncated)),
        ]);
        if let Some(logits) = &part.logits {
            tensors.insert("logits".into(), logits.clone().into());
        }
        if let Some(patches) = &part.patches {
            tensors.insert("patches".into(), patches.clone().into());
        }
        if let Some(rotations) = &part.rotations {
            tensors.insert("rotations".into(), rotations.clone().into());
        }
        let unreadable = serde_json::json!(part.unreadable).to_string();
        let metadata = BTreeMap::from([("unreadable".to_owned(), unreadable)]);
        Ok(TensorFile { tensors, metadata }.write(&self.path(rows))?)
    }
}

fn decode(mut file: TensorFile, range: &Range<usize>) -> Option<Extracted> {
    let mut indices = |name: &str| -> Option<Vec<usize>> {
        let Tensor::I64(array) = file.tensors.remove(name)? else { return None };
        let array = array.into_dimensionality::<Ix1>().ok()?;
        array.into_iter().map(|row| usize::try_from(row).ok().filter(|row| range.contains(row))).collect()
    };
    let (rows, truncated) = (indices("rows")?, indices("truncated")?);
    let mut matrix = |name: &str| match file.tensors.remove(name) {
        Some(Tensor::F32(array)) => array.into_dimensionality::<Ix2>().ok().filter(|array| array.nrows() == rows.len()),
        _ => None,
    };
    let (embedding, logits) = (matrix("embedding")?, matrix("logits"));
    let mut cube = |name: &str| match file.tensors.remove(name) {
        Some(Tensor::F32(array)) => array.into_dimensionality::<Ix3>().ok().filter(|a| a.len_of(Axis(0)) == rows.len()),
        _ => None,
    };
    let (patches, rotations) = (cube("patches"), cube("rotations"));
    let unreadable: Vec<(usize, String)> = serde_json::from_str(file.metadata.get("unreadable")?).ok()?;
    (rows.len() + unreadable.len() == range.len()).then_some(Extracted {
        rows,
        logits,
        embedding,
        patches,
        rotations,
        truncated,
        unreadable,
    })
}
