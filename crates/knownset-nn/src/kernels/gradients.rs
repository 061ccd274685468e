//! Convolutions of whole batches, and their gradients.
//!
//! Batches are `[n, height, width, channels]`. A batch's images are spread over the threads; sums over images run in
//! groups of a fixed size, in a fixed order, so that the number of threads changes no bit.

#![expect(
    clippy::inline_always,
    reason = "what runs under a processor's features must be inlined where they are known"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::conv::{CHANNELS, Conv, Then, panel, vectors};
use super::feature_map::{FeatureMap, Scratch, Shape};
use crate::network::Folded;

/// Images whose weight gradients are summed one after the other.
const GROUP: usize = 8;

/// A convolution without bias: `[outputs, inputs, kernel, kernel]` weights, padding `kernel / 2`, `kernel` odd.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) shape: [usize; 4],
    pub(crate) stride: usize,
    pub(crate) weight: &'a [f32],
}

impl Filter<'_> {
    fn padding(&self) -> usize {
        self.shape[2] / 2
    }

    /// Height or width after the convolution.
    pub(crate) fn side(&self, length: usize) -> usize {
        (length + 2 * self.padding() - self.shape[2]) / self.stride + 1
    }
}

/// `[n, h, w, inputs]` → `[n, h', w', outputs]`.
///
/// # Panics
/// If the number of outputs is no multiple of 16.
pub(crate) fn convolve(images: &[f32], [height, width]: [usize; 2], filter: Filter<'_>) -> Vec<f32> {
    let [outputs, inputs, ..] = filter.shape;
    let bias = vec![0.0; outputs];
    let conv = Conv::new(&Folded { shape: filter.shape, stride: filter.stride, weight: filter.weight.to_vec(), bias });
    let shape = Shape { height: filter.side(height), width: filter.side(width), channels: outputs, border: 0 };
    let bordered = Shape { height, width, channels: inputs, border: conv.padding() };
    let image = height * width * inputs;
    let mut result = vec![0.0; images.len() / image * shape.values()];
    let pairs = result.par_chunks_exact_mut(shape.values()).zip(images.par_chunks_exact(image));
    pairs.for_each_init(Scratch::default, |scratch, (output, image)| {
        let input = scratch.spread(image, [height, width], 1, bordered);
        conv.write(&input, Then::Nothing, shape, output);
        scratch.put_back(input);
    });
    result
}

/// The gradient of the images `[n, h, w, inputs]`, given that of the result: a convolution with the kernel turned
/// around, over gradients with `stride − 1` zeros between them.
pub(crate) fn input_gradient(gradient: &[f32], [height, width]: [usize; 2], filter: Filter<'_>) -> Vec<f32> {
    let [outputs, inputs, kernel, _] = filter.shape;
    let padded = inputs.next_multiple_of(CHANNELS);
    let places = kernel * kernel;
    let mut weight = vec![0.0; padded * outputs * places];
    for (index, &value) in filter.weight.iter().enumerate() {
        let (output, input, place) = (index / places / inputs, index / places % inputs, index % places);
        weight[(input * outputs + output) * places + places - 1 - place] = value;
    }
    let conv =
        Conv::new(&Folded { shape: [padded, outputs, kernel, kernel], stride: 1, weight, bias: vec![0.0; padded] });
    let small = [filter.side(height), filter.side(width)];
    let bordered = Shape { height, width, channels: outputs, border: conv.padding() };
    let shape = Shape { height, width, channels: padded, border: 0 };
    let (one, image) = (small[0] * small[1] * outputs, height * width * inputs);
    let mut result = vec![0.0; gradient.len() / one * image];
    let pairs = result.par_chunks_exact_mut(image).zip(gradient.par_chunks_exact(one));
    pairs.for_each_init(Scratch::default, |scratch, (output, gradient)| {
        let input = scratch.spread(gradient, small, filter.stride, bordered);
        if padded == inputs {
            conv.write(&input, Then::Nothing, shape, output);
        } else {
            let mut wide = scratch.take(shape);
            conv.write(&input, Then::Nothing, shape, wide.values_mut());
            for (pixel, wide) in output.chunks_exact_mut(inputs).zip(wide.values().chunks_exact(padded)) {
                pixel.copy_from_slice(&wide[..inputs]);
            }
            scratch.put_back(wide);
        }
        scratch.put_back(input);
    });
    result
}

/// The gradient of the weights `[outputs, inputs, kernel, kernel]`, given the images and the result's gradient.
pub(crate) fn weight_gradient(
    images: &[f32],
    gradient: &[f32],
    [height, width]: [usize; 2],
    filter: Filter<'_>,
) -> Vec<f32> {
    let [outputs, inputs, kernel, _] = filter.shape;
    let result = Shape { height: filter.side(height), width: filter.side(width), channels: outputs, border: 0 };
    let bordered = Shape { height, width, channels: inputs, border: filter.padding() };
    let (image, panel) = (height * width * inputs, panel(outputs));
    let groups = images.par_chunks(GROUP * image).zip(gradient.par_chunks(GROUP * result.values()));
    let sums: Vec<Vec<f32>> = groups
        .map_init(Scratch::default, |scratch, (images, gradients)| {
            let mut sums = vec![0.0; filter.weight.len()];
            for (image, gradient) in images.chunks_exact(image).zip(gradients.chunks_exact(result.values())) {
                let input = scratch.spread(image, [height, width], 1, bordered);
                let stride = filter.stride;
                Arch::new().dispatch(Sum { kernel, stride, panel, input: &input, result, gradient, sums: &mut sums });
                scratch.put_back(input);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; filter.weight.len()];
    for sums in sums {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    let places = kernel * kernel;
    let packed = |output: usize, input: usize, place: usize| {
        ((output / panel * places + place) * inputs + input) * panel + output % panel
    };
    let order = (0..outputs).flat_map(|o| (0..inputs).flat_map(move |i| (0..places).map(move |p| (o, i, p))));
    order.map(|(output, input, place)| total[packed(output, input, place)]).collect()
}

/// Adds one image's part to the sums, which are in the order of [`Conv`]'s weights.
struct Sum<'a> {
    kernel: usize,
    stride: usize,
    panel: usize,
    input: &'a FeatureMap,
    result: Shape,
    gradient: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    /// Chooses the tile: as many sums as the registers hold beside their operands.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Values side by side under one row of the kernel; a tile is never wider.
        let run = self.kernel * self.input.shape().channels;
        match (S::F32_LANES, self.panel / S::F32_LANES) {
            (16, 2) if run >= 12 => self.run::<S, 2, 12>(simd),
            (16, 1) if run >= 16 => self.run::<S, 1, 16>(simd),
            (8, 2) if run >= 6 => self.run::<S, 2, 6>(simd),
            (4, 4) if run >= 6 => self.run::<S, 4, 6>(simd),
            (16, 2) => self.run::<S, 2, 1>(simd),
            (16, 1) => self.run::<S, 1, 1>(simd),
            (8, 2) => self.run::<S, 2, 1>(simd),
            (4, 4) => self.run::<S, 4, 1>(simd),
            _ => self.run::<S, CHANNELS, 1>(simd),
        }
    }
}

impl Sum<'_> {
    /// All panels of `VECTORS` vectors, in tiles of `ROWS` input values.
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(self, simd: S) {
        let Self { kernel, stride, panel, input, result, gradient, sums } = self;
        let shape = input.shape();
        let run = kernel * shape.channels;
        let offset = shape.border - kernel / 2;
        for (index, sums) in sums.chunks_exact_mut(kernel * run * panel).enumerate() {
            for (row, sums) in sums.chunks_exact_mut(run * panel).enumerate() {
                for first in (0..run).step_by(ROWS) {
                    // The last tile may begin too early: what the one before it has is not added again.
                    let start = first.min(run - ROWS);
                    let mut tile = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                    for y in 0..result.height {
                        let above = &input.values()[shape.outer(y * stride + offset + row, offset) + start..];
                        let gradient = &gradient[result.outer(y, 0)..][..result.row()];
                        let steps = [stride * shape.channels, result.channels, index * panel];
                        tile = along_row(simd, tile, above, gradient, steps);
                    }
                    for (place, tile) in (start..).zip(tile) {
                        if place >= first {
                            let sums = S::as_mut_simd_f32s(&mut sums[place * panel..][..panel]).0;
                            sums.iter_mut().zip(tile).for_each(|(sum, add)| *sum = simd.add_f32s(*sum, add));
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of a row's gradients with the values they came from. `values` are `steps[0]` apart, `gradient`s
/// `steps[1]`, of which those from `steps[2]` on count.
#[inline(always)]
fn along_row<S: Simd, const VECTORS: usize, const ROWS: usize>(
    simd: S,
    mut tile: [[S::f32s; VECTORS]; ROWS],
    values: &[f32],
    gradient: &[f32],
    [step, channels, first]: [usize; 3],
) -> [[S::f32s; VECTORS]; ROWS] {
    for (pixel, gradient) in gradient.chunks_exact(channels).enumerate() {
        let gradient: [S::f32s; VECTORS] = vectors::<S, VECTORS>(&gradient[first..]);
        let values = &values[pixel * step..][..ROWS];
        for row in 0..ROWS {
            let value = simd.splat_f32s(values[row]);
            for vector in 0..VECTORS {
                tile[row][vector] = simd.mul_add_e_f32s(value, gradient[vector], tile[row][vector]);
            }
        }
    }
    tile
}
