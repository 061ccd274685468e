//! The transformer block that both towers are made of: pre-normalised attention and a two-layer perceptron.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::{Device, Tensor};

use super::super::attention::attend;
use super::TowerSpec;

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    /// `mask` `[T, T]` is added to the weights before the softmax.
    fn forward(&self, input: Tensor<3>, mask: Option<&Tensor<2>>) -> Tensor<3> {
        let query = self.q_proj.forward(input.clone());
        let key = self.k_proj.forward(input.clone());
        let mixed = attend(query, key, self.v_proj.forward(input), self.heads, mask);
        self.out_proj.forward(mixed)
    }

    /// Every token attends to itself alone: what is left is the value path.
    fn value_path(&self, input: Tensor<3>) -> Tensor<3> {
        self.out_proj.forward(self.v_proj.forward(input))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    quick: bool,
}

impl Mlp {
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let inner = self.fc1.forward(input);
        let inner = if self.quick { inner.clone() * sigmoid(inner * 1.702) } else { gelu(inner) };
        self.fc2.forward(inner)
    }
}

/// One layer of a tower.
#[derive(Module, Debug)]
pub(super) struct Block {
    layer_norm1: LayerNorm,
    self_attn: Attention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    pub(super) fn new(spec: &TowerSpec, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let width = spec.width;
        Self {
            layer_norm1: norm(spec, device),
            self_attn: Attention {
                q_proj: linear(width, width),
                k_proj: linear(width, width),
                v_proj: linear(width, width),
                out_proj: linear(width, width),
                heads: spec.heads,
            },
            layer_norm2: norm(spec, device),
            mlp: Mlp { fc1: linear(width, spec.hidden), fc2: linear(spec.hidden, width), quick: spec.quick_gelu },
        }
    }

    pub(super) fn forward(&self, input: Tensor<3>, mask: Option<&Tensor<2>>) -> Tensor<3> {
        let mixed = self.self_attn.forward(self.layer_norm1.forward(input.clone()), mask);
        self.perceptron(input + mixed)
    }

    /// The block with its attention replaced by the value path.
    pub(super) fn value_path(&self, input: Tensor<3>) -> Tensor<3> {
        let values = self.self_attn.value_path(self.layer_norm1.forward(input.clone()));
        self.perceptron(input + values)
    }

    fn perceptron(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden.clone() + self.mlp.forward(self.layer_norm2.forward(hidden))
    }
}

/// A layer normalisation of the tower's width.
pub(super) fn norm(spec: &TowerSpec, device: &Device) -> LayerNorm {
    LayerNormConfig::new(spec.width).with_epsilon(spec.epsilon).init(device)
}
