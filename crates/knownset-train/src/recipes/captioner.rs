//! A captioner of BLIP-2's layout: a language model reads an image's vectors and writes (Li et al. 2023).
//!
//! The loss of the paper's second stage, language modelling behind the image's vectors: the mean of −log p over the tokens
//! of the captions and their end tokens, each token told the right ones before it. With `label-smoothing` ε, a token's
//! target is 1 − ε at the right one plus ε / V everywhere, as BLIP trains its own language model. Deviation: the paper's
//! first stage and its frozen image encoder and language model are left out; all parts learn together, from random weights.

use std::ops::ControlFlow;

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_core::params::{ParamError, require};
use knownset_nn::generate::{Decoding, Stop, continuations};
use knownset_nn::network::{Blip2, Blip2Spec, Past, initialise};
use rand::seq::IndexedRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cross_entropy;
use super::{Kind, Outliers, ParamDoc, RecipeEntry, defaults};
use crate::augment::{Augment, stream};
use crate::chosen::{ChooseError, Named};
use crate::error::TrainError;
use crate::pictures::{Pictures, normalised};
use crate::recipe::{Moment, Step};
use crate::sampler::batches;
use crate::trainer::{Event, Objective, Trained, Training};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "captioner",
    title: "BLIP-2 captioner",
    year: 2023,
    paper: "https://arxiv.org/abs/2301.12597",
    loss: "mean of -log p(token | image, tokens before it) over a caption and its end",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "label-smoothing", doc: "ε, the share of the target spread over all tokens, 0..1" }],
    kind: Kind::Captioner(defaults::<Writing>),
};

/// Images per batch when validating.
const VALIDATION_BATCH: usize = 64;

/// Pictures with captions.
pub trait Described: Pictures {
    /// The tokens of each of a picture's captions, without start and end; at least one caption.
    fn captions(&self, index: usize) -> &[Vec<u32>];
}

/// The recipe's parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Writing {
    label_smoothing: f64,
}

impl Writing {
    /// Reads a choice such as `captioner:label-smoothing=0.1`.
    ///
    /// # Errors
    /// Another recipe, unknown parameters, a share outside 0 to 1.
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        Named::read_as(&ENTRY, text, |writing: &Self| writing.check())
    }

    fn check(self) -> Result<(), ParamError> {
        let share = self.label_smoothing;
        require((0.0..1.0).contains(&share), "label-smoothing", share, "at least 0 and below 1")
    }
}

/// What a captioner is trained on.
#[derive(Clone, Copy)]
pub struct Captioning<'a> {
    /// The network to train, from random weights.
    pub spec: &'a Blip2Spec,
    /// How images become its input.
    pub preprocess: &'a Preprocess,
    /// The token that captions begin and end with.
    pub begin: u32,
    /// The recipe's parameters.
    pub writing: Writing,
    /// Training images and captions.
    pub data: &'a dyn Described,
    /// Images of whose captions the share is reported after every epoch that is written to the token.
    pub validation: Option<&'a dyn Described>,
    /// Changes to training pictures.
    pub augment: &'a Augment,
}

impl Captioning<'_> {
    /// Trains to the end, or as far as `watch` lets it. The weights file has the names of Hugging Face's BLIP-2.
    ///
    /// # Errors
    /// [`TrainError`]: no image, a caption that is too long for the network, whatever stops any run.
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        if self.data.is_empty() {
            return Err(TrainError::Empty);
        }
        let room = self.room();
        let all = |data: &dyn Described| {
            (0..data.len()).flat_map(|index| data.captions(index)).map(Vec::len).max().unwrap_or_default()
        };
        let tokens = all(self.data).max(self.validation.map_or(0, all));
        if tokens > room {
            return Err(TrainError::CaptionTooLong { tokens, queries: self.spec.queries, room });
        }
        training.run(&Run { task: *self, seed: training.seed, batch: training.batch }, watch)
    }

    /// Most tokens of a caption: the start token takes a position too.
    fn room(&self) -> usize {
        self.spec.text.positions.saturating_sub(self.spec.queries + 1)
    }

    /// Share of the held-out images of which the network, always taking the likeliest token, writes one of their captions.
    fn exact(&self, network: &Blip2, device: &Device) -> Result<Option<f64>, String> {
        let Some(data) = self.validation else { return Ok(None) };
        let model = network.language_model();
        let start = model.vectors(ids(&[vec![self.begin]], 1, device));
        let stop = Stop { ends: vec![self.begin], most: self.room() + 1 };
        let mut exact = 0;
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let load = |&index: &usize| Ok(normalised(data.picture(index)?, self.preprocess));
            let values: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(load).collect();
            let prefix = network.prefix(images(values?.concat(), chunk.len(), self.preprocess, device));
            let starts: Vec<Tensor<3>> = (0..chunk.len())
                .map(|row| Tensor::cat(vec![prefix.clone().narrow(0, row, 1), start.clone()], 1))
                .collect();
            let written = continuations(model, &starts, Decoding::Greedy, &stop, &|| ControlFlow::Continue(()))
                .map_err(|error| error.to_string())?;
            exact += chunk
                .iter()
                .zip(written)
                .filter(|(index, written)| self.is_caption(data.captions(**index), written))
                .count();
        }
        Ok(Some(exact as f64 / data.len().max(1) as f64))
    }

    /// Whether what was written is one of the captions and its end.
    fn is_caption(&self, captions: &[Vec<u32>], written: &[u32]) -> bool {
        written
            .split_last()
            .is_some_and(|(&last, text)| last == self.begin && captions.iter().any(|caption| caption == text))
    }
}

struct Run<'a> {
    task: Captioning<'a>,
    seed: u64,
    batch: usize,
}

/// Images and captions of one step.
struct Batch {
    values: Vec<f32>,
    captions: Vec<Vec<u32>>,
}

impl Objective for Run<'_> {
    type Network = Blip2;
    type Indices = Vec<usize>;
    type Batch = Batch;

    fn build(&self, device: &Device) -> Blip2 {
        Blip2::new(self.task.spec, device)
    }

    fn initialise(&self, network: Blip2, seed: u64) -> Blip2 {
        initialise(network, seed)
    }

    fn settings(&self) -> serde_json::Value {
        let Captioning { spec, augment, writing, begin, .. } = self.task;
        let images = self.task.data.len();
        serde_json::json!({
            "network": format!("{spec:?}"), "begin": begin, "writing": writing, "augment": augment.to_string(),
            "images": images,
        })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Batch, String> {
        let Captioning { preprocess, data, augment, .. } = self.task;
        let pairs: Result<Vec<_>, String> = indices
            .par_iter()
            .map(|&index| {
                let random = &mut stream(self.seed, epoch, index);
                let caption = data.captions(index).choose(random).cloned().unwrap_or_default();
                let picture = augment.apply(data.picture(index)?, preprocess.size as usize, random);
                Ok((normalised(picture, preprocess), caption))
            })
            .collect();
        let (values, captions): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
        Ok(Batch { values: values.concat(), captions })
    }

    fn step(&self, network: &mut Blip2, batch: Batch, _: &Moment, device: &Device) -> Step {
        let Captioning { preprocess, begin, writing, .. } = self.task;
        let images = images(batch.values, batch.captions.len(), preprocess, device);
        step(network, images, &batch.captions, begin, writing.label_smoothing)
    }

    fn validate(&self, network: &Blip2, device: &Device) -> Result<Option<f64>, String> {
        self.task.exact(network, device)
    }
}

/// The loss of captions behind their images `[n, 3, side, side]`; an image is told right if all its tokens are.
fn step(network: &Blip2, images: Tensor<4>, captions: &[Vec<u32>], begin: u32, smoothing: f64) -> Step {
    let device = images.device();
    let model = network.language_model();
    let prefix = network.prefix(images);
    let [n, queries, width] = prefix.dims();
    // What stands behind a shorter caption changes nothing before it, and nothing is asked there.
    let longest = captions.iter().map(Vec::len).max().unwrap_or_default() + 1;
    let inputs: Vec<Vec<u32>> =
        captions.iter().map(|caption| std::iter::once(begin).chain(caption.iter().copied()).collect()).collect();
    let words = model.vectors(ids(&inputs, longest, &device));
    let read = model.read(Tensor::cat(vec![prefix, words], 1), &mut Past::default());

    let tokens = queries + longest;
    let asked = captions.iter().enumerate();
    let asked =
        asked.flat_map(|(row, caption)| (0..=caption.len()).map(move |at| (row * tokens + queries + at) as i64));
    let asked: Vec<i64> = asked.collect();
    let right: Vec<i64> =
        captions.iter().flat_map(|caption| caption.iter().copied().chain([begin])).map(i64::from).collect();
    let list = |numbers: Vec<i64>| {
        let count = numbers.len();
        Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device)
    };
    let logits = model.logits(read.reshape([n * tokens, width]).select(0, list(asked)));
    let chosen: Vec<i64> = logits.clone().argmax(1).into_data().iter::<i64>().collect();
    let mut start = 0;
    let hits = captions.iter().filter(|caption| {
        let range = start..start + caption.len() + 1;
        start = range.end;
        chosen[range.clone()] == right[range]
    });
    let hits = hits.count();
    Step { loss: cross_entropy::smoothed(logits, list(right), smoothing), hits }
}

/// Token numbers `[n, length]`, shorter rows filled up.
fn ids(rows: &[Vec<u32>], length: usize, device: &Device) -> Tensor<2, Int> {
    let fill = |row: &Vec<u32>| row.clone().into_iter().chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>();
    let numbers: Vec<i64> = rows.iter().flat_map(fill).map(i64::from).collect();
    Tensor::from_data(TensorData::new(numbers, [rows.len(), length]), device)
}

fn images(values: Vec<f32>, n: usize, preprocess: &Preprocess, device: &Device) -> Tensor<4> {
    let side = preprocess.size as usize;
    Tensor::from_data(TensorData::new(values, [n, 3, side, side]), device)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::Module;
    use knownset_nn::network::{OptSpec, QFormerSpec, VisionSpec, load, to_weights};
    use knownset_nn::{HostTensor, Weights};

    use super::*;
    use crate::testing::{golden, number};

    const SPEC: Blip2Spec = Blip2Spec {
        vision: VisionSpec {
            image: 8,
            patch: 4,
            width: 8,
            hidden: 12,
            depth: 1,
            heads: 2,
            biases: true,
            epsilon: 1e-6,
        },
        qformer: QFormerSpec { width: 12, hidden: 16, depth: 1, heads: 3, every: 1, epsilon: 1e-12 },
        queries: 3,
        text: OptSpec {
            vocabulary: 11,
            positions: 12,
            width: 8,
            words: 8,
            hidden: 16,
            depth: 1,
            heads: 2,
            norm_first: true,
            norm_last: true,
            biases: true,
            gelu: false,
            tied: true,
        },
    };
    const BEGIN: u32 = 2;

    /// A network with these tensors of a golden file: those called `network.NAME`.
    fn network(golden: &Weights) -> Blip2 {
        let own =
            |(name, tensor): (&str, &HostTensor)| Some((name.strip_prefix("network.")?.to_owned(), tensor.clone()));
        let tensors: BTreeMap<String, HostTensor> = golden.iter().filter_map(own).collect();
        load(Blip2::new(&SPEC, &Device::flex().autodiff()), &Weights::from_tensors(tensors)).unwrap()
    }

    fn captions() -> Vec<Vec<u32>> {
        vec![vec![4, 5, 6], vec![7], vec![]]
    }

    /// The script `make_captioner.py` gives a BLIP-2 of transformers, pixels of three images, and the loss and the gradient
    /// of the pixels for these captions.
    #[test]
    fn pytorch_agrees() {
        let golden = golden("captioner");
        let network = network(golden.weights());
        for (case, smoothing) in [("plain", 0.0), ("smoothed", 0.1)] {
            let pixels = golden.rows(&format!("{case}.pixels"));
            let step = step(&network, pixels.clone().reshape([3, 3, 8, 8]), &captions(), BEGIN, smoothing);
            golden.holds(case, &step.loss, &[("pixels", pixels)]);
        }
    }

    /// What comes behind a caption is not asked for: alone and beside a longer one it has the same loss. The mean is over
    /// tokens: 4 + 2 + 1 of them.
    #[test]
    fn the_mean_is_over_the_tokens_of_captions_and_their_ends() {
        let golden = golden("captioner");
        let network = network(golden.weights());
        let pixels = golden.tensor::<2>("plain.pixels").reshape([3, 3, 8, 8]);
        let captions = captions();
        let alone = |row: usize| {
            let step = step(&network, pixels.clone().narrow(0, row, 1), &captions[row..=row], BEGIN, 0.0);
            number(&step.loss) * (captions[row].len() + 1) as f64
        };
        let together = number(&step(&network, pixels.clone(), &captions, BEGIN, 0.0).loss);
        assert!((together - (0..3).map(alone).sum::<f64>() / 7.0).abs() < 1e-5);
    }

    /// A head of zeros finds all 11 tokens equally likely.
    #[test]
    fn knowing_nothing_costs_the_logarithm_of_the_vocabulary() {
        let golden = golden("captioner");
        let mut tensors = to_weights(&network(golden.weights()).valid()).into_tensors();
        let words = tensors.get_mut("language_model.model.decoder.embed_tokens.weight").unwrap();
        words.values.fill(0.0);
        let network = load(Blip2::new(&SPEC, &Device::flex().autodiff()), &Weights::from_tensors(tensors)).unwrap();
        let pixels = golden.tensor::<2>("plain.pixels").reshape([3, 3, 8, 8]);
        for smoothing in [0.0, 0.3] {
            let step = step(&network, pixels.clone(), &captions(), BEGIN, smoothing);
            assert!((number(&step.loss) - 11.0_f64.ln()).abs() < 1e-5);
            assert_eq!(step.hits, 0, "of equal tokens the first, 0, which no caption has");
        }
    }

    #[test]
    fn parameters_are_read_and_refused() {
        assert_eq!(Writing::parse("captioner").unwrap(), Writing::default());
        assert_eq!(Writing::parse("captioner:label-smoothing=0.1").unwrap().label_smoothing, 0.1);
        let wrong = |text: &str| Writing::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("clip"), "`clip` is not the recipe captioner");
        assert!(
            wrong("captioner:label-smoothing=1").starts_with("bad parameters")
                && Writing::parse("captioner:x=1").is_err()
        );
    }
}
