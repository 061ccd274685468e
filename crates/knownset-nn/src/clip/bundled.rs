//! Towers that ship with the program.

use std::path::Path;

use super::Clip;
use super::design::ClipDesign;
use super::layouts::{self, Layout};
use crate::checkpoint::CheckpointError;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// Name of the towers trained on Sprite World's captions; `assets/README.md` has the command that made them.
pub const SPRITE_CLIP: &str = "sprite-clip";

static CONFIG: &[u8] = include_bytes!("../../assets/sprite-clip/config.json");
static PREPROCESSOR: &[u8] = include_bytes!("../../assets/sprite-clip/preprocessor_config.json");
static TOKENIZER: &[u8] = include_bytes!("../../assets/sprite-clip/tokenizer.json");
static WEIGHTS: &[u8] = include_bytes!("../../assets/sprite-clip/model.safetensors");

impl ClipDesign {
    /// Layout and preprocessing of [`SPRITE_CLIP`].
    pub fn bundled() -> Result<Self, CheckpointError> {
        Ok(Self::parse(CONFIG, PREPROCESSOR, Path::new(SPRITE_CLIP))?.0)
    }
}

impl Clip {
    /// Opens the bundled towers.
    pub fn bundled() -> Result<Self, CheckpointError> {
        let name = Path::new(SPRITE_CLIP);
        let (ClipDesign { spec, preprocess }, end) = ClipDesign::parse(CONFIG, PREPROCESSOR, name)?;
        let tokenizer = Tokenizer::parse(TOKENIZER, spec.context, &name.join("tokenizer.json"))?;
        let weights = Weights::from_bytes(WEIGHTS, &name.join("model.safetensors"))?;
        let weights = weights.map(|tensors| layouts::to_hugging_face(Layout::HuggingFace, tensors));
        Self::assemble(SPRITE_CLIP, spec, end, &weights, tokenizer, preprocess)
    }
}
