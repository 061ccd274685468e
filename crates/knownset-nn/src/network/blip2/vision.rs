//! The image's side: a vision transformer whose blocks normalise before attention and perceptron.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use super::super::attention::attend;
use super::VisionSpec;

#[derive(Module, Debug)]
#[expect(clippy::struct_field_names, reason = "the checkpoints' names")]
struct Embeddings {
    class_embedding: Param<Tensor<3>>,
    position_embedding: Param<Tensor<3>>,
    patch_embedding: Conv2d,
}

#[derive(Module, Debug)]
struct Attention {
    /// Queries, keys and values beside one another.
    qkv: Linear,
    projection: Linear,
    heads: usize,
}

impl Attention {
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = input.dims();
        let all = self.qkv.forward(input);
        let part = |index: usize| all.clone().narrow(2, index * width, width);
        self.projection.forward(attend(part(0), part(1), part(2), self.heads, None))
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct VisionBlock {
    self_attn: Attention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

impl VisionBlock {
    fn new(spec: &VisionSpec, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let width = spec.width;
        Self {
            self_attn: Attention {
                qkv: LinearConfig::new(width, 3 * width).with_bias(spec.biases).init(device),
                projection: linear(width, width),
                heads: spec.heads,
            },
            layer_norm1: norm(spec, device),
            mlp: Mlp { fc1: linear(width, spec.hidden), fc2: linear(spec.hidden, width) },
            layer_norm2: norm(spec, device),
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let hidden = input.clone() + self.self_attn.forward(self.layer_norm1.forward(input));
        let inner = gelu(self.mlp.fc1.forward(self.layer_norm2.forward(hidden.clone())));
        hidden + self.mlp.fc2.forward(inner)
    }
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<VisionBlock>,
}

#[derive(Module, Debug)]
pub(super) struct VisionModel {
    embeddings: Embeddings,
    encoder: Encoder,
    post_layernorm: LayerNorm,
}

impl VisionModel {
    pub(super) fn new(spec: &VisionSpec, device: &Device) -> Self {
        let zeros = |tokens| Initializer::Zeros.init([1, tokens, spec.width], device);
        let patch = [spec.patch, spec.patch];
        Self {
            embeddings: Embeddings {
                class_embedding: zeros(1),
                position_embedding: zeros(spec.patches() + 1),
                patch_embedding: Conv2dConfig::new([3, spec.width], patch).with_stride(patch).init(device),
            },
            encoder: Encoder { layers: (0..spec.depth).map(|_| VisionBlock::new(spec, device)).collect() },
            post_layernorm: norm(spec, device),
        }
    }

    /// `[n, 3, side, side]` → `[n, 1 + P, v]`.
    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let Embeddings { class_embedding, position_embedding, patch_embedding } = &self.embeddings;
        let patches = patch_embedding.forward(images).flatten::<3>(2, 3).swap_dims(1, 2);
        let [n, _, width] = patches.dims();
        let class = class_embedding.val().expand([n, 1, width]);
        let tokens = Tensor::cat(vec![class, patches], 1) + position_embedding.val();
        let hidden = self.encoder.layers.iter().fold(tokens, |hidden, block| block.forward(hidden));
        self.post_layernorm.forward(hidden)
    }
}

fn norm(spec: &VisionSpec, device: &Device) -> LayerNorm {
    LayerNormConfig::new(spec.width).with_epsilon(spec.epsilon).init(device)
}
