//! What a detector's folder says beside its weights: the network's layout and how images become its input.

use std::path::{Path, PathBuf};

use knownset_core::{Preprocess, Resize, ScaledPreprocess};

use super::{WordPiece, config, preprocess};
use crate::bundled_checkpoints::SPRITE_DETECTOR;
use crate::checkpoint::{CheckpointError, Design};
use crate::network::GroundingSpec;
use crate::tokenizer::TokenizerError;
use crate::weights::Weights;

/// Layout and preprocessing of a detector to train, for texts cut by a vocabulary of its own.
#[derive(Debug, Clone)]
pub struct DetectorDesign {
    /// The network.
    pub spec: GroundingSpec,
    /// How images become its input.
    pub preprocess: ScaledPreprocess,
    files: Design,
}

impl DetectorDesign {
    /// The layout of [`SPRITE_DETECTOR`].
    pub fn sprite(words: &WordPiece) -> Result<Self, CheckpointError> {
        Self::new(Design::bundled(SPRITE_DETECTOR)?, words)
    }

    /// That of `config.json` and `preprocessor_config.json` of a folder, whose `vocab_size` becomes that of the words.
    pub fn open(folder: &Path, words: &WordPiece) -> Result<Self, CheckpointError> {
        Self::new(Design::open(folder)?, words)
    }

    fn new(mut files: Design, words: &WordPiece) -> Result<Self, CheckpointError> {
        files.set(&["text_config", "vocab_size"], words.vocabulary().into())?;
        let spec = config::read(&files.config()?)?;
        Ok(Self { spec, preprocess: preprocess::from_section(&files.preprocessor()?)?, files })
    }

    /// How a picture becomes its input where all have to be of one size: what [`ScaledPreprocess`] does to square ones.
    pub fn square(&self) -> Preprocess {
        let ScaledPreprocess { shortest, longest, filter, mean, std } = self.preprocess.clone();
        let size = shortest.min(longest);
        Preprocess { resize: Resize::Exact { size, filter }, size, mean, std }
    }

    /// Writes what is there beside weights: layout, preprocessing and vocabulary.
    pub fn save(&self, folder: &Path, words: &WordPiece) -> Result<(), TokenizerError> {
        self.files.save(folder)?;
        words.save(folder)
    }

    /// Writes trained weights as `model.safetensors` in float16; their path.
    pub fn save_weights(folder: &Path, weights: &Weights) -> Result<PathBuf, CheckpointError> {
        Design::save_weights(folder, weights)
    }
}
