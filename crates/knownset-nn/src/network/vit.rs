//! Vision transformers (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>) as timm lays them out.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{DType, Device, FloatDType, Tensor};

use super::mixed::rounded;
use super::parameters::Named;

/// A vision transformer's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VitSpec {
    /// Side of the square image in pixels.
    pub image: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Length of a token, the embedding's d.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
}

impl VitSpec {
    /// Epsilon of every layer normalisation.
    const EPSILON: f64 = 1e-6;

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(Self::EPSILON).init(device)
    }
}

#[derive(Module, Debug)]
struct PatchEmbed {
    proj: Conv2d,
}

#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let [n, tokens, width] = input.dims();
        let (size, precision) = (width / self.heads, input.dtype());
        let qkv = rounded(&self.qkv, precision)
            .forward(input)
            .reshape([n, tokens, 3, self.heads, size])
            .permute([2, 0, 3, 1, 4]);
        let part = |index: usize| qkv.clone().narrow(0, index, 1).squeeze_dim::<4>(0);
        let query = part(0) * (1.0 / (size as f64).sqrt());
        let weights = softmax(query.matmul(part(1).swap_dims(2, 3)), 3);
        let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([n, tokens, width]);
        rounded(&self.proj, precision).forward(mixed)
    }
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct VitBlock {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl VitBlock {
    fn new(spec: &VitSpec, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let width = spec.width;
        Self {
            norm1: spec.norm(device),
            attn: Attention { qkv: linear(width, 3 * width), proj: linear(width, width), heads: spec.heads },
            norm2: spec.norm(device),
            mlp: Mlp { fc1: linear(width, 4 * width), fc2: linear(4 * width, width) },
        }
    }

    /// Layers compute in `precision`; what goes around them is f32.
    fn forward(&self, input: Tensor<3>, precision: DType) -> Tensor<3> {
        let normed = self.norm1.forward(input.clone()).cast(precision);
        let hidden = input + self.attn.forward(normed).cast(FloatDType::F32);
        let normed = self.norm2.forward(hidden.clone()).cast(precision);
        let inner = gelu(rounded(&self.mlp.fc1, precision).forward(normed));
        hidden + rounded(&self.mlp.fc2, precision).forward(inner).cast(FloatDType::F32)
    }
}

/// A vision transformer; the embedding is the normalised class token.
#[derive(Module, Debug)]
pub struct Vit {
    cls_token: Param<Tensor<3>>,
    pos_embed: Param<Tensor<3>>,
    patch_embed: PatchEmbed,
    blocks: Vec<VitBlock>,
    norm: LayerNorm,
    head: Linear,
}

impl Vit {
    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: VitSpec, classes: usize, device: &Device) -> Self {
        let side = spec.image / spec.patch;
        let zeros = |tokens| Param::from_tensor(Tensor::zeros([1, tokens, spec.width], device));
        let proj = Conv2dConfig::new([3, spec.width], [spec.patch, spec.patch]).with_stride([spec.patch, spec.patch]);
        Self {
            cls_token: zeros(1),
            pos_embed: zeros(side * side + 1),
            patch_embed: PatchEmbed { proj: proj.init(device) },
            blocks: (0..spec.depth).map(|_| VitBlock::new(&spec, device)).collect(),
            norm: spec.norm(device),
            head: LinearConfig::new(spec.width, classes).init(device),
        }
    }

    /// `[n, 3, h, w]` → the `[n, d]` that the last layer reads.
    pub fn embed(&self, input: Tensor<4>) -> Tensor<2> {
        let precision = input.dtype();
        let patches = rounded(&self.patch_embed.proj, precision).forward(input).cast(FloatDType::F32);
        let patches = patches.flatten::<3>(2, 3).swap_dims(1, 2);
        let [n, _, width] = patches.dims();
        let class = self.cls_token.val().expand([n, 1, width]);
        let mut hidden = Tensor::cat(vec![class, patches], 1) + self.pos_embed.val();
        for block in &self.blocks {
            hidden = block.forward(hidden, precision);
        }
        self.norm.forward(hidden.narrow(1, 0, 1)).squeeze_dim(1)
    }

    /// The last layer.
    pub(super) fn head(&self) -> &Linear {
        &self.head
    }

    /// `[n, d]` embedding → `[n, K]` logits.
    pub fn classify(&self, embedding: Tensor<2>) -> Tensor<2> {
        self.head.forward(embedding)
    }

    /// `[n, 3, h, w]` → `[n, K]` logits.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.classify(self.embed(input))
    }
}

impl Named for Vit {
    fn checkpoint_name(&self, path: &[String]) -> String {
        path.join(".")
    }
}
