//! Training a classifier: labelled images, cross-entropy.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_nn::network::{Named, ResNet, Vit, initialise};
use knownset_nn::{Architecture, BackboneEntry};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::augment::{Augment, stream};
use crate::recipes::cross_entropy;
use crate::trainer::{Event, Objective, Step, TrainError, Trained, Training};

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

/// What a classifier is trained on.
#[derive(Clone, Copy)]
pub struct Classification<'a> {
    /// The network to train, from random weights.
    pub backbone: &'static BackboneEntry,
    /// Number of classes K.
    pub classes: usize,
    /// Training images.
    pub data: &'a dyn Labelled,
    /// Images whose accuracy is reported after every epoch; they change nothing.
    pub validation: Option<&'a dyn Labelled>,
    /// Changes to training images.
    pub augment: &'a Augment,
}

impl Classification<'_> {
    /// Trains to the end, or as far as `watch` lets it.
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        for image in 0..self.data.len() {
            let (label, classes) = (self.data.label(image), self.classes);
            if label >= classes {
                return Err(TrainError::Label { image, label, classes });
            }
        }
        let seed = training.seed;
        match self.backbone.architecture {
            Architecture::ResNet(spec) => training.run(
                &Run { task: *self, seed, build: |device: &Device| ResNet::new(spec, self.classes, device) },
                watch,
            ),
            Architecture::Vit(spec) => training
                .run(&Run { task: *self, seed, build: |device: &Device| Vit::new(spec, self.classes, device) }, watch),
            Architecture::Clip => Err(TrainError::Backbone { backbone: self.backbone.name }),
        }
    }
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

/// The task with the kind of network it is for.
struct Run<'a, F> {
    task: Classification<'a>,
    seed: u64,
    build: F,
}

/// Images and labels of one step.
struct Batch {
    values: Vec<f32>,
    labels: Vec<usize>,
}

impl<M: Classifier, F: Fn(&Device) -> M + Sync> Objective for Run<'_, F> {
    type Network = M;
    type Batch = Batch;

    fn len(&self) -> usize {
        self.task.data.len()
    }

    fn build(&self, device: &Device) -> M {
        (self.build)(device)
    }

    fn initialise(&self, network: M, seed: u64) -> M {
        initialise(network, seed)
    }

    fn settings(&self) -> serde_json::Value {
        let Classification { backbone, classes, augment, .. } = self.task;
        serde_json::json!({
            "backbone": backbone.name, "classes": classes, "augment": augment,
        })
    }

    fn load(&self, indices: &[usize], epoch: usize) -> Result<Batch, String> {
        let Classification { backbone, data, augment, .. } = self.task;
        let inputs: Result<Vec<Vec<f32>>, String> = indices
            .par_iter()
            .map(|&index| {
                let input = data.input(index)?;
                Ok(augmented(augment, input, &backbone.preprocess, &mut stream(self.seed, epoch, index)))
            })
            .collect();
        Ok(Batch { values: inputs?.concat(), labels: indices.iter().map(|&index| data.label(index)).collect() })
    }

    fn step(&self, network: &M, batch: Batch, device: &Device) -> Step {
        let (images, labels) = self.tensors(&batch, device);
        let logits = network.logits(images);
        let hits = hits(&logits, &batch.labels);
        Step { loss: cross_entropy::loss(logits, labels), hits }
    }

    fn validate(&self, network: &M) -> Result<Option<f64>, String> {
        let Some(data) = self.task.validation else { return Ok(None) };
        let device = Device::flex();
        let mut right = 0;
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let inputs: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(|&index| data.input(index)).collect();
            let labels = chunk.iter().map(|&index| data.label(index)).collect();
            let batch = Batch { values: inputs?.concat(), labels };
            let (images, _) = self.tensors(&batch, &device);
            right += hits(&network.logits(images), &batch.labels);
        }
        Ok(Some(right as f64 / data.len().max(1) as f64))
    }
}

impl<F> Run<'_, F> {
    fn tensors(&self, batch: &Batch, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let (n, side) = (batch.labels.len(), self.task.backbone.preprocess.size as usize);
        let images = TensorData::new(batch.values.clone(), [n, 3, side, side]);
        let labels = TensorData::new(batch.labels.iter().map(|&label| label as i64).collect::<Vec<_>>(), [n]);
        (Tensor::from_data(images, device), Tensor::from_data(labels, device))
    }
}

/// A preprocessed input, changed as the picture it was made from.
pub(crate) fn augmented(augment: &Augment, mut input: Vec<f32>, spec: &Preprocess, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let side = spec.size as usize;
    let each_channel = |values: &mut [f32], change: fn(f32, f32, f32) -> f32| {
        for (channel, plane) in values.chunks_mut(side * side).enumerate() {
            let (mean, deviation) = (spec.mean[channel], spec.std[channel]);
            for value in plane {
                *value = change(*value, mean, deviation);
            }
        }
    };
    each_channel(&mut input, |value, mean, deviation| value * deviation + mean);
    let mut picture = augment.apply(input, side, rng);
    each_channel(&mut picture, |value, mean, deviation| (value - mean) / deviation);
    picture
}

/// How many rows have their largest logit at their label, the first of equals.
pub(crate) fn hits(logits: &Tensor<2>, labels: &[usize]) -> usize {
    let [_, classes] = logits.dims();
    let values: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
    let rows = values.chunks_exact(classes.max(1)).zip(labels);
    rows.filter(|(row, label)| {
        let best = row.iter().enumerate().fold(0, |best, (index, value)| if *value > row[best] { index } else { best });
        best == **label
    })
    .count()
}
