//! The training loop: shuffled batches, loaded ahead of the network, a checkpoint every epoch. What is learned is an
//! [`Objective`].

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use knownset_core::write_atomically;
use knownset_nn::WeightsError;
use knownset_nn::network::{Mismatch, Named, load, to_weights};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::augment::stream;
use crate::checkpoint::{Checkpoint, Progress, number_parameters};
use crate::optimiser::{Optimiser, Schedule};

/// Batches that may wait for the network.
const AHEAD: usize = 3;

/// A network and what it is to learn.
pub(crate) trait Objective: Sync {
    /// The network.
    type Network: Named + Module;
    /// What a step needs.
    type Batch: Send;

    /// Number of training images.
    fn len(&self) -> usize;
    /// The network, weights yet to be set.
    fn build(&self, device: &Device) -> Self::Network;
    /// The network with its first weights.
    fn initialise(&self, network: Self::Network, seed: u64) -> Self::Network;
    /// Everything of the objective's own that decides the result.
    fn settings(&self) -> serde_json::Value;
    /// Reads and changes the images of a step; the error names the image.
    fn load(&self, indices: &[usize], epoch: usize) -> Result<Self::Batch, String>;
    /// The loss of a step.
    fn step(&self, network: &Self::Network, batch: Self::Batch, device: &Device) -> Step;
    /// A figure on held-out images, for the log.
    fn validate(&self, network: &Self::Network) -> Result<Option<f64>, String>;
}

/// A step forward.
pub(crate) struct Step {
    /// The mean loss of its images, a single number.
    pub(crate) loss: Tensor<1>,
    /// Images that were told right.
    pub(crate) hits: usize,
}

/// How a run is run, whatever it learns.
#[derive(Debug, Clone)]
pub struct Training<'a> {
    /// What identifies the training images; a run only goes on with the same.
    pub fingerprint: String,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// Their size.
    pub schedule: Schedule,
    /// Of initial weights, shuffling and augmentation.
    pub seed: u64,
    /// Where checkpoint, log and weights go.
    pub out: &'a Path,
    /// Whether to go on from the checkpoint there.
    pub resume: bool,
}

/// What happened, told as it happens; `Break` stops the run after this.
pub enum Event<'e> {
    /// A step over so many images.
    Step(usize),
    /// An epoch came to its end and is safe on disk.
    Epoch(&'e Epoch),
}

/// An epoch's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean loss over the steps.
    pub loss: f64,
    /// Share of augmented training images classified correctly as they went by.
    pub accuracy: f64,
    /// Share of validation images classified correctly.
    pub validation_accuracy: Option<f64>,
    /// Time spent.
    pub seconds: f64,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The weights file.
    pub weights: PathBuf,
    /// All epochs.
    pub epochs: Vec<Epoch>,
}

/// A run that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Nothing to train on.
    #[error("there are no labelled training images")]
    Empty,
    /// A network that the recipe cannot train.
    #[error("`{backbone}` is a pair of towers, not a classifier; the recipe clip trains those")]
    Backbone {
        /// Its name.
        backbone: &'static str,
    },
    /// A label beyond the classes.
    #[error("training image {image} has label {label}, but there are {classes} classes")]
    Label {
        /// Its index.
        image: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An image that cannot be read.
    #[error("{0}")]
    Image(String),
    /// The loss stopped being a number; the checkpoint of the epoch before is kept.
    #[error(
        "the loss is {loss} in epoch {epoch}, step {step}; the checkpoint of epoch {kept} is kept; try a lower --lr"
    )]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in it, from 1.
        step: usize,
        /// The last finished epoch.
        kept: usize,
    },
    /// The caller asked to stop.
    #[error("stopped in epoch {epoch}; run the same command with --resume to go on from epoch {kept}")]
    Stopped {
        /// The epoch, from 1.
        epoch: usize,
        /// The last finished epoch.
        kept: usize,
    },
    /// The folder already holds a run.
    #[error("{path}: there is a checkpoint here; give --resume to go on with it, or another folder")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The checkpoint is of another run.
    #[error("{path}: the checkpoint was made with other settings: {found}, now {given}")]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// Settings in the checkpoint.
        found: String,
        /// Settings now.
        given: String,
    },
    /// A checkpoint file that cannot be parsed.
    #[error("{path}: damaged checkpoint")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The optimiser's state cannot be written or read.
    #[error("the optimiser's state: {0}")]
    Optimiser(String),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A weights file that cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Training<'_> {
    /// Trains to the end, or as far as `watch` lets it. Weights are written to `out/weights.safetensors`, the epochs'
    /// figures to `out/log.jsonl`.
    pub(crate) fn run<O: Objective>(
        &self,
        objective: &O,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        if objective.len() == 0 {
            return Err(TrainError::Empty);
        }
        let device = Device::flex().autodiff();
        let checkpoint = Checkpoint::in_folder(self.out);
        let (mut network, mut optimiser, mut progress) = self.start(objective, &device, &checkpoint)?;
        while progress.epochs.len() < self.epochs {
            let started = Instant::now();
            let epoch = progress.epochs.len() + 1;
            let (trained, loss, accuracy) = self.epoch(objective, network, &mut optimiser, epoch, &device, watch)?;
            network = trained;
            let validation_accuracy = objective.validate(&network.valid()).map_err(TrainError::Image)?;
            let seconds = started.elapsed().as_secs_f64();
            progress.epochs.push(Epoch { epoch, loss, accuracy, validation_accuracy, seconds });
            checkpoint.write(&progress, &to_weights(&network.valid()), &optimiser)?;
            self.log(&progress.epochs)?;
            let stop = progress.epochs.last().is_some_and(|epoch| watch(Event::Epoch(epoch)).is_break());
            if stop && epoch < self.epochs {
                return Err(TrainError::Stopped { epoch, kept: epoch });
            }
        }
        let weights = self.out.join("weights.safetensors");
        to_weights(&network.valid()).save(&weights)?;
        Ok(Trained { weights, epochs: progress.epochs })
    }

    /// Everything that decides the result, `epochs` included because the schedule depends on it.
    fn settings<O: Objective>(&self, objective: &O) -> serde_json::Value {
        serde_json::json!({
            "objective": objective.settings(), "data": self.fingerprint, "images": objective.len(),
            "epochs": self.epochs, "batch": self.batch, "optimiser": self.optimiser, "schedule": self.schedule,
            "seed": self.seed,
        })
    }

    fn start<O: Objective>(
        &self,
        objective: &O,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<(O::Network, ModuleOptimizer, Progress), TrainError> {
        let (network, optimiser) = (objective.build(device), self.optimiser.init());
        let settings = self.settings(objective);
        match checkpoint.read()? {
            None => {
                let network = number_parameters(objective.initialise(network, self.seed));
                Ok((network, optimiser, Progress { settings, epochs: Vec::new() }))
            }
            Some(_) if !self.resume => Err(TrainError::Exists { path: self.out.into() }),
            Some((progress, weights, state)) => {
                if progress.settings != settings {
                    let (found, given) = (progress.settings.to_string(), settings.to_string());
                    return Err(TrainError::OtherRun { path: self.out.into(), found, given });
                }
                let network = number_parameters(load(network, &weights)?);
                let optimiser =
                    optimiser.from_bytes(state).map_err(|error| TrainError::Optimiser(error.to_string()))?;
                Ok((network, optimiser, progress))
            }
        }
    }

    /// One pass; returns the network, its mean loss and the share of images told right as they went by.
    fn epoch<O: Objective>(
        &self,
        objective: &O,
        mut network: O::Network,
        optimiser: &mut ModuleOptimizer,
        epoch: usize,
        device: &Device,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(O::Network, f64, f64), TrainError> {
        let mut order: Vec<usize> = (0..objective.len()).collect();
        order.shuffle(&mut stream(self.seed, epoch, usize::MAX - 1));
        let steps = order.len().div_ceil(self.batch);
        let (mut total, mut right) = (0.0, 0);
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let batches = &order;
            scope.spawn(move || {
                for indices in batches.chunks(self.batch) {
                    if send.send((indices.len(), objective.load(indices, epoch))).is_err() {
                        return;
                    }
                }
            });
            for (step, (count, batch)) in receive.into_iter().enumerate() {
                let batch = batch.map_err(TrainError::Image)?;
                let rate = self.schedule.rate((epoch - 1) * steps + step, self.epochs * steps);
                let Step { loss, hits } = objective.step(&network, batch, device);
                let value = loss.clone().into_data().iter::<f64>().next().unwrap_or(f64::NAN);
                if !value.is_finite() {
                    return Err(TrainError::Diverged { loss: value, epoch, step: step + 1, kept: epoch - 1 });
                }
                right += hits;
                total += value * count as f64;
                let gradients = GradientsParams::from_grads(loss.backward(), &network);
                network = optimiser.step(rate, network, gradients);
                if watch(Event::Step(count)).is_break() {
                    return Err(TrainError::Stopped { epoch, kept: epoch - 1 });
                }
            }
            let n = order.len() as f64;
            Ok((network, total / n, right as f64 / n))
        })
    }

    fn log(&self, epochs: &[Epoch]) -> Result<(), TrainError> {
        let path = self.out.join("log.jsonl");
        let parse = |source| TrainError::Checkpoint { path: path.clone(), source };
        let lines: Result<Vec<String>, _> = epochs.iter().map(serde_json::to_string).collect();
        let text = lines.map_err(parse)?.join("\n") + "\n";
        Ok(write_atomically(&path, |out| out.write_all(text.as_bytes()))?)
    }
}
