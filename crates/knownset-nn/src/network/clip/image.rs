//! The image tower: a vision transformer with a normalisation before its first block.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, LayerNorm};
use burn::tensor::{Device, Tensor};

use super::ClipSpec;
use super::block::{Block, norm};

#[derive(Module, Debug)]
#[expect(clippy::struct_field_names, reason = "the checkpoints' names")]
struct Embeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: Conv2d,
    position_embedding: Table,
}

/// One vector a row.
#[derive(Module, Debug)]
pub(super) struct Table {
    pub(super) weight: Param<Tensor<2>>,
}

impl Table {
    pub(super) fn new(rows: usize, width: usize, device: &Device) -> Self {
        // Made when first used: a size that a file only states takes no memory.
        Self { weight: Initializer::Zeros.init([rows, width], device) }
    }
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Block>,
}

#[derive(Module, Debug)]
pub(super) struct ImageTower {
    embeddings: Embeddings,
    /// Spelt as the checkpoints spell it.
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
}

impl ImageTower {
    pub(super) fn new(spec: &ClipSpec, device: &Device) -> Self {
        let tower = &spec.vision;
        let patch = [spec.patch, spec.patch];
        let convolution = Conv2dConfig::new([3, tower.width], patch).with_stride(patch).with_bias(false);
        Self {
            embeddings: Embeddings {
                class_embedding: Param::from_tensor(Tensor::zeros([tower.width], device)),
                patch_embedding: convolution.init(device),
                position_embedding: Table::new(spec.patches() + 1, tower.width, device),
            },
            pre_layrnorm: norm(tower, device),
            encoder: Encoder { layers: (0..tower.depth).map(|_| Block::new(tower, device)).collect() },
            post_layernorm: norm(tower, device),
        }
    }

    /// `[n, 3, side, side]` → the class token `[n, w]`.
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        let hidden = self.encoder.layers.iter().fold(self.tokens(input), |hidden, block| block.forward(hidden, None));
        self.class_token(hidden)
    }

    /// The class token `[n, w]`, and each patch's token `[n, P, w]` by the value path of the last block.
    pub(super) fn with_patches(&self, input: Tensor<4>) -> (Tensor<2>, Tensor<3>) {
        let mut hidden = self.tokens(input);
        let Some((last, blocks)) = self.encoder.layers.split_last() else {
            let [_, tokens, _] = hidden.dims();
            let patches = self.post_layernorm.forward(hidden.clone().narrow(1, 1, tokens - 1));
            return (self.class_token(hidden), patches);
        };
        for block in blocks {
            hidden = block.forward(hidden, None);
        }
        let [_, tokens, _] = hidden.dims();
        let values = last.value_path(hidden.clone()).narrow(1, 1, tokens - 1);
        (self.class_token(last.forward(hidden, None)), self.post_layernorm.forward(values))
    }

    /// Class token and patches with their positions, normalised: what enters the first block.
    fn tokens(&self, input: Tensor<4>) -> Tensor<3> {
        let Embeddings { class_embedding, patch_embedding, position_embedding } = &self.embeddings;
        let patches = patch_embedding.forward(input).flatten::<3>(2, 3).swap_dims(1, 2);
        let [n, _, width] = patches.dims();
        let class = class_embedding.val().reshape([1, 1, width]).expand([n, 1, width]);
        let tokens = Tensor::cat(vec![class, patches], 1) + position_embedding.weight.val().unsqueeze::<3>();
        self.pre_layrnorm.forward(tokens)
    }

    fn class_token(&self, hidden: Tensor<3>) -> Tensor<2> {
        self.post_layernorm.forward(hidden.narrow(1, 0, 1)).squeeze_dim(1)
    }
}
