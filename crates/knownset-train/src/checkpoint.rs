//! What a training run needs to go on: weights, their running mean, optimiser state and how far it came.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Bytes, Tensor};
use fs_err as fs;
use knownset_core::write_atomically;
use knownset_nn::Weights;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::trainer::{Epoch, Keep};

/// How far a run came, and by which settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Everything that decides the result; a run only goes on under the same settings.
    pub(crate) settings: serde_json::Value,
    /// Finished epochs.
    pub(crate) epochs: Vec<Epoch>,
}

impl Progress {
    /// The epoch whose weights are given away, as things stand.
    pub(crate) fn kept(&self, keep: Keep) -> usize {
        let figure = |epoch: &Epoch| epoch.validation_accuracy.unwrap_or(f64::NEG_INFINITY);
        let better = |best: &'_ Epoch, epoch: &'_ Epoch| figure(epoch) > figure(best);
        match keep {
            Keep::Last => self.epochs.len(),
            Keep::Best => {
                let best = self.epochs.iter().reduce(|best, epoch| if better(best, epoch) { epoch } else { best });
                best.map_or(0, |best| best.epoch)
            }
        }
    }
}

/// The state after an epoch.
pub(crate) struct State<'a> {
    pub(crate) weights: Weights,
    /// Their running mean, if there is one.
    pub(crate) ema: Option<Weights>,
    pub(crate) optimiser: &'a ModuleOptimizer,
}

/// The state of a run that is gone on with.
pub(crate) struct Stored {
    pub(crate) progress: Progress,
    pub(crate) weights: Weights,
    pub(crate) ema: Option<Weights>,
    pub(crate) optimiser: Bytes,
}

/// The files of a checkpoint; those of an epoch have its number, so that a crash while writing loses nothing.
pub(crate) struct Checkpoint {
    folder: PathBuf,
}

/// What is written after every epoch.
const EXTENSIONS: [&str; 3] = ["safetensors", "ema.safetensors", "optimiser"];

impl Checkpoint {
    pub(crate) fn in_folder(out: &Path) -> Self {
        Self { folder: out.join("checkpoint") }
    }

    fn file(&self, epoch: usize, extension: &str) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:04}.{extension}"))
    }

    /// The state after the last finished epoch, if there is any.
    pub(crate) fn read(&self) -> Result<Option<Stored>, TrainError> {
        let path = self.folder.join("progress.json");
        if !path.exists() {
            return Ok(None);
        }
        let parse = |source| TrainError::Checkpoint { path: path.clone(), source };
        let progress: Progress = serde_json::from_str(&fs::read_to_string(&path)?).map_err(parse)?;
        let [weights, ema, optimiser] = EXTENSIONS.map(|extension| self.file(progress.epochs.len(), extension));
        Ok(Some(Stored {
            progress,
            weights: Weights::open(&weights)?,
            ema: ema.exists().then(|| Weights::open(&ema)).transpose()?,
            optimiser: Bytes::from_bytes_vec(fs::read(optimiser)?),
        }))
    }

    /// The weights of the best epoch.
    pub(crate) fn best(&self) -> Result<Weights, TrainError> {
        Ok(Weights::open(&self.folder.join("best.safetensors"))?)
    }

    /// Keeps the state after an epoch, and the best weights if they are these, then forgets the epoch before.
    pub(crate) fn write(
        &self,
        progress: &Progress,
        state: &State<'_>,
        best: Option<&Weights>,
    ) -> Result<(), TrainError> {
        let done = progress.epochs.len();
        fs::create_dir_all(&self.folder)?;
        let [weights, ema, optimiser] = EXTENSIONS.map(|extension| self.file(done, extension));
        state.weights.save(&weights)?;
        if let Some(mean) = &state.ema {
            mean.save(&ema)?;
        }
        let bytes = state.optimiser.into_bytes().map_err(|error| TrainError::Optimiser(error.to_string()))?;
        write_atomically(&optimiser, |out| out.write_all(&bytes))?;
        if let Some(best) = best {
            best.save(&self.folder.join("best.safetensors"))?;
        }
        let text = serde_json::to_string_pretty(progress)
            .map_err(|source| TrainError::Checkpoint { path: self.folder.join("progress.json"), source })?;
        // This file names the epoch that counts; it comes last.
        write_atomically(&self.folder.join("progress.json"), |out| out.write_all(text.as_bytes()))?;
        if let Some(before) = done.checked_sub(1).filter(|&before| before > 0) {
            for old in EXTENSIONS.map(|extension| self.file(before, extension)) {
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
