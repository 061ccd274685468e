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

    fn forward(&self, queries: Tensor<3>, boxes: &Tensor<3>, place: Tensor<3>, encoded: &Encoded) -> Tensor<3> {
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
    /// The maps' cells `[n, S, d]`, the finest map first, each row by row.
    pub cells: Tensor<3>,
    /// The text's tokens beside each image `[n, T, d]`.
    pub text: Tensor<3>,
}

/// What is said of boxes.
#[derive(Debug, Clone)]
pub struct Said {
    /// How well each of B boxes fits each token of the text, `[n, B, T]`, as logits.
    pub logits: Tensor<3>,
    /// Boxes `[n, B, 4]`: centre, width and height as parts of the image's.
    pub boxes: Tensor<3>,
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

    /// Queries `[n, Q, d]` at `boxes` `[n, Q, 4]` → after each layer normalised queries and moved boxes. `heads` move the
    /// boxes: one for each layer, or one for all.
    ///
    /// As in the reference, no gradient reaches a layer's boxes through what the next one reads at their places, but one
    /// does through what the next one adds to them.
    pub(super) fn forward(
        &self,
        mut queries: Tensor<3>,
        mut boxes: Tensor<3>,
        encoded: &Encoded,
        heads: &[Perceptron],
    ) -> Vec<(Tensor<3>, Tensor<3>)> {
        let mut said = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let [_, _, d] = queries.dims();
            let at = boxes.clone().detach();
            let place = self.reference_points_head.forward(positions::boxes(at.clone(), d));
            queries = layer.forward(queries, &at, place, encoded);
            // The queries go on as they are, but what a layer says of a box it says of the normalised query.
            let told = self.layer_norm.forward(queries.clone());
            let moved = |boxes: Tensor<3>, query: &Tensor<3>| match heads.get(index).or(heads.first()) {
                Some(head) => sigmoid(logit(boxes) + head.forward(query.clone())),
                None => boxes,
            };
            said.push((told.clone(), moved(boxes, &told)));
            boxes = moved(at, &queries);
        }
        said
    }
}

fn logit(boxes: Tensor<3>) -> Tensor<3> {
    let inside = boxes.clamp(EPSILON, 1.0 - EPSILON);
    (inside.clone() / (inside * -1.0 + 1.0)).log()
}
