//! The text tower: a causal transformer read at the end token, or everywhere.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Device, Int, Tensor};

use super::super::attention::causal;
use super::block::{Block, norm};
use super::image::Table;
use super::{Named, TowerSpec};

/// The architecture of the text tower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextSpec {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Longest text in tokens.
    pub context: usize,
    /// Its layers.
    pub tower: TowerSpec,
}

#[derive(Module, Debug)]
struct Embeddings {
    token_embedding: Table,
    position_embedding: Table,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Block>,
}

#[derive(Module, Debug)]
pub(super) struct TextTower {
    embeddings: Embeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
}

impl TextTower {
    pub(super) fn new(spec: &TextSpec, device: &Device) -> Self {
        let tower = &spec.tower;
        Self {
            embeddings: Embeddings {
                token_embedding: Table::new(spec.vocabulary, tower.width, device),
                position_embedding: Table::new(spec.context, tower.width, device),
            },
            encoder: Encoder { layers: (0..tower.depth).map(|_| Block::new(tower, device)).collect() },
            final_layer_norm: norm(tower, device),
        }
    }

    /// Ids `[n, T]` → the vectors of their tokens `[n, T, w]`.
    pub(super) fn vectors(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [n, tokens] = ids.dims();
        let table = self.embeddings.token_embedding.weight.val();
        let [_, width] = table.dims();
        table.select(0, ids.reshape([n * tokens])).reshape([n, tokens, width])
    }

    /// Token vectors `[n, T, w]` and the place of each end token `[n]` → `[n, w]`.
    pub(super) fn read(&self, vectors: Tensor<3>, ends: Tensor<1, Int>) -> Tensor<2> {
        let [n, _, width] = vectors.dims();
        let ends = ends.reshape([n, 1, 1]).expand([n, 1, width]);
        self.final_layer_norm.forward(self.hidden(vectors).gather(1, ends)).squeeze_dim(1)
    }

    /// Token vectors `[n, T, w]` → what the last block says of each `[n, T, w]`.
    fn hidden(&self, vectors: Tensor<3>) -> Tensor<3> {
        let [_, tokens, _] = vectors.dims();
        let places = self.embeddings.position_embedding.weight.val().narrow(0, 0, tokens);
        let mask = causal(tokens, 0, &vectors.device());
        let start = vectors + places.unsqueeze::<3>();
        self.encoder.layers.iter().fold(start, |hidden, block| block.forward(hidden, Some(&mask)))
    }
}

/// The text tower alone: `CLIPTextModel` of transformers, the text encoder of Stable Diffusion.
#[derive(Module, Debug)]
pub struct ClipText {
    text_model: TextTower,
}

impl ClipText {
    /// A tower with weights yet to be set, by [`load`](super::super::load).
    pub fn new(spec: &TextSpec, device: &Device) -> Self {
        Self { text_model: TextTower::new(spec, device) }
    }

    /// Ids `[n, T]`, T at most the context → each token's state `[n, T, w]` behind the last normalisation.
    pub fn states(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let tower = &self.text_model;
        tower.final_layer_norm.forward(tower.hidden(tower.vectors(ids)))
    }
}

impl Named for ClipText {
    fn checkpoint_name(&self, path: &[String]) -> String {
        path.join(".")
    }
}
