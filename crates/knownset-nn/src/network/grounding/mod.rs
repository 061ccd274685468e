//! GroundingDINO (Liu et al. 2023, <https://arxiv.org/abs/2303.05499>) as Hugging Face lays it out: a Swin backbone and a
//! BERT, an encoder in which image and text look at each other, and a decoder whose queries become boxes. How well a box
//! fits a token of the text is the product of their vectors.
//!
//! Images of one size and one text beside all of them, so nothing is padded and nothing of that kind is masked. The
//! reference pads the images of a batch to the largest, and its backbone, its normalisations and hence its boxes depend on
//! that.

mod attention;
mod bert;
mod decoder;
mod deformable;
mod dense;
mod encoder;
mod fusion;
mod perceptron;
mod positions;
mod prompt;
mod proposals;
mod pyramid;
mod sampling;
mod swin;
mod swin_block;
mod windows;

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use bert::BertSpec;
pub use decoder::{Encoded, Said};
pub use prompt::Prompt;
pub use pyramid::{Cells, GROUPS};
pub use swin::{StageSpec, SwinSpec};

use bert::Bert;
use decoder::Decoder;
use encoder::Encoder;
use perceptron::Perceptron;
use proposals::Proposals;
use swin::Swin;

use super::parameters::Named;

/// The architecture of a detector.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundingSpec {
    /// The image backbone.
    pub swin: SwinSpec,
    /// The text backbone.
    pub bert: BertSpec,
    /// Length d of a token of image or text; [`GROUPS`] divides it.
    pub width: usize,
    /// Number of maps: those of the backbone and coarser ones made of its last.
    pub levels: usize,
    /// Layers in which image and text look at each other; their text attention has half the heads and half the hidden
    /// length.
    pub encoder: StackSpec,
    /// Layers that move the boxes.
    pub decoder: StackSpec,
    /// Number of queries, the most boxes there can be.
    pub queries: usize,
    /// Longest text in tokens.
    pub context: usize,
    /// Temperature of the sines that tell a cell's place.
    pub temperature: f64,
    /// Whether all layers of the decoder move boxes by the same perceptron.
    pub shared_box_head: bool,
    /// Epsilon of the encoder's and the decoder's layer normalisations.
    pub epsilon: f64,
}

/// The layers of an encoder or decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackSpec {
    /// Number of layers.
    pub depth: usize,
    /// Attention heads per layer; they divide the width.
    pub heads: usize,
    /// Length of the hidden layer of a layer's perceptron.
    pub hidden: usize,
    /// Points that a head reads of every map.
    pub points: usize,
}

impl GroundingSpec {
    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(self.epsilon).init(device)
    }
}

/// What the decoder says.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Boxes `[n, Q, 4]` that the queries began with: centre, width and height as parts of the image's.
    pub proposals: Tensor<3>,
    /// The queries behind the last layer `[n, Q, d]`.
    pub queries: Tensor<3>,
    /// What each layer says, the last one's being the detector's word. The reference has logits of −∞ behind, up to its
    /// longest text.
    pub layers: Vec<Said>,
}

impl Decoded {
    /// What the last layer says.
    ///
    /// # Panics
    /// Of a decoder without layers.
    pub fn last(&self) -> &Said {
        self.layers.last().expect("a decoder has layers")
    }
}

#[derive(Module, Debug)]
struct Model {
    backbone: Swin,
    input_proj_vision: Vec<pyramid::Projection>,
    level_embed: Param<Tensor<2>>,
    text_backbone: Bert,
    text_projection: Linear,
    query_position_embeddings: Embedding,
    encoder: Encoder,
    proposals: Proposals,
    decoder: Decoder,
}

/// The whole detector.
#[derive(Module, Debug)]
pub struct GroundingDino {
    model: Model,
    bbox_embed: Vec<Perceptron>,
    temperature: f64,
}

impl GroundingDino {
    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let d = spec.width;
        let heads = if spec.shared_box_head { 1 } else { spec.decoder.depth };
        Self {
            model: Model {
                backbone: Swin::new(&spec.swin, device),
                input_proj_vision: pyramid::projections(spec, device),
                level_embed: pyramid::level_embeddings(spec, device),
                text_backbone: Bert::new(&spec.bert, device),
                text_projection: LinearConfig::new(spec.bert.width, d).init(device),
                query_position_embeddings: EmbeddingConfig::new(spec.queries, d).init(device),
                encoder: Encoder::new(spec, device),
                proposals: Proposals::new(spec, device),
                decoder: Decoder::new(spec, device),
            },
            bbox_embed: (0..heads).map(|_| Perceptron::new(&[d, d, d, 4], device)).collect(),
            temperature: spec.temperature,
        }
    }

    /// Images of one size `[n, 3, h, w]`, as large as they like → the backbone's maps `[n, c, h', w']`, the finest first.
    pub fn maps(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        self.model.backbone.forward(image)
    }

    /// A text → its tokens `[1, T, d]`, before they see an image.
    pub fn text(&self, prompt: &Prompt) -> Tensor<3> {
        let device = self.model.level_embed.device();
        let ids = row(prompt.ids().iter().map(|&id| i64::from(id)), &device);
        let positions = row(prompt.positions().iter().map(|&place| place as i64), &device);
        let hidden = self.model.text_backbone.forward(ids, positions, mask(prompt, &device));
        self.model.text_projection.forward(hidden)
    }

    /// The backbone's maps as cells of one width, with coarser ones behind.
    pub fn cells(&self, maps: &[Tensor<4>]) -> Cells {
        let Model { input_proj_vision, level_embed, .. } = &self.model;
        Cells::new(maps, input_proj_vision, &level_embed.val(), self.temperature)
    }

    /// Cells and text after they have looked at each other.
    pub fn encode(&self, cells: &Cells, prompt: &Prompt) -> Encoded {
        let device = cells.tokens.device();
        let [n, _, d] = cells.tokens.dims();
        let places: Vec<f32> = prompt.positions().iter().map(|&place| place as f32).collect();
        let places = Tensor::<2>::from_data(TensorData::new(places, [prompt.positions().len(), 1]), &device);
        let places = positions::sines(places, d, positions::TEMPERATURE).unsqueeze::<3>();
        let text = self.text(prompt).expand([n, prompt.ids().len(), d]);
        let (tokens, text) = self.model.encoder.forward(cells, text, &places, &mask(prompt, &device));
        Encoded { maps: cells.maps.clone(), cells: tokens, text }
    }

    /// Queries and their boxes. There are fewer than the architecture's where an image has fewer cells.
    pub fn decode(&self, encoded: &Encoded) -> Decoded {
        let Model { query_position_embeddings, proposals, decoder, .. } = &self.model;
        let queries = query_position_embeddings.weight.val();
        let [most, width] = queries.dims();
        let proposals = proposals.forward(encoded, most);
        let [n, count, _] = proposals.dims();
        let queries = queries.narrow(0, 0, count).unsqueeze::<3>().expand([n, count, width]);
        let layers = decoder.forward(queries.clone(), proposals.clone().detach(), encoded, &self.bbox_embed);
        let queries = layers.last().map_or(queries, |(queries, _)| queries.clone());
        let text = encoded.text.clone().swap_dims(1, 2);
        let said = |(queries, boxes): (Tensor<3>, Tensor<3>)| Said { logits: queries.matmul(text.clone()), boxes };
        Decoded { proposals, queries, layers: layers.into_iter().map(said).collect() }
    }

    /// What every cell proposes, of which [`decode`](Self::decode) takes the best: to be learned.
    pub fn propose(&self, encoded: &Encoded) -> Said {
        self.model.proposals.all(encoded)
    }

    /// Images of one size `[n, 3, h, w]`, as large as they like, and a text → queries and their boxes.
    pub fn forward(&self, image: Tensor<4>, prompt: &Prompt) -> Decoded {
        self.decode(&self.encode(&self.cells(&self.maps(image)), prompt))
    }
}

fn row(numbers: impl Iterator<Item = i64>, device: &Device) -> Tensor<2, Int> {
    let numbers: Vec<i64> = numbers.collect();
    let shape = [1, numbers.len()];
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

/// `[1, 1, T, T]`: 0 where a token sees another, a large negative number where it does not.
fn mask(prompt: &Prompt, device: &Device) -> Tensor<4> {
    let tokens = prompt.ids().len();
    let values: Vec<f32> = prompt.sees().iter().map(|&sees| if sees { 0.0 } else { f32::MIN }).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, tokens, tokens]), device)
}

impl Named for GroundingDino {
    fn checkpoint_name(&self, path: &[String]) -> String {
        let texts = path.get(1).is_some_and(|part| part == "text_backbone");
        let mut name: Vec<String> = Vec::with_capacity(path.len() + 2);
        for part in path {
            match part.as_str() {
                "backbone" => name.push("backbone.conv_encoder.model".to_owned()),
                "proposals" => {}
                "own" => name.push("self".to_owned()),
                "layer_norm" if texts => name.push("LayerNorm".to_owned()),
                // A stage's norm is called after the stage, and those are counted from 1.
                stage if name.last().is_some_and(|last| last == "hidden_states_norms") => {
                    name.push(format!("stage{}", stage.parse::<usize>().map_or(0, |stage| stage + 1)));
                }
                other => name.push(other.to_owned()),
            }
        }
        name.join(".")
    }
}
