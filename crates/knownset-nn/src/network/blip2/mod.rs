//! BLIP-2 (Li et al. 2023, <https://arxiv.org/abs/2301.12597>) as Hugging Face lays it out: a vision transformer looks at
//! an image, learned queries ask it, and their answers are the first words that a language model reads.

mod qformer;
mod vision;

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::opt::{Opt, OptSpec};
use super::parameters::Named;
use qformer::QFormer;
use vision::VisionModel;

/// The architecture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blip2Spec {
    /// What looks at an image.
    pub vision: VisionSpec,
    /// What asks.
    pub qformer: QFormerSpec,
    /// Number Q of queries.
    pub queries: usize,
    /// What writes; its `words` is its `width`.
    pub text: OptSpec,
}

/// The vision transformer's architecture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionSpec {
    /// Side of the square input image in pixels.
    pub image: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Length v of a token.
    pub width: usize,
    /// Length of the hidden layer of a block's perceptron.
    pub hidden: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// Whether queries, keys and values have biases.
    pub biases: bool,
    /// Epsilon of every layer normalisation.
    pub epsilon: f64,
}

impl VisionSpec {
    /// Number P of patches of an image.
    pub fn patches(&self) -> usize {
        (self.image / self.patch).pow(2)
    }
}

/// The Q-Former's architecture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QFormerSpec {
    /// Length q of a query.
    pub width: usize,
    /// Length of the hidden layer of a block's perceptron.
    pub hidden: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// The first block looks at the image, and every so many blocks another.
    pub every: usize,
    /// Epsilon of every layer normalisation.
    pub epsilon: f64,
}

/// The whole: image in, the beginning of a text out, and the language model that goes on.
#[derive(Module, Debug)]
pub struct Blip2 {
    query_tokens: Param<Tensor<3>>,
    vision_model: VisionModel,
    qformer: QFormer,
    language_projection: Linear,
    language_model: Opt,
}

impl Blip2 {
    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: &Blip2Spec, device: &Device) -> Self {
        Self {
            query_tokens: Initializer::Zeros.init([1, spec.queries, spec.qformer.width], device),
            vision_model: VisionModel::new(&spec.vision, device),
            qformer: QFormer::new(&spec.qformer, spec.vision.width, device),
            language_projection: LinearConfig::new(spec.qformer.width, spec.text.width).init(device),
            language_model: Opt::new(&spec.text, device),
        }
    }

    /// Images `[n, 3, side, side]` → class token and patches, normalised, `[n, 1 + P, v]`.
    pub fn see(&self, images: Tensor<4>) -> Tensor<3> {
        self.vision_model.forward(images)
    }

    /// What was seen `[n, 1 + P, v]` → the queries' answers `[n, Q, q]`.
    pub fn ask(&self, seen: Tensor<3>) -> Tensor<3> {
        let [n, _, _] = seen.dims();
        let queries = self.query_tokens.val();
        let [_, count, width] = queries.dims();
        self.qformer.forward(queries.expand([n, count, width]), &seen)
    }

    /// Images `[n, 3, side, side]` → the word vectors `[n, Q, w]` that the language model reads first.
    pub fn prefix(&self, images: Tensor<4>) -> Tensor<3> {
        self.language_projection.forward(self.ask(self.see(images)))
    }

    /// What reads these vectors and those of a prompt's words behind them, and goes on.
    pub fn language_model(&self) -> &Opt {
        &self.language_model
    }
}

impl Named for Blip2 {
    fn checkpoint_name(&self, path: &[String]) -> String {
        match path.split_first() {
            Some((first, inside)) if first == "language_model" => {
                format!("language_model.{}", self.language_model.checkpoint_name(inside))
            }
            Some((first, inside)) if first == "qformer" => format!("qformer.{}", qformer::checkpoint_name(inside)),
            _ => path.join("."),
        }
    }
}
