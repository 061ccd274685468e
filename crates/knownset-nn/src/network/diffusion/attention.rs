//! Attention among pixels, and of pixels to a context.

use burn::module::Module;
use burn::nn::{GroupNorm, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use super::layout::Maps;
use super::residual::Norm;

/// Epsilon of the group normalisation before attention, whatever the network's others have.
const GROUP_EPSILON: f64 = 1e-6;
/// Epsilon of the layer normalisations.
const LAYER_EPSILON: f64 = 1e-5;

#[derive(Module, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    /// One layer; the checkpoints number it.
    to_out: Vec<Linear>,
    heads: usize,
}

impl Attention {
    /// From tokens of `width` to tokens of `context`; `bias` is that of queries, keys and values.
    fn new(width: usize, context: usize, heads: usize, bias: bool, device: &Device) -> Self {
        let linear = |inputs, bias| LinearConfig::new(inputs, width).with_bias(bias).init(device);
        Self {
            to_q: linear(width, bias),
            to_k: linear(context, bias),
            to_v: linear(context, bias),
            to_out: vec![linear(width, true)],
            heads,
        }
    }

    /// `[n, T, w]` looks at `[n, S, c]`. The weights are never all in memory at once where the device can do without.
    fn forward(&self, input: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let [n, tokens, width] = input.dims();
        let split = |rows: Tensor<3>| {
            let [_, count, _] = rows.dims();
            rows.reshape([n, count, self.heads, width / self.heads]).swap_dims(1, 2)
        };
        let (query, key) = (split(self.to_q.forward(input)), split(self.to_k.forward(context.clone())));
        let value = split(self.to_v.forward(context));
        let mixed = attention(query, key, value, None, None, AttentionModuleOptions::default());
        let mixed = mixed.swap_dims(1, 2).reshape([n, tokens, width]);
        self.to_out.iter().fold(mixed, |hidden, layer| layer.forward(hidden))
    }
}

/// A perceptron whose hidden layer is gated by GELU (Shazeer 2020, <https://arxiv.org/abs/2002.05202>).
#[derive(Module, Debug)]
struct FeedForward {
    widen: Linear,
    narrow: Linear,
}

impl FeedForward {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            widen: LinearConfig::new(width, 8 * width).init(device),
            narrow: LinearConfig::new(4 * width, width).init(device),
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = input.dims();
        let hidden = self.widen.forward(input);
        let (values, gates) = (hidden.clone().narrow(2, 0, 4 * width), hidden.narrow(2, 4 * width, 4 * width));
        self.narrow.forward(values * gelu(gates))
    }
}

#[derive(Module, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl TransformerBlock {
    fn new(width: usize, context: usize, heads: usize, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(width).with_epsilon(LAYER_EPSILON).init(device);
        Self {
            norm1: norm(),
            attn1: Attention::new(width, width, heads, false, device),
            norm2: norm(),
            attn2: Attention::new(width, context, heads, false, device),
            norm3: norm(),
            ff: FeedForward::new(width, device),
        }
    }

    fn forward(&self, input: Tensor<3>, context: &Tensor<3>) -> Tensor<3> {
        let normal = self.norm1.forward(input.clone());
        let hidden = input + self.attn1.forward(normal.clone(), normal);
        let hidden = hidden.clone() + self.attn2.forward(self.norm2.forward(hidden), context.clone());
        hidden.clone() + self.ff.forward(self.norm3.forward(hidden))
    }
}

/// Pixels as tokens through transformer blocks that also look at a context.
///
/// `proj_in` and `proj_out` are linear layers. Checkpoints of Stable Diffusion 1.x keep the same matrices as 1x1
/// convolutions.
#[derive(Module, Debug)]
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl SpatialTransformer {
    pub(super) fn new(
        channels: usize,
        context: usize,
        heads: usize,
        depth: usize,
        groups: usize,
        device: &Device,
    ) -> Self {
        let linear = || LinearConfig::new(channels, channels).init(device);
        let block = |_| TransformerBlock::new(channels, context, heads, device);
        Self {
            norm: Norm { groups, epsilon: GROUP_EPSILON }.init(channels, device),
            proj_in: linear(),
            transformer_blocks: (0..depth).map(block).collect(),
            proj_out: linear(),
        }
    }

    /// Maps and a context `[n, T, d]` → maps of the same shape.
    pub(super) fn forward(&self, input: Maps, context: &Tensor<3>) -> Maps {
        let start = self.proj_in.forward(input.clone().normalised(&self.norm).tokens());
        let hidden = self.transformer_blocks.iter().fold(start, |hidden, block| block.forward(hidden, context));
        input.plus_tokens(self.proj_out.forward(hidden))
    }
}

/// One attention head among all pixels, as the autoencoder has it.
#[derive(Module, Debug)]
pub(super) struct PixelAttention {
    group_norm: GroupNorm,
    /// Without a name of its own in the checkpoints.
    attend: Attention,
}

impl PixelAttention {
    pub(super) fn new(channels: usize, norm: Norm, device: &Device) -> Self {
        Self { group_norm: norm.init(channels, device), attend: Attention::new(channels, channels, 1, true, device) }
    }

    /// To maps of the same shape.
    pub(super) fn forward(&self, input: Maps) -> Maps {
        let normal = input.clone().normalised(&self.group_norm).tokens();
        input.plus_tokens(self.attend.forward(normal.clone(), normal))
    }
}
