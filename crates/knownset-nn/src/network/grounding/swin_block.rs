//! The block of a Swin transformer: attention within windows and a perceptron, each behind a normalisation.

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use super::attention::attend;
use super::dense::Dense;
use super::swin::SwinSpec;
use super::windows::Windows;

#[derive(Module, Debug)]
struct Weighing {
    query: Linear,
    key: Linear,
    value: Linear,
    relative_position_bias_table: Param<Tensor<2>>,
    heads: usize,
}

#[derive(Module, Debug)]
struct Attention {
    own: Weighing,
    output: Dense,
}

impl Attention {
    fn forward(&self, map: Tensor<4>, windows: &Windows, shifted: bool) -> Tensor<4> {
        let Weighing { query, key, value, relative_position_bias_table, heads } = &self.own;
        let [n, ..] = map.dims();
        let cut = windows.cut(map, shifted);
        let bias = windows.bias(relative_position_bias_table.val(), shifted, n);
        let (query, key, value) = (query.forward(cut.clone()), key.forward(cut.clone()), value.forward(cut));
        windows.join(self.output.forward(attend(query, key, value, *heads, Some(bias))), shifted)
    }
}

#[derive(Module, Debug)]
pub(super) struct SwinBlock {
    layernorm_before: LayerNorm,
    attention: Attention,
    layernorm_after: LayerNorm,
    intermediate: Dense,
    output: Dense,
}

impl SwinBlock {
    pub(super) fn new(spec: &SwinSpec, width: usize, heads: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(width).with_epsilon(spec.epsilon).init(device);
        let projection = || LinearConfig::new(width, width).with_bias(spec.qkv_bias).init(device);
        let hidden = (spec.mlp_ratio * width as f64) as usize;
        Self {
            layernorm_before: norm(),
            attention: Attention {
                own: Weighing {
                    query: projection(),
                    key: projection(),
                    value: projection(),
                    relative_position_bias_table: Initializer::Zeros
                        .init([(2 * spec.window - 1).pow(2), heads], device),
                    heads,
                },
                output: Dense::new(width, width, device),
            },
            layernorm_after: norm(),
            intermediate: Dense::new(width, hidden, device),
            output: Dense::new(hidden, width, device),
        }
    }

    /// `[n, h, w, c]` → the same shape. Every other block shifts the map, so that its windows straddle those of the
    /// block before.
    pub(super) fn forward(&self, map: Tensor<4>, windows: &Windows, shifted: bool) -> Tensor<4> {
        let map = map.clone() + self.attention.forward(self.layernorm_before.forward(map), windows, shifted);
        let inner = gelu(self.intermediate.forward(self.layernorm_after.forward(map.clone())));
        map + self.output.forward(inner)
    }
}
