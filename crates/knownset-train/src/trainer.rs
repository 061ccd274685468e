//! The training loop: batches loaded ahead of the network, a checkpoint every epoch. What is learned is an
//! [`Objective`].

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use knownset_core::write_atomically;
use knownset_nn::network::{Named, load, to_weights};
use knownset_nn::{Compute, Precision, Weights};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Progress, State, number_parameters};
use crate::ema::Ema;
use crate::error::TrainError;
use crate::gradients::clipped;
use crate::optimiser::Optimiser;
use crate::recipe::{Moment, Step};
use crate::schedule::Schedule;
use crate::tensorboard::{EventFile, now};

/// Batches that may wait for the network.
const AHEAD: usize = 3;

/// A network and what it is to learn.
pub(crate) trait Objective: Sync {
    /// The network.
    type Network: Named + Module;
    /// Which images a step sees.
    type Indices: Sync;
    /// What a step needs.
    type Batch: Send;

    /// The network, weights yet to be set.
    fn build(&self, device: &Device) -> Self::Network;
    /// The network with its first weights.
    fn initialise(&self, network: Self::Network, seed: u64) -> Self::Network;
    /// Everything of the objective's own that decides the result.
    fn settings(&self) -> serde_json::Value;
    /// Parts of the names of parameters that weight decay spares.
    fn spared(&self) -> &'static [&'static str] {
        &[]
    }
    /// Whether its network computes in [`Training::precision`].
    fn mixes(&self) -> bool {
        false
    }
    /// The steps of an epoch.
    fn plan(&self, epoch: usize) -> Vec<Self::Indices>;
    /// Images of a step.
    fn count(&self, indices: &Self::Indices) -> usize;
    /// Reads and changes the images of a step; the error names the image.
    fn load(&self, indices: &Self::Indices, epoch: usize) -> Result<Self::Batch, String>;
    /// The loss of a step.
    fn step(&self, network: &mut Self::Network, batch: Self::Batch, moment: &Moment, device: &Device) -> Step;
    /// A figure on held-out images, for the log; the higher, the better.
    fn validate(&self, network: &Self::Network, device: &Device) -> Result<Option<f64>, String>;
    /// The tensors as they are given away.
    fn export(&self, weights: Weights) -> Weights {
        weights
    }
}

/// How a run is run, whatever it learns.
#[derive(Debug, Clone)]
pub struct Training<'a> {
    /// What identifies the training images; a run only goes on with the same.
    pub fingerprint: String,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per batch.
    pub batch: usize,
    /// Batches per step of the optimiser, whose gradients are averaged.
    pub accumulate: usize,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// Their size.
    pub schedule: Schedule,
    /// Gradients longer than this, over all parameters together, are cut to it.
    pub clip: Option<f64>,
    /// The weights given away, and validated, are a running mean with this decay.
    pub ema: Option<f64>,
    /// Which epoch's weights are given away.
    pub keep: Keep,
    /// Of initial weights, shuffling and augmentation.
    pub seed: u64,
    /// Where the network is; the same device gives the same bits again, another one others.
    pub compute: Compute,
    /// What the backbone of a classifier computes in; parameters, normalisations and losses are f32 all the same.
    pub precision: Precision,
    /// Where checkpoint, log and weights go.
    pub out: &'a Path,
    /// Whether to go on from the checkpoint there.
    pub resume: bool,
}

/// Which epoch's weights are given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last one's.
    Last,
    /// Those of the first epoch with the best figure on validation images, which are never test images.
    Best,
}

/// What happened, told as it happens; `Break` stops the run after this.
pub enum Event<'e> {
    /// A batch of so many images.
    Step(usize),
    /// An epoch came to its end and is safe on disk.
    Epoch(&'e Epoch),
}

/// An epoch's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Mean loss over the images.
    pub loss: f64,
    /// Share of augmented training images classified correctly as they went by.
    pub accuracy: f64,
    /// Share of validation images classified correctly.
    pub validation_accuracy: Option<f64>,
    /// Learning rate of its last step.
    pub rate: f64,
    /// Images a second, outliers aside.
    pub images_per_second: f64,
    /// Time spent.
    pub seconds: f64,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The weights file.
    pub weights: PathBuf,
    /// The epoch whose weights these are.
    pub kept: usize,
    /// All epochs.
    pub epochs: Vec<Epoch>,
}

/// What a run carries from step to step.
struct Run<N> {
    network: N,
    optimiser: ModuleOptimizer,
    ema: Option<Ema>,
}

impl<N: Named> Run<N> {
    /// The weights that count.
    fn weights(&self) -> Weights {
        self.ema.as_ref().map_or_else(|| to_weights(&self.network.valid()), Ema::weights)
    }
}

impl Training<'_> {
    /// Trains to the end, or as far as `watch` lets it. Weights are written to `out/weights.safetensors`, the epochs'
    /// figures to `out/log.jsonl` and to an event file of TensorBoard.
    pub(crate) fn run<O: Objective>(
        &self,
        objective: &O,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let device = self.compute.device()?;
        match self.precision.on(&device)? {
            Precision::F16 => return Err(TrainError::Underflow),
            Precision::Bf16 if !objective.mixes() => return Err(TrainError::OnlyF32),
            _ => {}
        }
        let checkpoint = Checkpoint::in_folder(self.out);
        let recording = device.clone().autodiff();
        let (mut run, mut progress) = self.start(objective, &recording, &checkpoint)?;
        let first = progress.epochs.len() as u64 + 1;
        let mut events = None;
        while progress.epochs.len() < self.epochs {
            let started = Instant::now();
            let epoch = progress.epochs.len() + 1;
            let (next, figures) = self.epoch(objective, run, epoch, &recording, watch)?;
            run = next;
            let weights = to_weights(&run.network.valid());
            let mean = run.ema.as_ref().map(Ema::weights);
            for weights in std::iter::once(&weights).chain(&mean) {
                finite(weights, epoch, epoch - 1)?;
            }
            let given = match &mean {
                None => run.network.valid(),
                Some(mean) => load(run.network.valid(), mean)?,
            };
            let validation_accuracy = objective.validate(&given, &device).map_err(TrainError::Image)?;
            if self.keep == Keep::Best && validation_accuracy.is_none() {
                return Err(TrainError::NoValidation);
            }
            let seconds = started.elapsed().as_secs_f64();
            progress.epochs.push(Epoch { validation_accuracy, seconds, ..figures });
            let best = self.keep == Keep::Best && progress.kept(self.keep) == epoch;
            let state = State { weights, ema: mean, optimiser: &run.optimiser };
            checkpoint.write(&progress, &state, best.then(|| run.weights()).as_ref())?;
            self.log(&progress.epochs)?;
            let events = match &mut events {
                Some(events) => events,
                None => events.insert(EventFile::create(self.out, first)?),
            };
            progress.epochs.last().map_or(Ok(()), |epoch| record(events, epoch))?;
            let stop = progress.epochs.last().is_some_and(|epoch| watch(Event::Epoch(epoch)).is_break());
            if stop && epoch < self.epochs {
                return Err(TrainError::Stopped { epoch, kept: epoch });
            }
        }
        let given = match self.keep {
            Keep::Last => run.weights(),
            Keep::Best => checkpoint.best()?,
        };
        let (given, kept) = (objective.export(given), progress.kept(self.keep));
        finite(&given, kept, progress.epochs.len())?;
        let weights = self.out.join("weights.safetensors");
        given.save(&weights)?;
        Ok(Trained { weights, kept, epochs: progress.epochs })
    }

    /// Everything that decides the result, `epochs` included because the schedule depends on it.
    fn settings<O: Objective>(&self, objective: &O) -> serde_json::Value {
        serde_json::json!({
            "objective": objective.settings(), "data": self.fingerprint, "epochs": self.epochs, "batch": self.batch,
            "accumulate": self.accumulate, "optimiser": self.optimiser, "schedule": self.schedule, "clip": self.clip,
            "ema": self.ema, "keep": self.keep, "seed": self.seed, "device": self.compute.to_string(),
            "precision": self.precision.to_string(),
        })
    }

    fn start<O: Objective>(
        &self,
        objective: &O,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<(Run<O::Network>, Progress), TrainError> {
        let (network, optimiser) = (objective.build(device), self.optimiser.init(objective.spared()));
        let settings = self.settings(objective);
        let averaged = |first: Weights| self.ema.map(|decay| Ema::new(decay, first));
        match checkpoint.read()? {
            None => {
                let network = number_parameters(objective.initialise(network, self.seed));
                let ema = averaged(to_weights(&network.valid()));
                Ok((Run { network, optimiser, ema }, Progress { settings, epochs: Vec::new() }))
            }
            Some(_) if !self.resume => Err(TrainError::Exists { path: self.out.into() }),
            Some(stored) => {
                if stored.progress.settings != settings {
                    let (found, given) = (stored.progress.settings.to_string(), settings.to_string());
                    return Err(TrainError::OtherRun { path: self.out.into(), found, given });
                }
                let network = number_parameters(load(network, &stored.weights)?);
                let optimiser =
                    optimiser.from_bytes(stored.optimiser).map_err(|error| TrainError::Optimiser(error.to_string()))?;
                let ema = stored.ema.and_then(averaged);
                Ok((Run { network, optimiser, ema }, stored.progress))
            }
        }
    }

    /// One pass over the training images.
    fn epoch<O: Objective>(
        &self,
        objective: &O,
        mut run: Run<O::Network>,
        epoch: usize,
        device: &Device,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(Run<O::Network>, Epoch), TrainError> {
        let started = Instant::now();
        let plan = objective.plan(epoch);
        let steps = plan.len().div_ceil(self.accumulate);
        let (mut total, mut right, mut seen, mut rate) = (0.0, 0, 0, 0.0);
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let batches = &plan;
            scope.spawn(move || {
                for indices in batches {
                    if send.send((objective.count(indices), objective.load(indices, epoch))).is_err() {
                        return;
                    }
                }
            });
            let mut sum = GradientsAccumulator::new();
            for (step, (count, batch)) in receive.into_iter().enumerate() {
                let batch = batch.map_err(TrainError::Image)?;
                let moment = Moment { epoch, epochs: self.epochs, step, seed: self.seed };
                let Step { loss, hits } = objective.step(&mut run.network, batch, &moment, device);
                let value = loss.clone().into_data().iter::<f64>().next().unwrap_or(f64::NAN);
                if !value.is_finite() {
                    return Err(TrainError::Diverged { loss: value, epoch, step: step + 1, kept: epoch - 1 });
                }
                right += hits;
                seen += count;
                total += value * count as f64;
                let (place, group) = (step % self.accumulate, step / self.accumulate);
                // The last step of an epoch may have fewer batches.
                let together = (plan.len() - group * self.accumulate).min(self.accumulate);
                let loss = if together == 1 { loss } else { loss / together as f64 };
                sum.accumulate(&run.network, GradientsParams::from_grads(loss.backward(), &run.network));
                if place + 1 == together {
                    rate = self.schedule.rate((epoch - 1) * steps + group, steps, self.epochs);
                    run = self.descend(run, sum.grads(), rate);
                }
                if watch(Event::Step(count)).is_break() {
                    return Err(TrainError::Stopped { epoch, kept: epoch - 1 });
                }
            }
            let (loss, accuracy) = (total / seen.max(1) as f64, right as f64 / seen.max(1) as f64);
            let seconds = started.elapsed().as_secs_f64();
            let images_per_second = seen as f64 / seconds;
            Ok((run, Epoch { epoch, loss, accuracy, validation_accuracy: None, rate, images_per_second, seconds }))
        })
    }

    /// One step of the optimiser.
    fn descend<N: Named>(&self, run: Run<N>, mut gradients: GradientsParams, rate: f64) -> Run<N> {
        let Run { network, mut optimiser, mut ema } = run;
        if let Some(longest) = self.clip {
            gradients = clipped(&network, gradients, longest);
        }
        let network = optimiser.step(rate, network, gradients);
        if let Some(ema) = &mut ema {
            ema.update(&to_weights(&network.valid()));
        }
        Run { network, optimiser, ema }
    }

    fn log(&self, epochs: &[Epoch]) -> Result<(), TrainError> {
        let path = self.out.join("log.jsonl");
        let parse = |source| TrainError::Checkpoint { path: path.clone(), source };
        let lines: Result<Vec<String>, _> = epochs.iter().map(serde_json::to_string).collect();
        let text = lines.map_err(parse)?.join("\n") + "\n";
        Ok(write_atomically(&path, |out| out.write_all(text.as_bytes()))?)
    }
}

/// Refuses weights that are no numbers: the loss, which is told before each step, says nothing about the last one.
fn finite(weights: &Weights, epoch: usize, kept: usize) -> Result<(), TrainError> {
    let broken = weights.iter().find(|(_, tensor)| tensor.values.iter().any(|value| !value.is_finite()));
    broken.map_or(Ok(()), |(tensor, _)| Err(TrainError::NotFinite { tensor: tensor.to_owned(), epoch, kept }))
}

/// Tells TensorBoard about an epoch.
fn record(events: &mut EventFile, epoch: &Epoch) -> std::io::Result<()> {
    let figures = [
        ("loss", Some(epoch.loss)),
        ("accuracy", Some(epoch.accuracy)),
        ("validation accuracy", epoch.validation_accuracy),
        ("learning rate", Some(epoch.rate)),
        ("images per second", Some(epoch.images_per_second)),
    ];
    for (tag, value) in figures {
        if let Some(value) = value {
            events.scalar(tag, epoch.epoch as u64, value, now())?;
        }
    }
    Ok(())
}
