//! A checkpoint folder before it has weights: what is to be trained.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{CheckpointError, Section};
use crate::bundled_checkpoints::bundled_checkpoint;
use crate::weights::Weights;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// The content of `config.json` and `preprocessor_config.json`, kept as it is but for what training decides.
#[derive(Debug, Clone)]
pub(crate) struct Design {
    /// The folder, or the name that errors go by.
    name: PathBuf,
    config: Value,
    preprocessor: Value,
}

impl Design {
    pub(crate) fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let read = |file: &str| Ok::<_, CheckpointError>(Section::open(&folder.join(file))?.value().clone());
        Ok(Self { name: folder.into(), config: read(CONFIG)?, preprocessor: read(PREPROCESSOR)? })
    }

    /// The same of a checkpoint that ships with the program.
    pub(crate) fn bundled(name: &str) -> Result<Self, CheckpointError> {
        let checkpoint = bundled_checkpoint(name);
        let name = PathBuf::from(name);
        let read = |file: &str| {
            let content = checkpoint.and_then(|checkpoint| checkpoint.file(file)).unwrap_or_default();
            Ok::<_, CheckpointError>(Section::parse(content, &name.join(file))?.value().clone())
        };
        let (config, preprocessor) = (read(CONFIG)?, read(PREPROCESSOR)?);
        Ok(Self { name, config, preprocessor })
    }

    /// Sets a value of the configuration, below as many objects as there are keys before the last.
    pub(crate) fn set(&mut self, keys: &[&str], value: Value) -> Result<(), CheckpointError> {
        let mut place = &mut self.config;
        for (depth, key) in keys.iter().enumerate() {
            let Value::Object(object) = place else {
                let (path, what) = (self.name.join(CONFIG), format!("{} is no object", keys[..depth].join(".")));
                return Err(CheckpointError::Config { path, what });
            };
            place = object.entry(*key).or_insert_with(|| Value::Object(serde_json::Map::new()));
        }
        *place = value;
        Ok(())
    }

    pub(crate) fn config(&self) -> Result<Section, CheckpointError> {
        Section::of(self.config.clone(), &self.name.join(CONFIG))
    }

    pub(crate) fn preprocessor(&self) -> Result<Section, CheckpointError> {
        Section::of(self.preprocessor.clone(), &self.name.join(PREPROCESSOR))
    }

    /// Writes both files.
    pub(crate) fn save(&self, folder: &Path) -> std::io::Result<()> {
        for (file, content) in [(CONFIG, &self.config), (PREPROCESSOR, &self.preprocessor)] {
            let text = format!("{content:#}\n");
            knownset_core::write_atomically(&folder.join(file), |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }

    /// Writes trained weights as `model.safetensors` in float16; their path.
    pub(crate) fn save_weights(folder: &Path, weights: &Weights) -> Result<PathBuf, CheckpointError> {
        let path = folder.join("model.safetensors");
        weights.save_half(&path)?;
        Ok(path)
    }
}
