//! Weights that ship with the program.

use std::path::Path;

use crate::backbone::{LoadedBackbone, assemble};
use crate::backbones::find;
use crate::clip::SPRITE_CLIP;
use crate::error::NnError;
use crate::weights::Weights;

/// The weights of `sprite-resnet`, trained on Sprite World; `assets/README.md` has the command that made them.
static SPRITE_RESNET: &[u8] = include_bytes!("../assets/sprite-resnet.safetensors");

/// Classifiers with bundled weights; the bundled towers are [`Clip::bundled`](crate::clip::Clip::bundled).
static BUNDLED: &[(&str, &[u8])] = &[("sprite-resnet", SPRITE_RESNET)];

/// Whether a backbone needs no weights file.
pub fn is_bundled(name: &str) -> bool {
    name == SPRITE_CLIP || BUNDLED.iter().any(|(bundled, _)| *bundled == name)
}

/// Loads a backbone of the registry with the weights that ship with the program.
///
/// # Errors
/// An unknown name, or a backbone without bundled weights.
pub fn load_bundled(name: &str) -> Result<LoadedBackbone, NnError> {
    let entry = find(name)?;
    let bytes = BUNDLED.iter().find(|(bundled, _)| *bundled == name).map(|(_, bytes)| *bytes);
    let bytes = bytes.ok_or(NnError::NotBundled { backbone: entry.name })?;
    assemble(entry, &Weights::from_bytes(bytes, Path::new("the bundled weights"))?)
}
