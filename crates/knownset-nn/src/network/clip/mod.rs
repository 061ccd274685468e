//! CLIP's two towers (Radford et al. 2021, <https://arxiv.org/abs/2103.00020>) as Hugging Face lays them out: an image
//! and a text each become a vector of the same space, and their cosine says how well one describes the other.

mod block;
mod image;
mod text;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use image::ImageTower;
use text::TextTower;
pub use text::{ClipText, TextSpec};

use super::init::{Init, Rule};
use super::parameters::Named;

/// The architecture of both towers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipSpec {
    /// Length d of the shared embedding.
    pub projection: usize,
    /// Side of the square input image in pixels.
    pub image: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Layers of the image tower.
    pub vision: TowerSpec,
    /// Number of token ids.
    pub vocabulary: usize,
    /// Longest text in tokens.
    pub context: usize,
    /// Layers of the text tower.
    pub text: TowerSpec,
}

/// A stack of transformer blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TowerSpec {
    /// Length of a token.
    pub width: usize,
    /// Length of the hidden layer of a block's perceptron.
    pub hidden: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// Whether the activation is x σ(1.702 x) instead of the exact GELU.
    pub quick_gelu: bool,
    /// Epsilon of every layer normalisation.
    pub epsilon: f64,
}

impl ClipSpec {
    /// The text tower alone.
    pub fn text_alone(&self) -> TextSpec {
        TextSpec { vocabulary: self.vocabulary, context: self.context, tower: self.text }
    }

    /// Number P of patches of an image.
    pub fn patches(&self) -> usize {
        (self.image / self.patch).pow(2)
    }
}

/// Both towers, their projections and the learned scale of the cosines.
#[derive(Module, Debug)]
pub struct Clip {
    vision_model: ImageTower,
    visual_projection: Projection,
    text_model: TextTower,
    text_projection: Projection,
    logit_scale: Param<Tensor<1>>,
}

/// A linear map without a bias.
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<2>>,
}

impl Projection {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self { weight: Param::from_tensor(Tensor::zeros([outputs, inputs], device)) }
    }

    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        rows.matmul(self.weight.val().transpose())
    }
}

impl Clip {
    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: &ClipSpec, device: &Device) -> Self {
        Self {
            vision_model: ImageTower::new(spec, device),
            visual_projection: Projection::new(spec.vision.width, spec.projection, device),
            text_model: TextTower::new(&spec.text_alone(), device),
            text_projection: Projection::new(spec.text.width, spec.projection, device),
            logit_scale: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }

    /// Images `[n, 3, side, side]` → embeddings `[n, d]`, not normalised.
    pub fn images(&self, input: Tensor<4>) -> Tensor<2> {
        self.visual_projection.forward(self.vision_model.forward(input))
    }

    /// Images `[n, 3, side, side]` → embeddings `[n, d]` and patch features `[n, P, d]`, none normalised.
    ///
    /// A patch feature is the patch's token after the last block with its attention replaced by the value path, through
    /// the final normalisation and the projection (GL-MCM, Miyai et al. 2023, <https://arxiv.org/abs/2304.04521>).
    pub fn images_and_patches(&self, input: Tensor<4>) -> (Tensor<2>, Tensor<3>) {
        let (class, patches) = self.vision_model.with_patches(input);
        let [n, count, width] = patches.dims();
        let patches = self.visual_projection.forward(patches.reshape([n * count, width]));
        let [_, d] = patches.dims();
        (self.visual_projection.forward(class), patches.reshape([n, count, d]))
    }

    /// Texts → embeddings `[n, d]`, not normalised. `ids` `[n, T]` holds one text a row, T at most the context; a text's
    /// embedding is read at its end token, whose place `ends` `[n]` gives. What comes behind that place changes nothing.
    pub fn texts(&self, ids: Tensor<2, Int>, ends: Tensor<1, Int>) -> Tensor<2> {
        self.texts_of_vectors(self.token_vectors(ids), ends)
    }

    /// Ids `[n, T]` → the vectors of their tokens `[n, T, w]`, before their positions are added.
    pub fn token_vectors(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.text_model.vectors(ids)
    }

    /// [`texts`](Self::texts) of token vectors `[n, T, w]`, which need not be those of any token. On a device without
    /// gradients the towers are constants: gradients then reach the vectors and nothing else.
    pub fn texts_of_vectors(&self, vectors: Tensor<3>, ends: Tensor<1, Int>) -> Tensor<2> {
        self.text_projection.forward(self.text_model.read(vectors, ends))
    }

    /// What [`texts`](Self::texts) multiplies end tokens' states with, `[d, w]`.
    pub fn text_projection(&self) -> Tensor<2> {
        self.text_projection.weight.val()
    }

    /// The factor that turns cosines into logits, e to the learned `logit_scale`; `[1]`.
    pub fn scale(&self) -> Tensor<1> {
        self.logit_scale.val().exp()
    }
}

impl Named for Clip {
    fn checkpoint_name(&self, path: &[String]) -> String {
        path.join(".")
    }
}

/// The initialisation of OpenAI's CLIP: token embeddings N(0, 0.02), positions N(0, 0.01), attention inputs N(0, 1/w),
/// outputs of a residual branch N(0, 1/(2 w depth)), first perceptron layers N(0, 1/(2 w)), projections N(0, 1/w), and a
/// scale of 1/0.07.
pub fn clip_init(spec: &ClipSpec) -> impl Fn(&str, &[usize]) -> Rule + use<> {
    let spec = *spec;
    move |name, shape| {
        let tower =
            if name.starts_with("vision_model") || name.starts_with("visual") { spec.vision } else { spec.text };
        let width = tower.width as f64;
        let last = name.trim_end_matches(".weight").rsplit('.').next().unwrap_or_default();
        let normal = |deviation: f64| Rule::Set(Init::Normal(deviation));
        match (last, shape) {
            ("logit_scale", _) => Rule::Set(Init::Constant((1.0_f64 / 0.07).ln() as f32)),
            ("token_embedding", _) => normal(0.02),
            ("position_embedding", _) if !name.starts_with("vision") => normal(0.01),
            ("class_embedding" | "position_embedding" | "visual_projection" | "text_projection", _) => {
                normal(width.powf(-0.5))
            }
            ("q_proj" | "k_proj" | "v_proj", [_, _]) => normal(width.powf(-0.5)),
            ("out_proj" | "fc2", [_, _]) => normal((width * 2.0 * tower.depth as f64).powf(-0.5)),
            ("fc1", [_, _]) => normal((2.0 * width).powf(-0.5)),
            _ => Rule::ByShape,
        }
    }
}
