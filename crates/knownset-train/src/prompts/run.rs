//! A stage of prompt learning as the training loop wants it.

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::network::{Init, Rule, initialise_with, load, to_weights};
use knownset_nn::{HostTensor, Weights};
use ndarray::{Array2, Array3, Array4};
use rayon::prelude::*;
use serde_json::json;

use super::context::{Context, Prompts};
use super::{PromptRecipe, Prompting, Seen, Stage, Start};
use crate::augment::stream;
use crate::pictures::{Labelled, normalised};
use crate::recipe::{Moment, Step, hits};
use crate::recipes::clip::unit;
use crate::sampler::{KNOWN, shuffled};
use crate::trainer::Objective;

/// Images that go through the image tower together.
const ENCODED: usize = 64;

/// What the frozen image tower says about labelled images.
pub(super) struct Encoded {
    /// `[n, d]`.
    images: Array2<f32>,
    /// `[n, P, d]`.
    patches: Option<Array3<f32>>,
    labels: Vec<usize>,
}

impl Prompting<'_> {
    /// Images as they are, all in one.
    pub(super) fn encode_whole(&self, data: &dyn Labelled) -> Result<Encoded, String> {
        let indices: Vec<usize> = (0..data.len()).collect();
        let mut images = Vec::with_capacity(data.len() * self.clip.spec().projection);
        for chunk in indices.chunks(ENCODED) {
            images.extend(self.encode(data, chunk, false, |picture, _| picture)?.images);
        }
        let images = Array2::from_shape_vec((data.len(), self.clip.spec().projection), images);
        let labels = indices.iter().map(|&index| data.label(index)).collect();
        Ok(Encoded { images: images.map_err(|error| error.to_string())?, patches: None, labels })
    }

    /// Images, changed by `change`, through the image tower.
    fn encode(
        &self,
        data: &dyn Labelled,
        indices: &[usize],
        patches: bool,
        change: impl Fn(Vec<f32>, usize) -> Vec<f32> + Sync,
    ) -> Result<Encoded, String> {
        let spec = self.clip.preprocess();
        let input = |&index: &usize| Ok(normalised(change(data.picture(index)?, index), spec));
        let inputs: Result<Vec<Vec<f32>>, String> = indices.par_iter().map(input).collect();
        let side = spec.size as usize;
        let inputs = Array4::from_shape_vec((indices.len(), 3, side, side), inputs?.concat());
        let inputs = inputs.map_err(|error| error.to_string())?;
        let (images, patches) = if patches {
            let (images, patches) = self.clip.images_and_patches(inputs.view());
            (images, Some(patches))
        } else {
            (self.clip.images(inputs.view()), None)
        };
        Ok(Encoded { images, patches, labels: indices.iter().map(|&index| data.label(index)).collect() })
    }
}

impl Encoded {
    /// Rows of length one.
    fn units(&self) -> (Tensor<2>, Option<Tensor<3>>) {
        let device = Device::flex();
        let rows = |values: Vec<f32>, n: usize, d: usize| {
            unit(Tensor::<2>::from_data(TensorData::new(values, [n, d]), &device))
        };
        let (n, d) = self.images.dim();
        let images = rows(self.images.iter().copied().collect(), n, d);
        let patches = self.patches.as_ref().map(|patches| {
            let (n, count, d) = patches.dim();
            rows(patches.iter().copied().collect(), n * count, d).reshape([n, count, d])
        });
        (images, patches)
    }
}

/// What the first stage left.
pub(super) struct First {
    pub(super) vectors: HostTensor,
    /// `[K, d]`, rows of length one.
    pub(super) classes: Tensor<2>,
}

/// One stage.
pub(super) struct Run<'a> {
    pub(super) task: &'a Prompting<'a>,
    pub(super) recipe: &'a dyn PromptRecipe,
    /// The recipe's name with its parameters.
    pub(super) label: &'a str,
    /// The stage, and its number.
    pub(super) stage: &'a Stage,
    pub(super) number: usize,
    pub(super) prompts: &'a Prompts<'a>,
    /// Training images, by their place in the data.
    pub(super) images: &'a [usize],
    pub(super) validation: Option<&'a Encoded>,
    /// Nothing in the first stage.
    pub(super) first: Option<&'a First>,
    pub(super) seed: u64,
    pub(super) batch: usize,
}

impl Objective for Run<'_> {
    type Network = Context;
    type Indices = Vec<usize>;
    type Batch = Encoded;

    fn build(&self, device: &Device) -> Context {
        self.stage.layout.context(self.task.classes.len(), self.task.clip.spec().text.width, device)
    }

    fn initialise(&self, network: Context, seed: u64) -> Context {
        let (init, first) = match (self.stage.start, self.first) {
            (Start::First(noise), Some(first)) => (Init::Uniform(noise), Some(first)),
            (Start::Normal(deviation) | Start::First(deviation), _) => (Init::Normal(deviation), None),
        };
        let network = initialise_with(network, seed, |_, _| Rule::Set(init));
        let Some(first) = first else { return network };
        let mut tensors = to_weights(&network).into_tensors();
        for tensor in tensors.values_mut() {
            let repeated = first.vectors.values.iter().cycle();
            tensor.values.iter_mut().zip(repeated).for_each(|(value, first)| *value += first);
        }
        load(network, &Weights::from_tensors(tensors)).expect("the same names and shapes")
    }

    fn settings(&self) -> serde_json::Value {
        let Prompting { clip, classes, augment, .. } = self.task;
        let digest = |first: &First| {
            let vectors = [("vectors".to_owned(), first.vectors.clone())];
            Weights::from_tensors(vectors.into_iter().collect()).sha256()
        };
        json!({
            "recipe": self.label, "stage": self.stage.name, "towers": clip.origin().weights_sha256, "classes": classes,
            "augment": augment.to_string(), "images": self.images.len(), "first": self.first.map(digest),
        })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        let order = shuffled(self.images.len(), KNOWN, self.seed, epoch);
        order.chunks(self.batch).map(|places| places.iter().map(|&place| self.images[place]).collect()).collect()
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Encoded, String> {
        let Prompting { clip, data, augment, .. } = self.task;
        let side = clip.preprocess().size as usize;
        self.task.encode(*data, indices, self.recipe.reads_patches(), |picture, index| {
            augment.apply(picture, side, &mut stream(self.seed, epoch, index))
        })
    }

    fn step(&self, network: &mut Context, batch: Encoded, _: &Moment, _: &Device) -> Step {
        let (images, patches) = batch.units();
        let prompts = self.prompts.embed(network.vectors.val());
        let classes = self.first.map_or_else(|| prompts.clone(), |first| first.classes.clone());
        let scale = f64::from(self.task.clip.scale());
        let seen = Seen { images, patches, labels: batch.labels, prompts, classes, scale };
        Step::new(self.recipe.loss(self.number, &seen), &seen.cosines(), &seen.labels)
    }

    fn validate(&self, network: &Context, _: &Device) -> Result<Option<f64>, String> {
        let Some(data) = self.validation else { return Ok(None) };
        let (images, _) = data.units();
        let classes =
            self.first.map_or_else(|| self.prompts.embed(network.vectors.val()), |first| first.classes.clone());
        let right = hits(&images.matmul(classes.transpose()), &data.labels);
        Ok(Some(right as f64 / data.labels.len().max(1) as f64))
    }
}
