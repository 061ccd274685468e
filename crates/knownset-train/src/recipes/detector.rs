//! A detector of GroundingDINO's layout: what a text names is found in an image (Liu et al. 2023).
//!
//! Loss, of every layer of the decoder and of the boxes that all the encoder's cells propose: things are assigned to boxes at
//! the least cost (tokens 1, distance of coordinates 5, generalised overlap 2); 2 x focal loss of every box's logits for
//! every token, those of the thing's name being wanted of its box (α 0.25, γ 2), 5 x the distance of its coordinates and
//! 2 x (1 − generalised overlap), all divided by the number of things; weights as in transformers' `GroundingDino`
//! configuration. Deviations: no denoising queries, and no pretrained backbones; offsets of deformable attention begin at
//! random and not as stars; proposals learn from all cells, as in Deformable DETR's second stage, where transformers gives
//! the proposed boxes no gradient.
//!
//! A text is `a . b . c .`, the same for all images of a batch: names of what they show, and names of what other training
//! images show. An image that shows nothing of it teaches to find nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_core::detection::{Detection, average_precision, overlap};
use knownset_nn::grounding::{Phrases, WordPiece};
use knownset_nn::network::{GroundingDino, GroundingSpec, Init, Prompt, Rule, Said, initialise_with};
use knownset_nn::tokenizer::TokenizerError;
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Kind, Outliers, RecipeEntry};
use crate::augment::stream;
use crate::detection::{Scenes, Target, Thing, corners, loss};
use crate::error::TrainError;
use crate::pictures::normalised;
use crate::recipe::{Moment, Step, constant};
use crate::sampler::batches;
use crate::trainer::{Event, Objective, Trained, Training};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "detector",
    title: "GroundingDINO detector",
    year: 2023,
    paper: "https://arxiv.org/abs/2303.05499",
    loss: "2 focal(token logits) + 5 |box - box'| + 2 (1 - GIoU), boxes assigned at the least cost",
    outliers: Outliers::None,
    params: &[],
    kind: Kind::Detector,
};

/// Most phrases of a training text for each image of the batch.
const PHRASES: f64 = 1.25;
/// How many of them, on average, name what an image of the batch shows.
const OWN: f64 = 0.75;
/// Kinds that a held-out image is asked for, if there are so many.
const ASKED: usize = 10;
/// Images per batch when validating.
const VALIDATION_BATCH: usize = 16;
/// A box is right if it overlaps what is there by as much.
const RIGHT: f64 = 0.5;
/// A phrase is found where its probability is above this.
const SURE: f32 = 0.5;
/// What texts are drawn by.
const TEXTS: u64 = 0x7465_7874;

/// What a detector is trained on.
#[derive(Clone, Copy)]
pub struct Detecting<'a> {
    /// The network to train, from random weights.
    pub spec: &'a GroundingSpec,
    /// How images become its input.
    pub preprocess: &'a Preprocess,
    /// How texts become tokens.
    pub words: &'a WordPiece,
    /// Training images and what they show.
    pub data: &'a dyn Scenes,
    /// Images whose average precision is reported after every epoch.
    pub validation: Option<&'a dyn Scenes>,
}

impl Detecting<'_> {
    /// Trains to the end, or as far as `watch` lets it. The weights file has the names of Hugging Face's GroundingDINO.
    ///
    /// # Errors
    /// [`TrainError`]: nothing to be found in the images, a name without a word, whatever stops any run.
    pub fn train(
        &self,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let mut names = BTreeSet::new();
        for data in std::iter::once(self.data).chain(self.validation) {
            names.extend((0..data.len()).flat_map(|index| data.things(index)).flat_map(|thing| &thing.names));
        }
        if names.is_empty() {
            return Err(TrainError::NoThings);
        }
        names.into_iter().try_for_each(|name| self.words.phrases(&[name]).map(drop))?;
        training.run(&Run { task: *self, seed: training.seed, batch: training.batch }, watch)
    }

    /// What is reported after every epoch, of a network on the CPU: the mean over the kinds of held-out things of the average
    /// precision at an overlap of a half; none without held-out things. Images are asked for the kinds of those beside them
    /// and for others, ten together where there are as many.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn precision(&self, network: &GroundingDino) -> Result<Option<f64>, String> {
        self.measured(network, &Device::flex())
    }

    fn measured(&self, network: &GroundingDino, device: &Device) -> Result<Option<f64>, String> {
        let Some(data) = self.validation else { return Ok(None) };
        let kind = |thing: &Thing| thing.names.first().cloned();
        let kinds: BTreeSet<String> = (0..data.len()).flat_map(|index| data.things(index)).filter_map(kind).collect();
        let mut all: BTreeMap<String, Asked> = BTreeMap::new();
        let indices: Vec<usize> = (0..data.len()).collect();
        for (number, chunk) in indices.chunks(VALIDATION_BATCH).enumerate() {
            let here: BTreeSet<String> = chunk.iter().flat_map(|&index| data.things(index)).filter_map(kind).collect();
            let mut others: Vec<String> = kinds.difference(&here).cloned().collect();
            others.shuffle(&mut stream(TEXTS, 0, number));
            let asked: Vec<String> = here.into_iter().chain(others).take(ASKED.max(chunk.len())).collect();
            let (asked, phrases) = self.phrases(asked).map_err(|error| error.to_string())?;
            let load = |&index: &usize| Ok(normalised(data.picture(index)?, self.preprocess));
            let values: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(load).collect();
            let images = images(values?.concat(), chunk.len(), self.preprocess, device);
            let boxes = Boxes::read(network.forward(images, &phrases.prompt).last());
            for (name, tokens) in asked.into_iter().zip(&phrases.tokens) {
                let Asked { found, there } = all.entry(name.clone()).or_default();
                for (image, &index) in chunk.iter().enumerate() {
                    let own = data.things(index).iter().filter(|thing| kind(thing).as_ref() == Some(&name));
                    let score = |query: usize| Detection {
                        image: there.len(),
                        score: f64::from(boxes.sure(image, query, tokens)),
                        corners: boxes.corners(image, query),
                    };
                    found.extend((0..boxes.count).map(score));
                    there.push(own.map(|thing| thing.corners).collect());
                }
            }
        }
        let precisions: Vec<f64> =
            all.values().filter_map(|Asked { found, there }| average_precision(found, there, RIGHT)).collect();
        Ok((!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / precisions.len() as f64))
    }

    /// The names, as far as the network reads them, and the text they make.
    fn phrases(&self, mut names: Vec<String>) -> Result<(Vec<String>, Phrases), TokenizerError> {
        loop {
            let phrases = self.words.phrases(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
            if phrases.prompt.ids().len() <= self.spec.context || names.is_empty() {
                return Ok((names, phrases));
            }
            names.pop();
        }
    }

    /// Names that a batch is asked for, each once.
    fn ask(&self, indices: &[usize], random: &mut ChaCha8Rng) -> Vec<String> {
        let most = random.random_range(1..=(PHRASES * indices.len() as f64).ceil() as usize);
        let mut names: Vec<String> = Vec::with_capacity(most);
        // Images may show nothing, or the same.
        for _ in 0..2 * most {
            let own = random.random_bool(OWN);
            let index = if own { indices.choose(random).copied() } else { None };
            let index = index.unwrap_or_else(|| random.random_range(0..self.data.len()));
            let thing = self.data.things(index).choose(random);
            let name = thing.and_then(|thing| thing.names.choose(random));
            names.extend(name.filter(|name| !names.contains(name)).cloned());
            if names.len() == most {
                break;
            }
        }
        names
    }
}

/// What images that were asked for a kind gave, and what they show of it.
#[derive(Default)]
struct Asked {
    found: Vec<Detection>,
    there: Vec<Vec<[f32; 4]>>,
}

/// What a network says, on the host.
struct Boxes {
    logits: Vec<f32>,
    places: Vec<f32>,
    /// Boxes of an image.
    count: usize,
    /// Tokens of the text.
    tokens: usize,
}

impl Boxes {
    fn read(said: &Said) -> Self {
        let [_, count, tokens] = said.logits.dims();
        let values = |tensor: &Tensor<3>| tensor.clone().into_data().iter::<f32>().collect();
        Self { logits: values(&said.logits), places: values(&said.boxes), count, tokens }
    }

    /// How likely a box is what a phrase names: the mean over the phrase's tokens.
    fn sure(&self, image: usize, query: usize, tokens: &Range<usize>) -> f32 {
        let row = (image * self.count + query) * self.tokens;
        let sum: f32 = tokens.clone().map(|token| 1.0 / (1.0 + (-self.logits[row + token]).exp())).sum();
        sum / tokens.len().max(1) as f32
    }

    fn corners(&self, image: usize, query: usize) -> [f32; 4] {
        let row = (image * self.count + query) * 4;
        corners([0, 1, 2, 3].map(|at| self.places[row + at]))
    }

    /// Whether the surest box for any phrase is one of an image's targets, for a phrase of its own; without targets, whether
    /// no box is sure of any phrase.
    fn right(&self, image: usize, phrases: &[Range<usize>], targets: &[Target]) -> bool {
        let mut best = (0.0, 0, 0);
        for query in 0..self.count {
            for (phrase, tokens) in phrases.iter().enumerate() {
                let sure = self.sure(image, query, tokens);
                if sure > best.0 {
                    best = (sure, query, phrase);
                }
            }
        }
        let (sure, query, phrase) = best;
        let mut own = targets.iter().filter(|target| target.image == image).peekable();
        if own.peek().is_none() {
            return sure <= SURE;
        }
        let found = self.corners(image, query);
        own.any(|target| {
            let named = phrases.get(phrase).is_some_and(|tokens| target.tokens.contains(&tokens.start));
            named && overlap(corners(target.place), found) >= RIGHT
        })
    }
}

struct Run<'a> {
    task: Detecting<'a>,
    seed: u64,
    batch: usize,
}

/// Images of one step, and what they are asked for.
struct Batch {
    values: Vec<f32>,
    images: usize,
    prompt: Prompt,
    phrases: Vec<Range<usize>>,
    targets: Vec<Target>,
}

impl Objective for Run<'_> {
    type Network = GroundingDino;
    type Indices = Vec<usize>;
    type Batch = Batch;

    fn build(&self, device: &Device) -> GroundingDino {
        GroundingDino::new(self.task.spec, device)
    }

    fn initialise(&self, network: GroundingDino, seed: u64) -> GroundingDino {
        initialise_with(network, seed, |name, _| init(name))
    }

    fn settings(&self) -> serde_json::Value {
        let images = self.task.data.len();
        serde_json::json!({ "network": format!("{:?}", self.task.spec), "images": images })
    }

    fn plan(&self, epoch: usize) -> Vec<Vec<usize>> {
        batches(self.task.data.len(), self.batch, self.seed, epoch)
    }

    fn count(&self, indices: &Vec<usize>) -> usize {
        indices.len()
    }

    fn load(&self, indices: &Vec<usize>, epoch: usize) -> Result<Batch, String> {
        let Detecting { preprocess, data, .. } = self.task;
        let load = |&index: &usize| Ok(normalised(data.picture(index)?, preprocess));
        let values: Result<Vec<Vec<f32>>, String> = indices.par_iter().map(load).collect();
        // An image is in one batch of an epoch, so the first one's number is the batch's.
        let random = &mut stream(self.seed ^ TEXTS, epoch, indices.first().copied().unwrap_or_default());
        let asked = self.task.ask(indices, random);
        let (names, phrases) = self.task.phrases(asked).map_err(|error| error.to_string())?;
        let target = |(image, thing): (usize, &Thing)| {
            let own = names.iter().zip(&phrases.tokens).filter(|(name, _)| thing.names.contains(name));
            let tokens: Vec<usize> = own.flat_map(|(_, tokens)| tokens.clone()).collect();
            (!tokens.is_empty()).then(|| Target { image, tokens, place: thing.place() })
        };
        let things = indices.iter().enumerate();
        let things = things.flat_map(|(image, &index)| data.things(index).iter().map(move |thing| (image, thing)));
        let targets = things.filter_map(target).collect();
        let Phrases { prompt, tokens: phrases } = phrases;
        Ok(Batch { values: values?.concat(), images: indices.len(), prompt, phrases, targets })
    }

    fn step(&self, network: &mut GroundingDino, batch: Batch, _: &Moment, device: &Device) -> Step {
        let Batch { values, images: n, prompt, phrases, targets } = batch;
        let images = images(values, n, self.task.preprocess, device);
        let encoded = network.encode(&network.cells(&network.maps(images)), &prompt);
        let decoded = network.decode(&encoded);
        let proposed = loss(&network.propose(&encoded), &targets);
        let all = decoded.layers.iter().fold(proposed, |sum, said| sum + loss(said, &targets));
        let said = Boxes::read(decoded.last());
        let hits = (0..n).filter(|&image| said.right(image, &phrases, &targets)).count();
        Step { loss: all, hits }
    }

    fn validate(&self, network: &GroundingDino, device: &Device) -> Result<Option<f64>, String> {
        self.task.measured(network, device)
    }
}

/// As the reference begins: boxes where their anchors are, all points of deformable attention equally weighty. Logits begin
/// small enough that no token is certain.
fn init(name: &str) -> Rule {
    let has = |part: &str| name.contains(part);
    if has("sampling_offsets.weight") || has("attention_weights") || (has("bbox_embed") && has("layers.2.")) {
        constant(0.0)
    } else if name.ends_with("decoder.layer_norm.weight") || name.ends_with("enc_output_norm.weight") {
        constant(0.2)
    } else if has("sampling_offsets.bias") || has("query_position_embeddings") {
        Rule::Set(Init::Normal(1.0))
    } else if has("relative_position_bias_table") {
        Rule::Set(Init::Normal(0.02))
    } else {
        Rule::ByShape
    }
}

fn images(values: Vec<f32>, n: usize, preprocess: &Preprocess, device: &Device) -> Tensor<4> {
    let side = preprocess.size as usize;
    Tensor::from_data(TensorData::new(values, [n, 3, side, side]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows;

    /// Two boxes for an image, a text of a stop, two phrases of two and one tokens, and stops.
    fn said() -> Boxes {
        let logits = rows(&[&[9.0, 2.0, 0.0, 9.0, -3.0, 9.0], &[9.0, -2.0, -2.0, 9.0, -1.0, 9.0]]);
        let boxes = rows(&[&[0.5, 0.5, 0.4, 0.4], &[0.2, 0.2, 0.2, 0.2]]);
        Boxes::read(&Said { logits: logits.unsqueeze(), boxes: boxes.unsqueeze() })
    }

    #[test]
    fn a_phrase_is_as_likely_as_its_tokens_on_average() {
        let said = said();
        let sigmoid = |logit: f32| 1.0 / (1.0 + (-logit).exp());
        assert!((said.sure(0, 0, &(1..3)) - f32::midpoint(sigmoid(2.0), 0.5)).abs() < 1e-6);
        assert!((said.sure(0, 1, &(4..5)) - sigmoid(-1.0)).abs() < 1e-6);
        let corners = said.corners(0, 1);
        assert!(corners.iter().zip([0.1, 0.1, 0.3, 0.3]).all(|(a, b)| (a - b).abs() < 1e-6), "{corners:?}");
    }

    #[test]
    fn right_is_the_surest_box_in_the_right_place_for_the_right_phrase() {
        let (said, phrases) = (said(), [1..3, 4..5]);
        let target = |tokens: &[usize], place| [Target { image: 0, tokens: tokens.to_vec(), place }];
        assert!(said.right(0, &phrases, &target(&[1, 2], [0.5, 0.5, 0.4, 0.3])));
        assert!(!said.right(0, &phrases, &target(&[4], [0.5, 0.5, 0.4, 0.4])), "another phrase");
        assert!(!said.right(0, &phrases, &target(&[1, 2], [0.2, 0.2, 0.2, 0.2])), "another place");
        assert!(!said.right(0, &phrases, &[]), "sure of a phrase, but nothing is there");
        assert!(said.right(0, &phrases[1..], &[]));
    }
}
