//! TagOOD's head (Li et al. 2024, <https://arxiv.org/abs/2408.15566>): a small vision transformer over features that
//! another network gave of an image's patches. Tensors have the names of the released checkpoint.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Tensor, TensorData};

use super::init::{Init, Rule};
use super::parameters::Named;

/// A head's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHeadSpec {
    /// Length of the features it reads.
    pub inputs: usize,
    /// The most tokens P of an image.
    pub tokens: usize,
    /// Length d of its own tokens and of the embedding.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// Number of classes K.
    pub classes: usize,
}

impl TokenHeadSpec {
    /// Epsilon of every layer normalisation.
    const EPSILON: f64 = 1e-6;

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(Self::EPSILON).init(device)
    }
}

/// What dropout multiplies so many values by, in the order they are asked for: 0, or one over the share that stays.
pub type Factors<'a> = dyn FnMut(usize) -> Vec<f32> + 'a;

/// Dropout by factors from elsewhere, so that a run can be repeated; none leave everything as it is.
struct Dropout<'a, 'f>(Option<&'a mut Factors<'f>>);

impl Dropout<'_, '_> {
    fn on<const D: usize>(&mut self, input: Tensor<D>) -> Tensor<D> {
        let Some(factors) = &mut self.0 else { return input };
        let dims = input.dims();
        let factors = TensorData::new(factors(dims.iter().product()), dims);
        let factors = Tensor::from_data(factors, &input.device());
        input * factors
    }
}

#[derive(Module, Debug)]
struct Attention {
    in_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    fn forward(&self, input: Tensor<3>, dropout: &mut Dropout<'_, '_>) -> Tensor<3> {
        let [n, tokens, width] = input.dims();
        let size = width / self.heads;
        let projected = self.in_proj.forward(input).reshape([n, tokens, 3, self.heads, size]).permute([2, 0, 3, 1, 4]);
        let part = |index: usize| projected.clone().narrow(0, index, 1).squeeze_dim::<4>(0);
        let query = part(0) * (1.0 / (size as f64).sqrt());
        let weights = dropout.on(softmax(query.matmul(part(1).swap_dims(2, 3)), 3));
        let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([n, tokens, width]);
        self.out_proj.forward(mixed)
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct TokenBlock {
    ln_1: LayerNorm,
    self_attention: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

impl TokenBlock {
    fn new(spec: &TokenHeadSpec, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let width = spec.width;
        Self {
            ln_1: spec.norm(device),
            self_attention: Attention {
                in_proj: linear(width, 3 * width),
                out_proj: linear(width, width),
                heads: spec.heads,
            },
            ln_2: spec.norm(device),
            mlp: Mlp { fc1: linear(width, 4 * width), fc2: linear(4 * width, width) },
        }
    }

    fn forward(&self, input: Tensor<3>, dropout: &mut Dropout<'_, '_>) -> Tensor<3> {
        let mixed = self.self_attention.forward(self.ln_1.forward(input.clone()), dropout);
        let hidden = input + dropout.on(mixed);
        let inner = dropout.on(gelu(self.mlp.fc1.forward(self.ln_2.forward(hidden.clone()))));
        hidden + dropout.on(self.mlp.fc2.forward(inner))
    }
}

/// The head: tokens in, embedding and logits out.
#[derive(Module, Debug)]
pub struct TokenHead {
    cls_token: Param<Tensor<3>>,
    image_proj: Linear,
    /// By the rank of a token, the class token's first; not by the patch's place.
    pos_embedding: Param<Tensor<3>>,
    blocks: Vec<TokenBlock>,
    ln: LayerNorm,
    classifier: Linear,
}

impl TokenHead {
    /// A head with weights yet to be set, by [`load`](super::load) or [`initialise_with`](super::initialise_with) and
    /// [`token_head_init`].
    pub fn new(spec: &TokenHeadSpec, device: &Device) -> Self {
        let zeros = |rows| Param::from_tensor(Tensor::zeros([1, rows, spec.width], device));
        Self {
            cls_token: zeros(1),
            image_proj: LinearConfig::new(spec.inputs, spec.width).init(device),
            pos_embedding: zeros(spec.tokens + 1),
            blocks: (0..spec.depth).map(|_| TokenBlock::new(spec, device)).collect(),
            ln: spec.norm(device),
            classifier: LinearConfig::new(spec.width, spec.classes).init(device),
        }
    }

    /// `[n, P, inputs]` → the normalised class token `[n, d]`; P may be anything up to the head's number of tokens.
    pub fn embed(&self, tokens: Tensor<3>) -> Tensor<2> {
        self.forward(tokens, &mut Dropout(None))
    }

    /// [`Self::embed`] in training: dropout behind the positions, on the attention's weights, and behind attention and
    /// both layers of the perceptron.
    pub fn embed_dropping(&self, tokens: Tensor<3>, factors: &mut Factors<'_>) -> Tensor<2> {
        self.forward(tokens, &mut Dropout(Some(factors)))
    }

    fn forward(&self, tokens: Tensor<3>, dropout: &mut Dropout<'_, '_>) -> Tensor<2> {
        let tokens = self.image_proj.forward(tokens);
        let [n, count, width] = tokens.dims();
        let class = self.cls_token.val().expand([n, 1, width]);
        let places = self.pos_embedding.val().narrow(1, 0, count + 1);
        let mut hidden = dropout.on(Tensor::cat(vec![class, tokens], 1) + places);
        for block in &self.blocks {
            hidden = block.forward(hidden, dropout);
        }
        self.ln.forward(hidden.narrow(1, 0, 1)).squeeze_dim(1)
    }

    /// `[n, d]` embedding → `[n, K]` logits.
    pub fn classify(&self, embedding: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(embedding)
    }
}

impl Named for TokenHead {
    fn checkpoint_name(&self, path: &[String]) -> String {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path[..] {
            ["pos_embedding"] => "layers.pos_embedding".to_owned(),
            ["ln", tensor] => format!("layers.ln.{tensor}"),
            ["blocks", block, ref inside @ ..] => {
                let inside = match *inside {
                    ["self_attention", "in_proj", tensor] => format!("self_attention.in_proj_{tensor}"),
                    ["mlp", "fc1", tensor] => format!("mlp.0.{tensor}"),
                    ["mlp", "fc2", tensor] => format!("mlp.3.{tensor}"),
                    _ => inside.join("."),
                };
                format!("layers.layers.encoder_layer_{block}.{inside}")
            }
            _ => path.join("."),
        }
    }
}

/// How the reference begins a head's tensors: the class token with zeros, the perceptrons and the attention's first layer
/// by Glorot & Bengio 2010, the rest as [`initialise`](super::initialise) does.
///
/// Deviations: biases that PyTorch draws from ±1/√fan-in begin with zeros.
pub fn token_head_init(name: &str, shape: &[usize]) -> Rule {
    let glorot = name.contains(".mlp.") || name.ends_with("in_proj_weight");
    match *shape {
        _ if name == "cls_token" => Rule::Set(Init::Constant(0.0)),
        [_] if name.ends_with("in_proj_bias") => Rule::Set(Init::Constant(0.0)),
        [_] if name.contains(".mlp.") => Rule::Set(Init::Normal(1e-6)),
        [outputs, inputs] if glorot => Rule::Set(Init::Uniform((6.0 / (inputs + outputs) as f64).sqrt())),
        _ => Rule::ByShape,
    }
}
