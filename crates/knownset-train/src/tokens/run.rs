//! A head's training as the training loop wants it.

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::Weights;
use knownset_nn::network::{TokenHeadSpec, initialise_with};
use serde_json::json;

use super::chosen::TokenClassification;
use super::set::Labelled;
use crate::recipe::{Moment, Step, hits};
use crate::recipes::tagood::{Centred, TagOod};
use crate::sampler::batches;
use crate::trainer::Objective;

/// Images per batch when validating.
const VALIDATION_BATCH: usize = 64;

pub(super) struct Run<'a> {
    pub(super) task: TokenClassification<'a>,
    pub(super) recipe: &'a TagOod,
    /// Its name with its parameters.
    pub(super) label: &'a str,
    pub(super) spec: TokenHeadSpec,
    pub(super) seed: u64,
    pub(super) batch: usize,
}

impl Run<'_> {
    /// `[n, P, d]`.
    fn tensor(&self, tokens: Vec<f32>, n: usize, device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(tokens, [n, self.spec.tokens, self.spec.inputs]), device)
    }
}

impl Objective for Run<'_> {
    type Network = Centred;
    type Indices = Vec<usize>;
    type Batch = Labelled;

    fn build(&self, device: &Device) -> Centred {
        TagOod::network(&self.spec, device)
    }

    fn initialise(&self, network: Centred, seed: u64) -> Centred {
        initialise_with(network, seed, TagOod::init)
    }

    fn settings(&self) -> serde_json::Value {
        let TokenClassification { classes, data, tower, .. } = self.task;
        json!({
            "recipe": self.label, "classes": classes, "images": data.len(), "tokens": data.token_shape(), "tower": tower,
        })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, _: usize) -> Result<Labelled, String> {
        Ok(self.task.data.pick(indices))
    }

    fn step(&self, network: &mut Centred, batch: Labelled, moment: &Moment, device: &Device) -> Step {
        let tokens = self.tensor(batch.tokens, batch.labels.len(), device);
        self.recipe.step(network, tokens, &batch.labels, moment)
    }

    fn validate(&self, network: &Centred, device: &Device) -> Result<Option<f64>, String> {
        let Some(data) = self.task.validation else { return Ok(None) };
        let images: Vec<usize> = (0..data.len()).collect();
        let right = images.chunks(VALIDATION_BATCH).map(|images| {
            let Labelled { tokens, labels } = data.pick(images);
            let embedding = network.head.embed(self.tensor(tokens, labels.len(), device));
            hits(&network.head.classify(embedding), &labels)
        });
        Ok(Some(right.sum::<usize>() as f64 / data.len() as f64))
    }

    fn export(&self, weights: Weights) -> Weights {
        let mut tensors = weights.into_tensors();
        self.recipe.export(&mut tensors, self.task.tower);
        Weights::from_tensors(tensors)
    }
}
