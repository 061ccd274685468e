//! BERT (Devlin et al. 2018, <https://arxiv.org/abs/1810.04805>) as a text encoder, without its pooling layer.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Int, Tensor};

use super::attention::attend;
use super::dense::Dense;

/// A BERT's architecture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BertSpec {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Number of positions.
    pub positions: usize,
    /// Number of kinds of text; only the first is used.
    pub kinds: usize,
    /// Length of a token.
    pub width: usize,
    /// Length of the hidden layer of a block's perceptron.
    pub hidden: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// Epsilon of every layer normalisation.
    pub epsilon: f64,
}

impl BertSpec {
    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(self.epsilon).init(device)
    }
}

#[derive(Module, Debug)]
#[expect(clippy::struct_field_names, reason = "the checkpoints' names")]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Weighing {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
}

/// A linear layer, and the normalisation of its output's sum with what is carried past it.
#[derive(Module, Debug)]
struct Output {
    dense: Linear,
    layer_norm: LayerNorm,
}

impl Output {
    fn new(spec: &BertSpec, inputs: usize, device: &Device) -> Self {
        Self { dense: LinearConfig::new(inputs, spec.width).init(device), layer_norm: spec.norm(device) }
    }

    fn forward(&self, input: Tensor<3>, carried: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(self.dense.forward(input) + carried)
    }
}

#[derive(Module, Debug)]
struct Attention {
    own: Weighing,
    output: Output,
}

#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Dense,
    output: Output,
}

impl Layer {
    fn new(spec: &BertSpec, device: &Device) -> Self {
        let projection = || LinearConfig::new(spec.width, spec.width).init(device);
        Self {
            attention: Attention {
                own: Weighing { query: projection(), key: projection(), value: projection(), heads: spec.heads },
                output: Output::new(spec, spec.width, device),
            },
            intermediate: Dense::new(spec.width, spec.hidden, device),
            output: Output::new(spec, spec.hidden, device),
        }
    }

    fn forward(&self, input: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let Weighing { query, key, value, heads } = &self.attention.own;
        let [query, key, value] = [query, key, value].map(|projection| projection.forward(input.clone()));
        let mixed = self.attention.output.forward(attend(query, key, value, *heads, Some(mask)), input);
        self.output.forward(gelu(self.intermediate.forward(mixed.clone())), mixed)
    }
}

#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

#[derive(Module, Debug)]
pub(super) struct Bert {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Bert {
    pub(super) fn new(spec: &BertSpec, device: &Device) -> Self {
        let table = |rows| EmbeddingConfig::new(rows, spec.width).init(device);
        Self {
            embeddings: Embeddings {
                word_embeddings: table(spec.vocabulary),
                position_embeddings: table(spec.positions),
                token_type_embeddings: table(spec.kinds),
                layer_norm: spec.norm(device),
            },
            encoder: Encoder { layer: (0..spec.depth).map(|_| Layer::new(spec, device)).collect() },
        }
    }

    /// Ids and positions `[1, T]` → `[1, T, w]`; `mask` `[1, 1, T, T]` is added to every layer's attention weights.
    pub(super) fn forward(&self, ids: Tensor<2, Int>, positions: Tensor<2, Int>, mask: Tensor<4>) -> Tensor<3> {
        let Embeddings { word_embeddings, position_embeddings, token_type_embeddings, layer_norm } = &self.embeddings;
        let kind = token_type_embeddings.weight.val().narrow(0, 0, 1).unsqueeze::<3>();
        let vectors = word_embeddings.forward(ids) + kind + position_embeddings.forward(positions);
        self.encoder.layer.iter().fold(layer_norm.forward(vectors), |hidden, layer| layer.forward(hidden, mask.clone()))
    }
}
