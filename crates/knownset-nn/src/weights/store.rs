//! Named tensors on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use knownset_core::digest::Hasher;

use super::{WeightsError, legacy, safetensors_file, torch_zip};

/// A tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Lengths of the axes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Vec<f32>,
}

impl HostTensor {
    /// Adds its name, shape and values.
    pub(crate) fn hash(&self, name: &str, hasher: &mut Hasher) {
        let axes: Vec<u8> = self.shape.iter().flat_map(|&axis| (axis as u64).to_le_bytes()).collect();
        let values: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.field(name.as_bytes()).field(&axes).field(&values);
    }
}

/// The tensors of a weights file by name, in the names of the network (`state_dict` unwrapped, `module.` removed).
///
/// BatchNorm's `num_batches_tracked` counters say nothing about the network and are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, HostTensor>,
    path: Option<PathBuf>,
}

impl Weights {
    /// Reads a file whole; of `FILE#PREFIX`, if there is no file of that very name, the tensors `PREFIX.NAME` as `NAME`: one
    /// network of a file that holds several. The format is told from the content, not the name.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let (file, prefix) = if path.exists() { (path, None) } else { split(path) };
        let weights = Self::from_bytes(&fs_err::read(file)?, file)?;
        let weights = match prefix {
            Some(prefix) => weights.below(prefix).map_err(|found| WeightsError::Prefix {
                path: file.into(),
                prefix: prefix.to_owned(),
                found,
            })?,
            None => weights,
        };
        Ok(Self { path: Some(path.into()), ..weights })
    }

    /// Reads the content of a weights file; `path` is what errors call it.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, WeightsError> {
        let tensors = if bytes.starts_with(b"PK\x03\x04") {
            torch_zip::read(bytes, path)?
        } else if legacy::is_legacy(bytes) {
            legacy::read(bytes, path)?
        } else if bytes.get(8) == Some(&b'{') {
            safetensors_file::read(bytes, path)?
        } else {
            return Err(WeightsError::UnknownFormat { path: path.into() });
        };
        Ok(Self::from_tensors(tensors))
    }

    /// Weights made in memory.
    pub fn from_tensors(tensors: BTreeMap<String, HostTensor>) -> Self {
        Self { tensors: without_prefix(without_counters(tensors)), path: None }
    }

    /// The tensors whose names begin with `prefix` and a dot, without these; where there are none, the beginnings there are.
    fn below(self, prefix: &str) -> Result<Self, Vec<String>> {
        let beginnings: BTreeSet<&str> = self.tensors.keys().filter_map(|name| name.split('.').next()).collect();
        let beginnings = beginnings.into_iter().map(str::to_owned).collect();
        let rest = |name: String| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
        let below: BTreeMap<_, _> =
            self.tensors.into_iter().filter_map(|(name, tensor)| Some((rest(name)?, tensor))).collect();
        if below.is_empty() { Err(beginnings) } else { Ok(Self::from_tensors(below)) }
    }

    /// The same tensors by other names or in other shapes.
    pub(crate) fn map(self, change: impl FnOnce(BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor>) -> Self {
        Self { tensors: change(self.tensors), path: self.path }
    }

    /// The same, said to come from this file.
    pub(crate) fn read_from(self, path: &Path) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    /// The tensors by name.
    pub fn into_tensors(self) -> BTreeMap<String, HostTensor> {
        self.tensors
    }

    /// Writes a `.safetensors` that [`Weights::open`] reads back bit for bit.
    pub fn save(&self, path: &Path) -> Result<(), WeightsError> {
        safetensors_file::write(&self.tensors, path)
    }

    /// Writes a `.safetensors` of half the size: every value rounded to the nearest f16.
    pub fn save_half(&self, path: &Path) -> Result<(), WeightsError> {
        safetensors_file::write_half(&self.tensors, path)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// All tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The file they came from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// SHA-256 over names, shapes and f32 values: the same for a `.pth` and its `.safetensors` twin.
    pub fn sha256(&self) -> String {
        let mut hasher = Hasher::default();
        for (name, tensor) in &self.tensors {
            tensor.hash(name, &mut hasher);
        }
        hasher.finish()
    }
}

/// The file and the prefix of `FILE#PREFIX`.
fn split(path: &Path) -> (&Path, Option<&str>) {
    let parts = path.to_str().and_then(|text| text.rsplit_once('#'));
    match parts.filter(|(file, prefix)| !file.is_empty() && !prefix.is_empty()) {
        Some((file, prefix)) => (Path::new(file), Some(prefix)),
        None => (path, None),
    }
}

fn without_counters(mut tensors: BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    tensors.retain(|name, _| name.rsplit('.').next() != Some("num_batches_tracked"));
    tensors
}

/// Removes `module.`, which PyTorch's DataParallel puts before every name, when every name has it.
fn without_prefix(tensors: BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    const PREFIX: &str = "module.";
    if tensors.is_empty() || !tensors.keys().all(|name| name.starts_with(PREFIX)) {
        return tensors;
    }
    tensors.into_iter().map(|(name, tensor)| (name[PREFIX.len()..].to_owned(), tensor)).collect()
}
