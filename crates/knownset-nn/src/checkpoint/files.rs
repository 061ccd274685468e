//! The weights of a checkpoint folder, in one file or in several with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{CheckpointError, Section};
use crate::weights::Weights;

/// Names of Hugging Face's weights files, the preferred first.
pub(crate) const HUGGING_FACE: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Reads the weights of a folder: the first of these files that is there; an index stands for the files it names.
pub(crate) fn weights(folder: &Path, files: &[&str]) -> Result<Weights, CheckpointError> {
    match files.iter().map(|file| folder.join(file)).find(|path| path.is_file()) {
        Some(path) if path.extension().is_some_and(|extension| extension == "json") => sharded(folder, &path),
        Some(path) => Ok(Weights::open(&path)?),
        None => Err(CheckpointError::NoWeights { folder: folder.into(), names: files.join(", ") }),
    }
}

/// Every tensor of the index must be in the file it names, and every tensor of a file in the index.
fn sharded(folder: &Path, index: &Path) -> Result<Weights, CheckpointError> {
    let section = Section::open(index)?;
    let Some(map) = section.get("weight_map").as_object() else { return Err(section.wrong("no weight_map")) };
    let mut places = BTreeMap::new();
    for (name, file) in map {
        let file = file.as_str().filter(|file| !file.contains(['/', '\\', ':']) && !matches!(*file, "" | "." | ".."));
        let file = file.ok_or_else(|| section.wrong(format!("{name} is in no plain file of the folder")))?;
        places.insert(name.as_str(), file);
    }
    let files: BTreeSet<&str> = places.values().copied().collect();
    let mut tensors = BTreeMap::new();
    for file in files {
        for (name, tensor) in Weights::open(&folder.join(file))?.into_tensors() {
            if places.get(name.as_str()) != Some(&file) {
                return Err(section.wrong(format!("{name} is in {file}, which the index does not say")));
            }
            tensors.insert(name, tensor);
        }
    }
    match places.keys().find(|&&name| !tensors.contains_key(name)) {
        Some(name) => Err(section.wrong(format!("{name} is not in {}", places[name]))),
        None => Ok(Weights::from_tensors(tensors).read_from(index)),
    }
}
