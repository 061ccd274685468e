//! Image and text look at each other (Liu et al. 2023, <https://arxiv.org/abs/2303.05499>, after GLIP).

use burn::module::{Module, Param};
use burn::nn::{Initializer, LayerNorm, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::GroundingSpec;
use super::attention::split;

/// Weights are kept within this of their largest.
const LIMIT: f64 = 50_000.0;

/// Attention in both directions by the same weights.
#[derive(Module, Debug)]
struct BothWays {
    vision_proj: Linear,
    text_proj: Linear,
    values_vision_proj: Linear,
    values_text_proj: Linear,
    out_vision_proj: Linear,
    out_text_proj: Linear,
    heads: usize,
}

impl BothWays {
    /// Cells `[n, S, d]` and text `[n, T, d]` → what each read of the other.
    fn forward(&self, cells: Tensor<3>, text: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let query = self.vision_proj.forward(cells.clone());
        let [_, _, inner] = query.dims();
        let query = split(query * (1.0 / ((inner / self.heads) as f64).sqrt()), self.heads);
        let weights = query.matmul(split(self.text_proj.forward(text.clone()), self.heads).swap_dims(2, 3));
        // Only differences count; the reference clamps them for the sake of half precision.
        let weights = weights.clone() - weights.max().reshape([1, 1, 1, 1]);
        let weights = weights.clamp(-LIMIT, LIMIT);
        let turned = weights.clone().swap_dims(2, 3);
        let turned = (turned.clone() - turned.max_dim(3)).clamp(-LIMIT, LIMIT);

        let values = |projection: &Linear, tokens: Tensor<3>| split(projection.forward(tokens), self.heads);
        let join = |mixed: Tensor<4>| {
            let [n, heads, tokens, size] = mixed.dims();
            mixed.swap_dims(1, 2).reshape([n, tokens, heads * size])
        };
        let of_text = join(softmax(weights, 3).matmul(values(&self.values_text_proj, text)));
        let of_cells = join(softmax(turned, 3).matmul(values(&self.values_vision_proj, cells)));
        (self.out_vision_proj.forward(of_text), self.out_text_proj.forward(of_cells))
    }
}

#[derive(Module, Debug)]
pub(super) struct Fusion {
    layer_norm_vision: LayerNorm,
    layer_norm_text: LayerNorm,
    attn: BothWays,
    vision_param: Param<Tensor<1>>,
    text_param: Param<Tensor<1>>,
}

impl Fusion {
    pub(super) fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let d = spec.width;
        let inner = spec.encoder.hidden / 2;
        let inward = || LinearConfig::new(d, inner).init(device);
        let outward = || LinearConfig::new(inner, d).init(device);
        let scale = || Initializer::Zeros.init([d], device);
        Self {
            layer_norm_vision: spec.norm(device),
            layer_norm_text: spec.norm(device),
            attn: BothWays {
                vision_proj: inward(),
                text_proj: inward(),
                values_vision_proj: inward(),
                values_text_proj: inward(),
                out_vision_proj: outward(),
                out_text_proj: outward(),
                heads: spec.encoder.heads / 2,
            },
            vision_param: scale(),
            text_param: scale(),
        }
    }

    /// Cells `[n, S, d]` and text `[n, T, d]` → the same, each with what it read of the other.
    pub(super) fn forward(&self, cells: Tensor<3>, text: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let (cells, text) = (self.layer_norm_vision.forward(cells), self.layer_norm_text.forward(text));
        let (of_text, of_cells) = self.attn.forward(cells.clone(), text.clone());
        let scaled = |scale: &Param<Tensor<1>>, read: Tensor<3>| read * scale.val().unsqueeze::<3>();
        (cells + scaled(&self.vision_param, of_text), text + scaled(&self.text_param, of_cells))
    }
}
