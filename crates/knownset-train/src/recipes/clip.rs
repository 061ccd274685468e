//! CLIP: images and texts that belong together get the largest cosine of their batch (Radford et al. 2021).
//!
//! Loss: the mean of two cross-entropies over the scaled cosines of a batch, one along images, one along texts; the
//! scale is learned and at most 100. Deviation: batches are small, so a text may also fit another image of its batch;
//! such pairs count as wrong, as in the paper.

use std::ops::ControlFlow;

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_nn::network::{Clip, ClipSpec, clip_init, initialise_with};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::cross_entropy;
use super::{Kind, Outliers, RecipeEntry};
use crate::augment::{Augment, stream};
use crate::error::TrainError;
use crate::pictures::{Labelled, normalised};
use crate::recipe::{Moment, Step, hits};
use crate::sampler::batches;
use crate::trainer::{Event, Objective, Trained, Training};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "clip",
    title: "CLIP",
    year: 2021,
    paper: "https://arxiv.org/abs/2103.00020",
    loss: "-log softmax(s cos(image, texts)) at its own text, and the same for texts",
    outliers: Outliers::None,
    params: &[],
    kind: Kind::Towers,
};

/// The largest factor that the learned scale may give the cosines.
const LARGEST_SCALE: f64 = 100.0;
/// Images per batch when validating.
const VALIDATION_BATCH: usize = 64;

/// Pictures with texts. Loading happens on several threads.
pub trait Captioned: Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `[3, side, side]` values in 0..1, not normalised yet, and the token ids of one of its texts, start and end token included; the error names
    /// the image.
    fn pair(&self, index: usize, random: &mut ChaCha8Rng) -> Result<(Vec<f32>, Vec<u32>), String>;
}

/// What a pair of towers is trained on.
#[derive(Clone, Copy)]
pub struct Contrastive<'a> {
    /// The towers to train, from random weights.
    pub spec: &'a ClipSpec,
    /// How images become inputs.
    pub preprocess: &'a Preprocess,
    /// Training images and texts.
    pub data: &'a dyn Captioned,
    /// Labelled images and the token ids of one prompt a class: the accuracy of the nearest prompt is reported after
    /// every epoch; it changes nothing.
    pub validation: Option<(&'a dyn Labelled, &'a [Vec<u32>])>,
    /// Changes to training images.
    pub augment: &'a Augment,
}

impl Contrastive<'_> {
    /// Trains to the end, or as far as `watch` lets it.
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        if self.data.is_empty() {
            return Err(TrainError::Empty);
        }
        training.run(&Run { task: *self, seed: training.seed, batch: training.batch }, watch)
    }
}

struct Run<'a> {
    task: Contrastive<'a>,
    seed: u64,
    batch: usize,
}

/// Images and texts of one step.
struct Batch {
    values: Vec<f32>,
    texts: Vec<Vec<u32>>,
}

impl Objective for Run<'_> {
    type Network = Clip;
    type Indices = Vec<usize>;
    type Batch = Batch;

    fn build(&self, device: &Device) -> Clip {
        Clip::new(self.task.spec, device)
    }

    fn initialise(&self, network: Clip, seed: u64) -> Clip {
        initialise_with(network, seed, clip_init(self.task.spec))
    }

    fn settings(&self) -> serde_json::Value {
        let Contrastive { spec, augment, .. } = self.task;
        let images = self.task.data.len();
        serde_json::json!({ "towers": format!("{spec:?}"), "augment": augment.to_string(), "images": images })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Batch, String> {
        let Contrastive { preprocess, data, augment, .. } = self.task;
        let pairs: Result<Vec<_>, String> = indices
            .par_iter()
            .map(|&index| {
                let random = &mut stream(self.seed, epoch, index);
                let (picture, text) = data.pair(index, random)?;
                let picture = augment.apply(picture, preprocess.size as usize, random);
                Ok((normalised(picture, preprocess), text))
            })
            .collect();
        let (inputs, texts): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
        Ok(Batch { values: inputs.concat(), texts })
    }

    fn step(&self, network: &mut Clip, batch: Batch, _: &Moment, device: &Device) -> Step {
        let n = batch.texts.len();
        let texts = texts(network, &batch.texts, device);
        let images = network.images(self.images(batch.values, n, device));
        let scale = network.scale().clamp_max(LARGEST_SCALE).unsqueeze();
        let logits = unit(images).matmul(unit(texts).transpose()) * scale;
        let own: Vec<usize> = (0..n).collect();
        let hits = hits(&logits, &own);
        Step { loss: loss(logits), hits }
    }

    fn validate(&self, network: &Clip, device: &Device) -> Result<Option<f64>, String> {
        let Contrastive { validation: Some((data, prompts)), preprocess, .. } = self.task else { return Ok(None) };
        let classes = unit(texts(network, prompts, device)).transpose();
        let mut right = 0;
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let load = |&index: &usize| Ok(normalised(data.picture(index)?, preprocess));
            let inputs: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(load).collect();
            let labels: Vec<usize> = chunk.iter().map(|&index| data.label(index)).collect();
            let images = unit(network.images(self.images(inputs?.concat(), chunk.len(), device)));
            right += hits(&images.matmul(classes.clone()), &labels);
        }
        Ok(Some(right as f64 / data.len().max(1) as f64))
    }
}

impl Run<'_> {
    fn images(&self, values: Vec<f32>, n: usize, device: &Device) -> Tensor<4> {
        let side = self.task.spec.image;
        Tensor::from_data(TensorData::new(values, [n, 3, side, side]), device)
    }
}

/// Embeddings `[n, d]` of texts, padded to the longest: what comes behind an end token changes nothing.
fn texts(network: &Clip, texts: &[Vec<u32>], device: &Device) -> Tensor<2> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(1);
    let ids: Vec<i64> = texts
        .iter()
        .flat_map(|text| text.iter().map(|&id| i64::from(id)).chain(std::iter::repeat(0)).take(longest))
        .collect();
    let ends: Vec<i64> = texts.iter().map(|text| text.len() as i64 - 1).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [texts.len(), longest]), device);
    let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [texts.len()]), device);
    network.texts(ids, ends)
}

/// Rows divided by their length.
pub(crate) fn unit(rows: Tensor<2>) -> Tensor<2> {
    let length = rows.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(1e-12);
    rows / length
}

/// Mean of the cross-entropies of the rows and of the columns of `[n, n]` logits, the diagonal being right.
fn loss(logits: Tensor<2>) -> Tensor<1> {
    let [n, _] = logits.dims();
    let own = Tensor::<1, Int>::arange(0..n as i64, &logits.device());
    (cross_entropy::loss(logits.clone(), own.clone()) + cross_entropy::loss(logits.transpose(), own)) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: log(1 + e⁻¹) and log 2; columns: log(1 + e⁻¹)… of [[2, 1], [1, 1]].
    #[test]
    fn two_pairs_by_hand() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, 1.0], [1.0, 1.0]], &device);
        let value = loss(logits).into_data().iter::<f64>().next().unwrap();
        let expected = f64::midpoint((1.0 + (-1.0_f64).exp()).ln(), 2.0_f64.ln());
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }

    #[test]
    fn unit_rows_have_length_one_and_zero_rows_stay_finite() {
        let rows = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0]], &Device::flex());
        let values: Vec<f32> = unit(rows).into_data().iter::<f32>().collect();
        assert_eq!(values, [0.6, 0.8, 0.0, 0.0]);
    }
}
