//! The weights of a CLIP folder.

use std::path::{Path, PathBuf};

use crate::checkpoint::{self, CheckpointError};
use crate::weights::Weights;

/// Names of weights files, the preferred first.
const FILES: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];

/// Reads the weights of a folder: the first of [`FILES`], else the only weights file there is.
pub(super) fn weights(folder: &Path) -> Result<Weights, CheckpointError> {
    match checkpoint::weights(folder, &FILES) {
        Err(CheckpointError::NoWeights { names, .. }) => Ok(Weights::open(&only(folder, &names)?)?),
        found => found,
    }
}

fn only(folder: &Path, names: &str) -> Result<PathBuf, CheckpointError> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(extension, "safetensors" | "pt" | "pth" | "bin") && path.is_file() {
            found.push(path);
        }
    }
    match found.pop() {
        Some(path) if found.is_empty() => Ok(path),
        _ => Err(CheckpointError::NoWeights {
            folder: folder.into(),
            names: format!("{names}, nor one single .safetensors, .pt, .pth or .bin"),
        }),
    }
}
