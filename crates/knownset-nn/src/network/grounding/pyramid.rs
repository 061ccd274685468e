//! The backbone's maps and coarser ones made of the last, as the tokens of one sequence.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};

use super::{GroundingSpec, positions};

/// Groups of every group normalisation; they divide the width.
pub const GROUPS: usize = 32;

/// A map to the detector's width: a convolution and a group normalisation, which checkpoints call 0 and 1.
pub(super) type Projection = (Conv2d, GroupNorm);

/// A 1×1 convolution for each of the backbone's maps, then 3×3 ones that halve height and width.
pub(super) fn projections(spec: &GroundingSpec, device: &Device) -> Vec<Projection> {
    let channels = spec.swin.outputs();
    let project = |level: usize| {
        let convolution = if let Some(&inputs) = channels.get(level) {
            Conv2dConfig::new([inputs, spec.width], [1, 1])
        } else {
            let inputs = if level == channels.len() { channels.last().copied() } else { None };
            Conv2dConfig::new([inputs.unwrap_or(spec.width), spec.width], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        };
        (convolution.init(device), GroupNormConfig::new(GROUPS, spec.width).init(device))
    };
    (0..spec.levels).map(project).collect()
}

/// A learned vector for each level.
pub(super) fn level_embeddings(spec: &GroundingSpec, device: &Device) -> Param<Tensor<2>> {
    Initializer::Zeros.init([spec.levels, spec.width], device)
}

/// Cells of maps, the finest map first, each row by row.
#[derive(Debug, Clone)]
pub struct Cells {
    /// Height and width of each map.
    pub maps: Vec<[usize; 2]>,
    /// One vector a cell, `[n, S, d]`.
    pub tokens: Tensor<3>,
    /// Where the cells are, as vectors `[1, S, d]`: sines of row and column, and a learned vector for the map.
    pub positions: Tensor<3>,
}

impl Cells {
    pub(super) fn new(maps: &[Tensor<4>], projections: &[Projection], levels: &Tensor<2>, temperature: f64) -> Self {
        let mut cells = (Vec::new(), Vec::new(), Vec::new());
        let mut last: Option<Tensor<4>> = maps.last().cloned();
        for (level, (convolution, norm)) in projections.iter().enumerate() {
            let Some(source) = maps.get(level).cloned().or_else(|| last.take()) else { break };
            let map = norm.forward(convolution.forward(source));
            let [_, d, height, width] = map.dims();
            if level >= maps.len() {
                last = Some(map.clone());
            }
            let position = positions::cells([height, width], d, temperature, &map.device());
            cells.0.push([height, width]);
            cells.1.push(map.flatten::<3>(2, 3).swap_dims(1, 2));
            cells.2.push(position + levels.clone().narrow(0, level, 1).unsqueeze::<3>());
        }
        Self { maps: cells.0, tokens: Tensor::cat(cells.1, 1), positions: Tensor::cat(cells.2, 1) }
    }

    /// Centres of the cells `[S, 2]`, x and y as parts of the image's width and height.
    pub(super) fn centres(&self) -> Tensor<2> {
        let centre = |&[height, width]: &[usize; 2]| {
            let along = |at: usize, length: usize| (at as f32 + 0.5) / length as f32;
            (0..height * width).flat_map(move |at| [along(at % width, width), along(at / width, height)])
        };
        let values: Vec<f32> = self.maps.iter().flat_map(centre).collect();
        let count = values.len() / 2;
        Tensor::from_data(TensorData::new(values, [count, 2]), &self.tokens.device())
    }
}
