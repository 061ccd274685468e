//! `preprocessor_config.json` → how images become the network's input.

use std::path::Path;

use knownset_core::{Filter, Preprocess, ScaledPreprocess};
use serde_json::Value;

use crate::checkpoint::{CheckpointError, Section};

/// What the folder says; without a word, what the released checkpoints do.
pub(super) fn read(path: &Path) -> Result<ScaledPreprocess, CheckpointError> {
    from_section(&if path.is_file() { Section::open(path)? } else { Section::parse(b"{}", path)? })
}

/// What the file's content says.
pub(super) fn from_section(section: &Section) -> Result<ScaledPreprocess, CheckpointError> {
    section.expect_resized_and_rescaled()?;
    if !section.get("pad_size").is_null() {
        return Err(section.wrong("images are padded to a fixed pad_size, which is not supported"));
    }
    let (shortest, longest) = match section.get("size") {
        Value::Null => (800, 1333),
        Value::Object(_) => {
            let size = section.object(&["size"]);
            (size.pixels("shortest_edge")?, size.pixels("longest_edge")?)
        }
        _ => {
            let longest = if section.get("max_size").is_null() { 1333 } else { section.pixels("max_size")? };
            (section.pixels("size")?, longest)
        }
    };
    let (mean, std) = if section.flag("do_normalize", true)? {
        let mean = section.channels("image_mean", Preprocess::IMAGENET_MEAN)?;
        (mean, section.deviations("image_std", Preprocess::IMAGENET_STD)?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    Ok(ScaledPreprocess { shortest, longest, filter: section.filter(Filter::Bilinear)?, mean, std })
}
