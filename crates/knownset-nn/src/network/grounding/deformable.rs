//! Multi-scale deformable attention (Zhu et al. 2020, <https://arxiv.org/abs/2010.04159>): each query reads a few points of
//! every map, at places it chooses around its own.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::{GroundingSpec, StackSpec, sampling};

/// Where a query is, as parts of the image's width and height.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Points `[Q, 2]`, the same in every image; offsets are counted in cells.
    Points(Tensor<2>),
    /// Boxes `[n, Q, 4]`, centre, width and height; offsets are counted in half boxes divided by the number of points.
    Boxes(Tensor<3>),
}

#[derive(Module, Debug)]
pub(super) struct DeformableAttention {
    sampling_offsets: Linear,
    attention_weights: Linear,
    value_proj: Linear,
    output_proj: Linear,
    heads: usize,
    levels: usize,
    points: usize,
}

impl DeformableAttention {
    pub(super) fn new(spec: &GroundingSpec, stack: &StackSpec, device: &Device) -> Self {
        let linear = |outputs| LinearConfig::new(spec.width, outputs).init(device);
        let (heads, levels, points) = (stack.heads, spec.levels, stack.points);
        Self {
            sampling_offsets: linear(2 * heads * levels * points),
            attention_weights: linear(heads * levels * points),
            value_proj: linear(spec.width),
            output_proj: linear(spec.width),
            heads,
            levels,
            points,
        }
    }

    /// Queries `[n, Q, d]` at their places read the cells `[n, S, d]` of `maps` → `[n, Q, d]`.
    pub(super) fn forward(
        &self,
        queries: Tensor<3>,
        place: &Place,
        cells: Tensor<3>,
        maps: &[[usize; 2]],
    ) -> Tensor<3> {
        let [n, count, width] = queries.dims();
        let (heads, levels, points) = (self.heads, self.levels, self.points);
        let size = width / heads;
        let offsets = self.sampling_offsets.forward(queries.clone()).reshape([n, count, heads, levels, points * 2]);
        let weights = self.attention_weights.forward(queries).reshape([n, count, heads, levels * points]);
        let weights = softmax(weights, 3).reshape([n, count, heads, levels, points]);
        let values = self.value_proj.forward(cells);
        let mut start = 0;
        let mut read = Tensor::<4>::zeros([n, count, heads, size], &values.device());
        for (level, &[rows, columns]) in maps.iter().enumerate() {
            let map = values.clone().narrow(1, start, rows * columns).reshape([n, rows * columns, heads, size]);
            let offsets = offsets.clone().narrow(3, level, 1).reshape([n, count, heads, points, 2]);
            let weights = weights.clone().narrow(3, level, 1).reshape([n, count, heads, points]);
            let places = self.places(offsets, place, [rows, columns]);
            read = read + sampling::read(map, [rows, columns], places, weights);
            start += rows * columns;
        }
        self.output_proj.forward(read.reshape([n, count, width]))
    }

    /// Offsets `[n, Q, heads, points, 2]` → places on a map, as parts of the image's width and height.
    fn places(&self, offsets: Tensor<5>, place: &Place, [rows, columns]: [usize; 2]) -> Tensor<5> {
        let [n, count, ..] = offsets.dims();
        match place {
            Place::Points(points) => {
                let cells = Tensor::<1>::from_data([columns as f32, rows as f32], &offsets.device());
                points.clone().reshape([1, count, 1, 1, 2]) + offsets / cells.reshape([1, 1, 1, 1, 2])
            }
            Place::Boxes(boxes) => {
                let part = |at| boxes.clone().narrow(2, at, 2).reshape([n, count, 1, 1, 2]);
                part(0) + offsets / self.points as f64 * part(2) * 0.5
            }
        }
    }
}
