//! What a recipe is: the parts it adds to a network, the views it wants of a picture, and the loss of a step.

use std::collections::BTreeMap;
use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::ParamError;
use knownset_nn::HostTensor;
use knownset_nn::network::{Init, Rule};
use rand_chacha::ChaCha8Rng;

use crate::augment::{Augment, stream};
use crate::network::Network;

/// A way to train a classifier. The type's values are the recipe's parameters.
pub(crate) trait Recipe: Debug + Send + Sync {
    /// What the network has beside its backbone and linear layer.
    type Parts: Module + ModuleDisplay + Debug + Sync;

    /// Whether the parameters are in range.
    fn check(&self) -> Result<(), ParamError> {
        Ok(())
    }

    /// Outputs of the linear layer for so many known classes.
    fn outputs(&self, classes: usize) -> usize {
        classes
    }

    /// How the views of a picture are made; `standard` is what the user asked for.
    fn views(&self, standard: &Augment) -> Views {
        Views::one(standard.clone())
    }

    /// Outliers in a step for every picture of a known class, of a recipe that learns from them.
    fn outliers_per_picture(&self) -> f64 {
        0.0
    }

    /// The parts, with values yet to be set, for an embedding of `width` and so many known classes.
    fn parts(&self, width: usize, classes: usize, device: &Device) -> Self::Parts;

    /// How a tensor of the parts begins; its name starts with `recipe.`, its shape is the checkpoint's.
    fn init(&self, name: &str, shape: &[usize]) -> Rule {
        let _ = (name, shape);
        Rule::ByShape
    }

    /// Parts of the names of parameters that weight decay spares.
    fn spared(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the network says about embeddings `[n, d]`: `[n, K]`, the largest being its choice.
    fn logits(&self, network: &Network<Self::Parts>, embedding: Tensor<2>) -> Tensor<2> {
        network.trunk.classify(embedding)
    }

    /// The loss of a step. It may change what the network [keeps](crate::network::keep).
    fn step(&self, network: &mut Network<Self::Parts>, batch: &Batch, moment: &Moment) -> Step;

    /// Turns the trained tensors, by their names in the file, into a backbone with a linear layer named `head`.
    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        let _ = (tensors, head);
    }
}

/// How views are made of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Views {
    /// Changes that all views share, made once.
    pub(crate) once: Augment,
    /// The changes of each view, made after those.
    pub(crate) each: Vec<Augment>,
}

impl Views {
    /// A single view.
    pub(crate) fn one(augment: Augment) -> Self {
        Self { once: augment, each: vec![Augment::default()] }
    }
}

/// What a step learns from.
pub(crate) struct Batch {
    /// Views of the pictures of known classes, each `[n, 3, side, side]`, normalised.
    pub(crate) views: Vec<Tensor<4>>,
    /// Their classes.
    pub(crate) labels: Vec<usize>,
    /// The same views of outliers `[m, 3, side, side]`; no view if there are none.
    pub(crate) outliers: Vec<Tensor<4>>,
    /// Number of known classes K.
    pub(crate) classes: usize,
}

impl Batch {
    /// The first view.
    pub(crate) fn images(&self) -> Tensor<4> {
        self.views[0].clone()
    }

    /// Number of pictures of known classes.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Labels `[n]`.
    pub(crate) fn targets(&self, device: &Device) -> Tensor<1, Int> {
        targets(&self.labels, device)
    }

    /// The first view of the outliers behind that of the pictures, for one pass through the network; and n.
    pub(crate) fn with_outliers(&self) -> (Tensor<4>, usize) {
        let all = std::iter::once(&self.views).chain(std::iter::once(&self.outliers));
        (Tensor::cat(all.filter_map(|views| views.first().cloned()).collect(), 0), self.len())
    }
}

/// Labels as a tensor `[n]`.
pub(crate) fn targets(labels: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    Tensor::from_data(TensorData::new(values, [labels.len()]), device)
}

/// Where a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// From 1.
    pub(crate) epoch: usize,
    /// Epochs of the whole run.
    pub(crate) epochs: usize,
    /// Step of the epoch, from 0.
    pub(crate) step: usize,
    /// The run's seed.
    pub(crate) seed: u64,
}

impl Moment {
    /// Whether this share of the run's epochs is over.
    pub(crate) fn past(&self, share: f64) -> bool {
        (self.epoch - 1) as f64 >= share * self.epochs as f64
    }

    /// Random numbers of this step's own.
    pub(crate) fn random(&self) -> ChaCha8Rng {
        stream(self.seed ^ 0x5157_4550, self.epoch, self.step)
    }
}

/// A step forward.
pub(crate) struct Step {
    /// The mean loss of its pictures, a single number.
    pub(crate) loss: Tensor<1>,
    /// Pictures that were told right.
    pub(crate) hits: usize,
}

impl Step {
    /// A loss, with the pictures counted whose largest logit of `[n, K]` is at their label, the first of equals.
    pub(crate) fn new(loss: Tensor<1>, logits: &Tensor<2>, labels: &[usize]) -> Self {
        Self { loss, hits: hits(logits, labels) }
    }
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

/// Begins with a constant.
pub(crate) const fn constant(value: f32) -> Rule {
    Rule::Set(Init::Constant(value))
}
