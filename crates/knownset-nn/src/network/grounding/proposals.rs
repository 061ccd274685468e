//! The first of the two stages: every cell proposes a box, and those that fit the text best become queries.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear, LinearConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::GroundingSpec;
use super::decoder::{Encoded, Said};
use super::perceptron::Perceptron;

/// Side of a box that a cell of the finest map proposes, as a part of the image's; it doubles from map to map.
const SIDE: f32 = 0.05;
/// Proposals count whose coordinates all lie between these.
const INSIDE: (f32, f32) = (0.01, 0.99);

#[derive(Module, Debug)]
pub(super) struct Proposals {
    enc_output: Linear,
    enc_output_norm: LayerNorm,
    encoder_output_bbox_embed: Perceptron,
}

impl Proposals {
    pub(super) fn new(spec: &GroundingSpec, device: &Device) -> Self {
        let d = spec.width;
        Self {
            enc_output: LinearConfig::new(d, d).init(device),
            enc_output_norm: spec.norm(device),
            encoder_output_bbox_embed: Perceptron::new(&[d, d, d, 4], device),
        }
    }

    /// The `count` best boxes of each image `[n, Q, 4]` (centre, width, height), the best first; all there are if that is
    /// fewer. Of equally good ones the first cell's comes first.
    pub(super) fn forward(&self, encoded: &Encoded, count: usize) -> Tensor<3> {
        let (hidden, logits) = self.cells(encoded);
        let [n, cells, width] = hidden.dims();
        let fit = hidden.clone().matmul(encoded.text.clone().swap_dims(1, 2)).max_dim(2);
        let fit: Vec<f32> = fit.into_data().iter::<f32>().collect();
        let best = |fit: &[f32]| {
            let mut order: Vec<usize> = (0..cells).collect();
            order.sort_by(|&a, &b| fit[b].total_cmp(&fit[a]));
            order.truncate(count);
            order
        };
        let best: Vec<Vec<usize>> = fit.chunks_exact(cells).map(best).collect();
        let count = count.min(cells);

        let device = hidden.device();
        let anchors: Vec<f32> = best.iter().flatten().flat_map(|&cell| logits[cell]).collect();
        let anchors = Tensor::<3>::from_data(TensorData::new(anchors, [n, count, 4]), &device);
        let rows = best.iter().enumerate().flat_map(|(image, best)| best.iter().map(move |cell| image * cells + cell));
        let rows: Vec<i64> = rows.map(|row| row as i64).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n * count]), &device);
        let chosen = hidden.reshape([n * cells, width]).select(0, rows).reshape([n, count, width]);
        sigmoid(anchors + self.encoder_output_bbox_embed.forward(chosen))
    }

    /// What every cell says: how well it fits each token `[n, S, T]`, as logits, and its box `[n, S, 4]`.
    pub(super) fn all(&self, encoded: &Encoded) -> Said {
        let (hidden, logits) = self.cells(encoded);
        let [_, cells, _] = hidden.dims();
        let anchors = TensorData::new(logits.into_iter().flatten().collect(), [1, cells, 4]);
        let anchors = Tensor::<3>::from_data(anchors, &hidden.device());
        Said {
            logits: hidden.clone().matmul(encoded.text.clone().swap_dims(1, 2)),
            boxes: sigmoid(anchors + self.encoder_output_bbox_embed.forward(hidden)),
        }
    }

    /// The cells' vectors `[n, S, d]`, those that propose no box emptied, and the logits of their anchors.
    fn cells(&self, encoded: &Encoded) -> (Tensor<3>, Vec<[f32; 4]>) {
        let (logits, inside) = anchors(&encoded.maps);
        let inside = TensorData::new(inside, [1, logits.len(), 1]);
        let inside = Tensor::<3>::from_data(inside, &encoded.cells.device());
        (self.enc_output_norm.forward(self.enc_output.forward(encoded.cells.clone() * inside)), logits)
    }
}

/// For each cell the logits of a box around its centre, and 1 if the box counts or 0 if it does not; then the logits are
/// infinite.
fn anchors(maps: &[[usize; 2]]) -> (Vec<[f32; 4]>, Vec<f32>) {
    let mut side = SIDE;
    let mut anchors = (Vec::new(), Vec::new());
    for &[height, width] in maps {
        for cell in 0..height * width {
            let along = |at: usize, length: usize| (at as f32 + 0.5) / length as f32;
            let anchor = [along(cell % width, width), along(cell / width, height), side, side];
            let counts = anchor.iter().all(|&x| x > INSIDE.0 && x < INSIDE.1);
            anchors.0.push(if counts { anchor.map(|x| (x / (1.0 - x)).ln()) } else { [f32::INFINITY; 4] });
            anchors.1.push(f32::from(u8::from(counts)));
        }
        side *= 2.0;
    }
    anchors
}
