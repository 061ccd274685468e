//! The decoder: queries look at each other, at the text and at the image, and move their boxes layer by layer.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor};

use super::attention::Attention;
use super::deformable::{DeformableAttention, Place};
use super::perceptron::Perceptron;
use super::{GroundingSpec, positions};

/// A box's coordinates are kept this far from 0 and 1 before their logits are taken.
const EPSILON: f64 = 1e-5;

#[derive(Module, Debug)]
struct Layer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    encoder_attn_text: Attention,
    encoder_attn_text_layer_norm: LayerNorm,
    encoder_attn: DeformableAttention,
    encoder_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
}

impl Layer {
    fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let (d, stack) = (spec.width, &spec.decoder);
        Self {
            self_attn: Attention::new(d, stack.heads, device),
            self_attn_layer_norm: spec.norm(device),
            encoder_attn_text: Attention::new(d, stack.heads, device),
            encoder_attn_text_layer_norm: spec.norm(device),
            encoder_attn: DeformableAttention::new(spec, stack, device),
            encoder_attn_layer_norm: spec.norm(device),
            fc1: LinearConfig::new(d, stack.hidden).init(device),
            fc2: LinearConfig::new(stack.hidden, d).init(device),
            final_layer_norm: spec.norm(device),
        }
    }

    fn forward(&self, queries: Tensor<3>, boxes: &Tensor<2>, place: Tensor<3>, encoded: &Encoded) -> Tensor<3> {
        let placed = queries.clone() + place.clone();
        let mixed = self.self_attn.forward(placed.clone(), placed, queries.clone(), None);
        let queries = self.self_attn_layer_norm.forward(queries + mixed);

        let text = encoded.text.clone();
        let read = self.encoder_attn_text.forward(queries.clone() + place.clone(), text.clone(), text, None);
        let queries = self.encoder_attn_text_layer_norm.forward(queries + read);

        let (cells, boxes) = (encoded.cells.clone(), Place::Boxes(boxes.clone()));
        let read = self.encoder_attn.forward(queries.clone() + place, &boxes, cells, &encoded.maps);
        let queries = self.encoder_attn_layer_norm.forward(queries + read);

        let inner = self.fc2.forward(relu(self.fc1.forward(queries.clone())));
        self.final_layer_norm.forward(queries + inner)
    }
}

/// What the encoder says.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Height and width of each map.
    pub maps: Vec<[usize; 2]>,
    /// The maps' cells `[1, S, d]`, the finest map first, each row by row.
    pub cells: Tensor<3>,
    /// The text's tokens `[1, T, d]`.
    pub text: Tensor<3>,
}

#[derive(Module, Debug)]
pub(super) struct Decoder {
    layer_norm: LayerNorm,
    layers: Vec<Layer>,
    reference_points_head: Perceptron,
}

impl Decoder {
    pub(super) fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let d = spec.width;
        Self {
            layer_norm: spec.norm(device),
            layers: (0..spec.decoder.depth).map(|_| Layer::new(spec, device)).collect(),
            reference_points_head: Perceptron::new(&[2 * d, d, d], device),
        }
    }

    /// Queries `[1, Q, d]` at `boxes` `[Q, 4]` → normalised queries and moved boxes. `heads` move the boxes: one for each
    /// layer, or one for all.
    pub(super) fn forward(
        &self,
        mut queries: Tensor<3>,
        mut boxes: Tensor<2>,
        encoded: &Encoded,
        heads: &[Perceptron],
    ) -> (Tensor<3>, Tensor<2>) {
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            let [_, _, d] = queries.dims();
            let place = positions::boxes(boxes.clone(), d).unsqueeze::<3>();
            queries = layer.forward(queries, &boxes, self.reference_points_head.forward(place), encoded);
            // The queries go on as they are, but what the last layer says of a box it says of the normalised query.
            let told = if index == last { self.layer_norm.forward(queries.clone()) } else { queries.clone() };
            if let Some(head) = heads.get(index).or(heads.first()) {
                let boxes_logits = logit(boxes) + head.forward(told).squeeze_dim::<2>(0);
                boxes = sigmoid(boxes_logits);
            }
        }
        (self.layer_norm.forward(queries), boxes)
    }
}

fn logit(boxes: Tensor<2>) -> Tensor<2> {
    let inside = boxes.clamp(EPSILON, 1.0 - EPSILON);
    (inside.clone() / (inside * -1.0 + 1.0)).log()
}
