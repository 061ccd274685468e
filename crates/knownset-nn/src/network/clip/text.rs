//! The text tower: a causal transformer read at the end token.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::ClipSpec;
use super::block::{Block, norm};
use super::image::Table;

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
    pub(super) fn new(spec: &ClipSpec, device: &Device) -> Self {
        let tower = &spec.text;
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
        let [n, tokens, width] = vectors.dims();
        let places = self.embeddings.position_embedding.weight.val().narrow(0, 0, tokens);
        let mask = causal(tokens, &vectors.device());
        let mut hidden = vectors + places.unsqueeze::<3>();
        for block in &self.encoder.layers {
            hidden = block.forward(hidden, Some(&mask));
        }
        let ends = ends.reshape([n, 1, 1]).expand([n, 1, width]);
        self.final_layer_norm.forward(hidden.gather(1, ends)).squeeze_dim(1)
    }
}

/// `[T, T]`: 0 where a token may look, a large negative number at every later token.
fn causal(tokens: usize, device: &Device) -> Tensor<2> {
    let later = |place: usize| if place % tokens > place / tokens { f32::MIN } else { 0.0 };
    let values: Vec<f32> = (0..tokens * tokens).map(later).collect();
    Tensor::from_data(TensorData::new(values, [tokens, tokens]), device)
}
