//! Multi-scale deformable attention (Zhu et al. 2020, <https://arxiv.org/abs/2010.04159>): each query reads a few points of
//! every map, at places it chooses around its own.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::ops::GridSampleOptions;
use burn::tensor::{Device, Tensor};

use super::{GroundingSpec, StackSpec};

/// Where a query is, as parts of the image's width and height.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Points `[Q, 2]`; offsets are counted in cells.
    Points(Tensor<2>),
    /// Boxes `[Q, 4]`, centre, width and height; offsets are counted in half boxes divided by the number of points.
    Boxes(Tensor<2>),
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

    /// Queries `[1, Q, d]` at their places read the cells `[1, S, d]` of `maps` → `[1, Q, d]`.
    pub(super) fn forward(
        &self,
        queries: Tensor<3>,
        place: &Place,
        cells: Tensor<3>,
        maps: &[[usize; 2]],
    ) -> Tensor<3> {
        let [_, count, width] = queries.dims();
        let (heads, levels, points) = (self.heads, self.levels, self.points);
        let size = width / heads;
        let offsets = self.sampling_offsets.forward(queries.clone()).reshape([count, heads, levels, points * 2]);
        let weights = self.attention_weights.forward(queries).reshape([count, heads, levels * points]);
        let weights = softmax(weights, 2).reshape([count, heads, levels, points]);
        let values = self.value_proj.forward(cells);
        let mut start = 0;
        let mut read = Tensor::<4>::zeros([heads, size, count, 1], &values.device());
        for (level, &[rows, columns]) in maps.iter().enumerate() {
            let map = values.clone().narrow(1, start, rows * columns).reshape([rows, columns, heads, size]);
            let map = map.permute([2, 3, 0, 1]);
            let at = |tensor: &Tensor<4>| tensor.clone().narrow(2, level, 1);
            let places = self.places(at(&offsets).reshape([count, heads, points, 2]), place, [rows, columns]);
            // Bilinear; zeros outside the map, whose corners and not the centres of whose outer cells are at −1 and 1.
            let grid = (places * 2.0 - 1.0).swap_dims(0, 1);
            let samples = map.grid_sample_2d(grid, GridSampleOptions::default());
            let weight = at(&weights).reshape([count, heads, points]).swap_dims(0, 1).unsqueeze_dim::<4>(1);
            read = read + (samples * weight).sum_dim(3);
            start += rows * columns;
        }
        self.output_proj.forward(read.reshape([heads * size, count]).swap_dims(0, 1).unsqueeze::<3>())
    }

    /// Offsets `[Q, heads, points, 2]` → places on a map, as parts of the image's width and height.
    fn places(&self, offsets: Tensor<4>, place: &Place, [rows, columns]: [usize; 2]) -> Tensor<4> {
        let [count, ..] = offsets.dims();
        match place {
            Place::Points(points) => {
                let cells = Tensor::<1>::from_data([columns as f32, rows as f32], &offsets.device());
                points.clone().reshape([count, 1, 1, 2]) + offsets / cells.reshape([1, 1, 1, 2])
            }
            Place::Boxes(boxes) => {
                let part = |at| boxes.clone().narrow(1, at, 2).reshape([count, 1, 1, 2]);
                part(0) + offsets / self.points as f64 * part(2) * 0.5
            }
        }
    }
}
