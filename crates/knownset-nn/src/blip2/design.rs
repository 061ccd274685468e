//! What a captioner's folder says beside its weights: the network's layout and how images become its input.

use std::path::{Path, PathBuf};

use knownset_core::Preprocess;

use super::config::Config;
use crate::bundled_checkpoints::SPRITE_CAPTIONER;
use crate::checkpoint::{CheckpointError, Design};
use crate::clip::blip_preprocess_from;
use crate::network::Blip2Spec;
use crate::tokenizer::{LanguageTokenizer, TokenizerError};
use crate::weights::Weights;

/// Layout and preprocessing of a captioner to train, with the special tokens of a tokenizer that was
/// [trained](LanguageTokenizer::train).
#[derive(Debug, Clone)]
pub struct CaptionerDesign {
    /// The network.
    pub spec: Blip2Spec,
    /// How images become its input.
    pub preprocess: Preprocess,
    files: Design,
}

impl CaptionerDesign {
    /// The layout of [`SPRITE_CAPTIONER`].
    pub fn sprite(tokenizer: &LanguageTokenizer) -> Result<Self, CheckpointError> {
        Self::new(Design::bundled(SPRITE_CAPTIONER)?, tokenizer)
    }

    /// That of `config.json` and `preprocessor_config.json` of a folder, whose `vocab_size` and special tokens become those
    /// of the tokenizer.
    pub fn open(folder: &Path, tokenizer: &LanguageTokenizer) -> Result<Self, CheckpointError> {
        Self::new(Design::open(folder)?, tokenizer)
    }

    fn new(mut files: Design, tokenizer: &LanguageTokenizer) -> Result<Self, CheckpointError> {
        let begin = tokenizer.begin();
        files.set(&["text_config", "vocab_size"], tokenizer.vocabulary().into())?;
        files.set(&["text_config", "bos_token_id"], begin.into())?;
        files.set(&["text_config", "eos_token_id"], begin.into())?;
        files.set(&["text_config", "pad_token_id"], tokenizer.padding().into())?;
        files.set(&["image_token_index"], tokenizer.image().into())?;
        let spec = Config::read(&files.config()?)?.spec;
        let preprocess = blip_preprocess_from(&files.preprocessor()?, spec.vision.image)?;
        Ok(Self { spec, preprocess, files })
    }

    /// Writes what is there beside weights: layout, preprocessing and tokenizer.
    pub fn save(&self, folder: &Path, tokenizer: &LanguageTokenizer) -> Result<(), TokenizerError> {
        self.files.save(folder)?;
        tokenizer.save(folder)
    }

    /// Writes trained weights as `model.safetensors` in float16; their path.
    pub fn save_weights(folder: &Path, weights: &Weights) -> Result<PathBuf, CheckpointError> {
        Design::save_weights(folder, weights)
    }
}
