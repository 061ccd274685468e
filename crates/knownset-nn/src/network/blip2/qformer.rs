//! The Q-Former: a BERT whose tokens are learned queries, and some of whose blocks also look at an image. Blocks normalise
//! behind attention and perceptron.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use super::super::attention::attend;
use super::QFormerSpec;

/// A linear layer whose output is added to what a branch began with, and the sum normalised.
#[derive(Module, Debug)]
struct Output {
    dense: Linear,
    norm: LayerNorm,
}

impl Output {
    fn new(spec: &QFormerSpec, inputs: usize, device: &Device) -> Self {
        Self { dense: LinearConfig::new(inputs, spec.width).init(device), norm: norm(spec, device) }
    }

    fn forward(&self, rows: Tensor<3>, start: Tensor<3>) -> Tensor<3> {
        self.norm.forward(self.dense.forward(rows) + start)
    }
}

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Output,
    heads: usize,
}

impl Attention {
    /// Queries look at tokens of length `inputs`.
    fn new(spec: &QFormerSpec, inputs: usize, device: &Device) -> Self {
        let linear = |inputs| LinearConfig::new(inputs, spec.width).init(device);
        Self {
            query: linear(spec.width),
            key: linear(inputs),
            value: linear(inputs),
            output: Output::new(spec, spec.width, device),
            heads: spec.heads,
        }
    }

    fn forward(&self, queries: Tensor<3>, looked_at: Tensor<3>) -> Tensor<3> {
        let query = self.query.forward(queries.clone());
        let key = self.key.forward(looked_at.clone());
        let mixed = attend(query, key, self.value.forward(looked_at), self.heads, None);
        self.output.forward(mixed, queries)
    }
}

#[derive(Module, Debug)]
struct QFormerBlock {
    attention: Attention,
    crossattention: Option<Attention>,
    intermediate_query: Linear,
    output_query: Output,
}

impl QFormerBlock {
    fn new(spec: &QFormerSpec, number: usize, image: usize, device: &Device) -> Self {
        Self {
            attention: Attention::new(spec, spec.width, device),
            crossattention: number.is_multiple_of(spec.every).then(|| Attention::new(spec, image, device)),
            intermediate_query: LinearConfig::new(spec.width, spec.hidden).init(device),
            output_query: Output::new(spec, spec.hidden, device),
        }
    }

    fn forward(&self, queries: Tensor<3>, seen: &Tensor<3>) -> Tensor<3> {
        let mut hidden = self.attention.forward(queries.clone(), queries);
        if let Some(look) = &self.crossattention {
            hidden = look.forward(hidden, seen.clone());
        }
        let inner = gelu(self.intermediate_query.forward(hidden.clone()));
        self.output_query.forward(inner, hidden)
    }
}

#[derive(Module, Debug)]
pub(super) struct QFormer {
    layernorm: LayerNorm,
    layers: Vec<QFormerBlock>,
}

impl QFormer {
    /// Tokens of the image are of length `image`.
    pub(super) fn new(spec: &QFormerSpec, image: usize, device: &Device) -> Self {
        let block = |number| QFormerBlock::new(spec, number, image, device);
        Self { layernorm: norm(spec, device), layers: (0..spec.depth).map(block).collect() }
    }

    /// Queries `[n, Q, q]` and what was seen `[n, 1 + P, v]` → answers `[n, Q, q]`.
    pub(super) fn forward(&self, queries: Tensor<3>, seen: &Tensor<3>) -> Tensor<3> {
        let start = self.layernorm.forward(queries);
        self.layers.iter().fold(start, |hidden, block| block.forward(hidden, seen))
    }
}

/// `layers.3.attention.query.weight` → `encoder.layer.3.attention.attention.query.weight`, and the like.
pub(super) fn checkpoint_name(path: &[String]) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["layers", number, ref inside @ ..] => {
            let inside = match *inside {
                [attention, part @ ("query" | "key" | "value"), tensor] => {
                    format!("{attention}.attention.{part}.{tensor}")
                }
                ["intermediate_query", tensor] => format!("intermediate_query.dense.{tensor}"),
                [ref before @ .., "norm", tensor] => format!("{}.LayerNorm.{tensor}", before.join(".")),
                _ => inside.join("."),
            };
            format!("encoder.layer.{number}.{inside}")
        }
        _ => path.join("."),
    }
}

fn norm(spec: &QFormerSpec, device: &Device) -> LayerNorm {
    LayerNormConfig::new(spec.width).with_epsilon(spec.epsilon).init(device)
}
