//! The training loop: shuffled batches, decoded and augmented ahead of the network, SGD, a checkpoint every epoch.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::{Preprocess, write_atomically};
use knownset_nn::network::{Mismatch, Named, ResNet, Vit, initialise, load, to_weights};
use knownset_nn::{Architecture, BackboneEntry, WeightsError};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, stream};
use crate::checkpoint::{Checkpoint, Progress, number_parameters};
use crate::recipes::cross_entropy;

/// Batches that may wait for the network.
const AHEAD: usize = 3;
/// Images per batch when validating.
const VALIDATION_BATCH: usize = 64;

/// Labelled images, preprocessed but not augmented. Loading happens on several threads.
pub trait Labelled: Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Index of an image's class.
    fn label(&self, index: usize) -> usize;
    /// `[3, side, side]` values; the error names the image.
    fn input(&self, index: usize) -> Result<Vec<f32>, String>;
}

/// Stochastic gradient descent: v ← m v + (g + decay · w), w ← w − lr · v, the rate falling from `lr` to 0 along half
/// a cosine, step by step (Loshchilov & Hutter 2017).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Learning rate of the first step.
    pub lr: f64,
    /// Momentum m.
    pub momentum: f64,
    /// L2 penalty on every parameter.
    pub weight_decay: f64,
}

/// One training run.
pub struct Training<'a> {
    /// The network to train, from random weights.
    pub backbone: &'static BackboneEntry,
    /// Number of classes K.
    pub classes: usize,
    /// Training images.
    pub data: &'a dyn Labelled,
    /// Images whose accuracy is reported after every epoch; they change nothing.
    pub validation: Option<&'a dyn Labelled>,
    /// What identifies the training images; a run only goes on with the same.
    pub fingerprint: String,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// The optimiser.
    pub sgd: Sgd,
    /// Changes to training images.
    pub augment: Augment,
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

/// A network that can be trained: `[n, 3, side, side]` → `[n, K]`.
trait Classifier: Named + Module {
    fn logits(&self, images: Tensor<4>) -> Tensor<2>;
}

impl Classifier for ResNet {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }
}

impl Classifier for Vit {
    fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward(images)
    }
}

/// Images and labels of one step.
struct Batch {
    values: Vec<f32>,
    labels: Vec<usize>,
}

impl Training<'_> {
    /// Trains to the end, or as far as `watch` lets it. Weights are written to `out/weights.safetensors`, the epochs'
    /// figures to `out/log.jsonl`.
    pub fn run(&self, watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Trained, TrainError> {
        if self.data.is_empty() {
            return Err(TrainError::Empty);
        }
        for image in 0..self.data.len() {
            let (label, classes) = (self.data.label(image), self.classes);
            if label >= classes {
                return Err(TrainError::Label { image, label, classes });
            }
        }
        let device = Device::flex().autodiff();
        match self.backbone.architecture {
            Architecture::ResNet(spec) => self.train(ResNet::new(spec, self.classes, &device), &device, watch),
            Architecture::Vit(spec) => self.train(Vit::new(spec, self.classes, &device), &device, watch),
        }
    }

    fn train<M: Classifier>(
        &self,
        network: M,
        device: &Device,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let checkpoint = Checkpoint::in_folder(self.out);
        let (mut network, mut optimiser, mut progress) = self.start(network, &checkpoint)?;
        while progress.epochs.len() < self.epochs {
            let started = Instant::now();
            let epoch = progress.epochs.len() + 1;
            let (trained, loss, accuracy) = self.epoch(network, &mut optimiser, epoch, device, watch)?;
            network = trained;
            let validation_accuracy = self.validation.map(|data| self.validate(&network, data)).transpose()?;
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
    fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "backbone": self.backbone.name, "classes": self.classes, "data": self.fingerprint,
            "images": self.data.len(), "epochs": self.epochs, "batch": self.batch, "sgd": self.sgd,
            "pad": self.augment.pad, "flip": self.augment.flip, "seed": self.seed,
        })
    }

    fn start<M: Classifier>(
        &self,
        network: M,
        checkpoint: &Checkpoint,
    ) -> Result<(M, ModuleOptimizer, Progress), TrainError> {
        let momentum = MomentumConfig { momentum: self.sgd.momentum, dampening: 0.0, nesterov: false };
        let decay = WeightDecayConfig::new(self.sgd.weight_decay as f32);
        let optimiser = SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(decay)).init();
        match checkpoint.read()? {
            None => {
                let network = number_parameters(initialise(network, self.seed));
                Ok((network, optimiser, Progress { settings: self.settings(), epochs: Vec::new() }))
            }
            Some(_) if !self.resume => Err(TrainError::Exists { path: self.out.into() }),
            Some((progress, weights, state)) => {
                let given = self.settings();
                if progress.settings != given {
                    let (found, given) = (progress.settings.to_string(), given.to_string());
                    return Err(TrainError::OtherRun { path: self.out.into(), found, given });
                }
                let network = number_parameters(load(network, &weights)?);
                let optimiser =
                    optimiser.from_bytes(state).map_err(|error| TrainError::Optimiser(error.to_string()))?;
                Ok((network, optimiser, progress))
            }
        }
    }

    /// One pass; returns the network, its mean loss and its accuracy on the augmented images.
    fn epoch<M: Classifier>(
        &self,
        mut network: M,
        optimiser: &mut ModuleOptimizer,
        epoch: usize,
        device: &Device,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(M, f64, f64), TrainError> {
        let mut order: Vec<usize> = (0..self.data.len()).collect();
        order.shuffle(&mut stream(self.seed, epoch, usize::MAX - 1));
        let steps = order.len().div_ceil(self.batch);
        let (mut total, mut right) = (0.0, 0);
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let batches = &order;
            scope.spawn(move || {
                for indices in batches.chunks(self.batch) {
                    if send.send(self.load(indices, epoch)).is_err() {
                        return;
                    }
                }
            });
            for (step, batch) in receive.into_iter().enumerate() {
                let batch = batch?;
                let count = batch.labels.len();
                let done = (epoch - 1) * steps + step;
                let rate = self.sgd.lr * cosine(done, self.epochs * steps);
                let (images, labels) = self.tensors(&batch, device);
                let logits = network.logits(images);
                right += hits(&logits, &batch.labels);
                let loss = cross_entropy::loss(logits, labels);
                let value = loss.clone().into_data().iter::<f64>().next().unwrap_or(f64::NAN);
                if !value.is_finite() {
                    return Err(TrainError::Diverged { loss: value, epoch, step: step + 1, kept: epoch - 1 });
                }
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

    fn load(&self, indices: &[usize], epoch: usize) -> Result<Batch, TrainError> {
        let inputs: Result<Vec<Vec<f32>>, String> = indices
            .par_iter()
            .map(|&index| {
                let input = self.data.input(index)?;
                Ok(self.augment.apply(&input, self.preprocess(), &mut stream(self.seed, epoch, index)))
            })
            .collect();
        let labels = indices.iter().map(|&index| self.data.label(index)).collect();
        Ok(Batch { values: inputs.map_err(TrainError::Image)?.concat(), labels })
    }

    fn preprocess(&self) -> &Preprocess {
        &self.backbone.preprocess
    }

    fn tensors(&self, batch: &Batch, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let (n, side) = (batch.labels.len(), self.preprocess().size as usize);
        let images = TensorData::new(batch.values.clone(), [n, 3, side, side]);
        let labels = TensorData::new(batch.labels.iter().map(|&label| label as i64).collect::<Vec<_>>(), [n]);
        (Tensor::from_data(images, device), Tensor::from_data(labels, device))
    }

    fn validate<M: Classifier>(&self, network: &M, data: &dyn Labelled) -> Result<f64, TrainError> {
        let network = network.valid();
        let device = Device::flex();
        let mut right = 0;
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let inputs: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(|&index| data.input(index)).collect();
            let labels = chunk.iter().map(|&index| data.label(index)).collect();
            let batch = Batch { values: inputs.map_err(TrainError::Image)?.concat(), labels };
            let (images, _) = self.tensors(&batch, &device);
            right += hits(&network.logits(images), &batch.labels);
        }
        Ok(right as f64 / data.len().max(1) as f64)
    }

    fn log(&self, epochs: &[Epoch]) -> Result<(), TrainError> {
        let path = self.out.join("log.jsonl");
        let parse = |source| TrainError::Checkpoint { path: path.clone(), source };
        let lines: Result<Vec<String>, _> = epochs.iter().map(serde_json::to_string).collect();
        let text = lines.map_err(parse)?.join("\n") + "\n";
        Ok(write_atomically(&path, |out| out.write_all(text.as_bytes()))?)
    }
}

/// Half a cosine from 1 at step 0 towards 0 at the last.
fn cosine(step: usize, steps: usize) -> f64 {
    f64::midpoint(1.0, (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

/// How many rows have their largest logit at their label, the first of equals.
fn hits(logits: &Tensor<2>, labels: &[usize]) -> usize {
    let [_, classes] = logits.dims();
    let values: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
    let rows = values.chunks_exact(classes.max(1)).zip(labels);
    rows.filter(|(row, label)| {
        let best = row.iter().enumerate().fold(0, |best, (index, value)| if *value > row[best] { index } else { best });
        best == **label
    })
    .count()
}
