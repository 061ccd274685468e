//! The encoder: in every layer image and text look at each other, then the text at itself, then the image at itself.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::GroundingSpec;
use super::attention::Attention;
use super::deformable::{DeformableAttention, Place};
use super::fusion::Fusion;
use super::pyramid::Cells;

/// Self-attention of the text, a phrase at a time.
#[derive(Module, Debug)]
struct TextLayer {
    self_attn: Attention,
    layer_norm_before: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    layer_norm_after: LayerNorm,
}

impl TextLayer {
    fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let (d, hidden) = (spec.width, spec.encoder.hidden / 2);
        Self {
            self_attn: Attention::new(d, spec.encoder.heads / 2, device),
            layer_norm_before: spec.norm(device),
            fc1: LinearConfig::new(d, hidden).init(device),
            fc2: LinearConfig::new(hidden, d).init(device),
            layer_norm_after: spec.norm(device),
        }
    }

    fn forward(&self, text: Tensor<3>, positions: Tensor<3>, mask: Tensor<4>) -> Tensor<3> {
        let placed = text.clone() + positions;
        let mixed = self.self_attn.forward(placed.clone(), placed, text.clone(), Some(mask));
        let text = self.layer_norm_before.forward(text + mixed);
        let inner = self.fc2.forward(relu(self.fc1.forward(text.clone())));
        self.layer_norm_after.forward(inner + text)
    }
}

/// Deformable self-attention of the image.
#[derive(Module, Debug)]
struct ImageLayer {
    self_attn: DeformableAttention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
}

impl ImageLayer {
    fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let (d, hidden) = (spec.width, spec.encoder.hidden);
        Self {
            self_attn: DeformableAttention::new(spec, &spec.encoder, device),
            self_attn_layer_norm: spec.norm(device),
            fc1: LinearConfig::new(d, hidden).init(device),
            fc2: LinearConfig::new(hidden, d).init(device),
            final_layer_norm: spec.norm(device),
        }
    }

    fn forward(&self, tokens: Tensor<3>, cells: &Cells, place: &Place) -> Tensor<3> {
        let placed = tokens.clone() + cells.positions.clone();
        let read = self.self_attn.forward(placed, place, tokens.clone(), &cells.maps);
        let tokens = self.self_attn_layer_norm.forward(tokens + read);
        let inner = self.fc2.forward(relu(self.fc1.forward(tokens.clone())));
        self.final_layer_norm.forward(tokens + inner)
    }
}

#[derive(Module, Debug)]
#[expect(clippy::struct_field_names, reason = "the checkpoints' names")]
struct Layer {
    text_enhancer_layer: TextLayer,
    fusion_layer: Fusion,
    deformable_layer: ImageLayer,
}

#[derive(Module, Debug)]
pub(super) struct Encoder {
    layers: Vec<Layer>,
}

impl Encoder {
    pub(super) fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let layer = || Layer {
            text_enhancer_layer: TextLayer::new(spec, device),
            fusion_layer: Fusion::new(spec, device),
            deformable_layer: ImageLayer::new(spec, device),
        };
        Self { layers: (0..spec.encoder.depth).map(|_| layer()).collect() }
    }

    /// Cells of n images and the text `[n, T, d]` beside each, with its positions `[1, T, d]` and mask `[1, 1, T, T]` →
    /// cells' tokens and text.
    pub(super) fn forward(
        &self,
        cells: &Cells,
        text: Tensor<3>,
        positions: &Tensor<3>,
        mask: &Tensor<4>,
    ) -> (Tensor<3>, Tensor<3>) {
        let place = Place::Points(cells.centres());
        self.layers.iter().fold((cells.tokens.clone(), text), |(tokens, text), layer| {
            let (tokens, text) = layer.fusion_layer.forward(tokens, text);
            let text = layer.text_enhancer_layer.forward(text, positions.clone(), mask.clone());
            (layer.deformable_layer.forward(tokens, cells, &place), text)
        })
    }
}
