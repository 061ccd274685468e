//! What a training run needs to go on: weights, optimiser state and how far it came.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Tensor};
use fs_err as fs;
use knownset_core::write_atomically;
use knownset_nn::Weights;
use serde::{Deserialize, Serialize};

use crate::trainer::{Epoch, TrainError};

/// How far a run came, and by which settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Everything that decides the result; a run only goes on under the same settings.
    pub(crate) settings: serde_json::Value,
    /// Finished epochs.
    pub(crate) epochs: Vec<Epoch>,
}

/// The files of a checkpoint, in one folder per finished epoch so that a crash while writing loses nothing.
pub(crate) struct Checkpoint {
    folder: PathBuf,
}

impl Checkpoint {
    pub(crate) fn in_folder(out: &Path) -> Self {
        Self { folder: out.join("checkpoint") }
    }

    fn file(&self, epoch: usize, extension: &str) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:04}.{extension}"))
    }

    /// The state after the last finished epoch, if there is any.
    pub(crate) fn read(&self) -> Result<Option<(Progress, Weights, Bytes)>, TrainError> {
        let path = self.folder.join("progress.json");
        if !path.exists() {
            return Ok(None);
        }
        let parse = |source| TrainError::Checkpoint { path: path.clone(), source };
        let progress: Progress = serde_json::from_str(&fs::read_to_string(&path)?).map_err(parse)?;
        let done = progress.epochs.len();
        let weights = Weights::open(&self.file(done, "safetensors"))?;
        let optimiser = Bytes::from_bytes_vec(fs::read(self.file(done, "optimiser"))?);
        Ok(Some((progress, weights, optimiser)))
    }

    /// Keeps the state after an epoch, then forgets the epoch before.
    pub(crate) fn write(
        &self,
        progress: &Progress,
        weights: &Weights,
        optimiser: &ModuleOptimizer,
    ) -> Result<(), TrainError> {
        let done = progress.epochs.len();
        fs::create_dir_all(&self.folder)?;
        weights.save(&self.file(done, "safetensors"))?;
        let bytes = optimiser.into_bytes().map_err(|error| TrainError::Optimiser(error.to_string()))?;
        write_atomically(&self.file(done, "optimiser"), |out| out.write_all(&bytes))?;
        let text = serde_json::to_string_pretty(progress)
            .map_err(|source| TrainError::Checkpoint { path: self.folder.join("progress.json"), source })?;
        // This file names the epoch that counts; it comes last.
        write_atomically(&self.folder.join("progress.json"), |out| out.write_all(text.as_bytes()))?;
        if let Some(before) = done.checked_sub(1).filter(|&before| before > 0) {
            for extension in ["safetensors", "optimiser"] {
                let old = self.file(before, extension);
                if old.exists() {
                    fs::remove_file(old)?;
                }
            }
        }
        Ok(())
    }
}

/// Numbers a module's parameters in the order of a walk over it, so that an optimiser's state, which is kept by
/// parameter number, fits the same network in another process.
pub(crate) fn number_parameters<M: Module>(module: M) -> M {
    struct Numbering(u64);
    impl ModuleMapper for Numbering {
        fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            param.id = ParamId::from(self.0);
            param
        }
    }
    module.map(&mut Numbering(0))
}
