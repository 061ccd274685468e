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
/// Pixels whose gradients are summed in f32; beyond that in f64.
const PIXELS: usize = 1024;

/// A convolution: `[outputs, inputs, kernel, kernel]` weights, `kernel` odd.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) shape: [usize; 4],
    pub(crate) stride: usize,
    /// Zeros above and on the left; below and on the right there are `kernel / 2`.
    pub(crate) lead: usize,
    pub(crate) weight: &'a [f32],
    /// One for each output, or none.
    pub(crate) bias: &'a [f32],
}

impl Filter<'_> {
    /// Height or width after the convolution.
    pub(crate) fn side(&self, length: usize) -> usize {
        (length + self.lead + self.shape[2] / 2 - self.shape[2]) / self.stride + 1
    }
}

/// `[n, h, w, inputs]` → `[n, h', w', outputs]`.
pub(crate) fn convolve(images: &[f32], [height, width]: [usize; 2], filter: Filter<'_>) -> Vec<f32> {
    let [outputs, inputs, kernel, _] = filter.shape;
    let padded = outputs.next_multiple_of(CHANNELS);
    let (mut weight, mut bias) = (filter.weight.to_vec(), filter.bias.to_vec());
    weight.resize(padded * inputs * kernel * kernel, 0.0);
    bias.resize(padded, 0.0);
    let folded = Folded { shape: [padded, inputs, kernel, kernel], stride: filter.stride, weight, bias };
    let conv = Conv::new(&folded).leading(filter.lead);
    let shape = Shape { height: filter.side(height), width: filter.side(width), channels: padded, border: 0 };
    let bordered = Shape { height, width, channels: inputs, border: conv.padding() };
    every(&conv, images, [height, width], 1, bordered, shape, outputs)
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
    let folded = Folded { shape: [padded, outputs, kernel, kernel], stride: 1, weight, bias: vec![0.0; padded] };
    let lead = kernel - 1 - filter.lead;
    let conv = Conv::new(&folded).leading(lead);
    let small = [filter.side(height), filter.side(width)];
    let bordered = Shape { height, width, channels: outputs, border: lead.max(conv.padding()) };
    let shape = Shape { height, width, channels: padded, border: 0 };
    every(&conv, gradient, small, filter.stride, bordered, shape, inputs)
}

/// A convolution of every image of a batch, whose pixels are spread over `bordered`, `step` apart. Of the channels of
/// `shape` the first `kept` are given.
fn every(
    conv: &Conv,
    images: &[f32],
    sides: [usize; 2],
    step: usize,
    bordered: Shape,
    shape: Shape,
    kept: usize,
) -> Vec<f32> {
    let (image, pixels) = (sides[0] * sides[1] * bordered.channels, shape.height * shape.width);
    let mut result = vec![0.0; images.len() / image * pixels * kept];
    let pairs = result.par_chunks_exact_mut(pixels * kept).zip(images.par_chunks_exact(image));
    pairs.for_each_init(Scratch::default, |scratch, (output, image)| {
        let input = scratch.spread(image, sides, step, bordered);
        if kept == shape.channels {
            conv.write(&input, Then::Nothing, shape, output);
        } else {
            let mut wide = scratch.take(shape);
            conv.write(&input, Then::Nothing, shape, wide.values_mut());
            for (pixel, wide) in output.chunks_exact_mut(kept).zip(wide.values().chunks_exact(shape.channels)) {
                pixel.copy_from_slice(&wide[..kept]);
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
    let padded = outputs.next_multiple_of(CHANNELS);
    let result = Shape { height: filter.side(height), width: filter.side(width), channels: padded, border: 0 };
    let bordered = Shape { height, width, channels: inputs, border: kernel / 2 };
    let (image, panel, places) = (height * width * inputs, panel(padded), kernel * kernel);
    let one = result.height * result.width * outputs;
    let groups = images.par_chunks(GROUP * image).zip(gradient.par_chunks(GROUP * one));
    let sums: Vec<Vec<f32>> = groups
        .map_init(Scratch::default, |scratch, (images, gradients)| {
            let mut sums = vec![0.0; padded * inputs * places];
            for (image, gradient) in images.chunks_exact(image).zip(gradients.chunks_exact(one)) {
                let input = scratch.spread(image, [height, width], 1, bordered);
                let Filter { stride, lead, .. } = filter;
                let add = |gradient: &[f32], sums: &mut [f32]| {
                    Arch::new().dispatch(Sum { kernel, stride, lead, panel, input: &input, result, gradient, sums });
                };
                if padded == outputs {
                    add(gradient, &mut sums);
                } else {
                    let mut wide = scratch.take(result);
                    for (wide, pixel) in wide.values_mut().chunks_exact_mut(padded).zip(gradient.chunks_exact(outputs))
                    {
                        wide.fill(0.0);
                        wide[..outputs].copy_from_slice(pixel);
                    }
                    add(wide.values(), &mut sums);
                    scratch.put_back(wide);
                }
                scratch.put_back(input);
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; padded * inputs * places];
    for sums in sums {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    let packed = |output: usize, input: usize, place: usize| {
        ((output / panel * places + place) * inputs + input) * panel + output % panel
    };
    let order = (0..outputs).flat_map(|o| (0..inputs).flat_map(move |i| (0..places).map(move |p| (o, i, p))));
    order.map(|(output, input, place)| total[packed(output, input, place)]).collect()
}

/// The gradient of the bias: each of the `channels`' sum.
pub(crate) fn bias_gradient(gradient: &[f32], channels: usize) -> Vec<f32> {
    let sum = |pixels: &[f32]| {
        let mut sums = vec![0.0_f32; channels];
        for pixel in pixels.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        sums
    };
    let blocks: Vec<Vec<f32>> = gradient.par_chunks(PIXELS * channels).map(sum).collect();
    (0..channels).map(|channel| blocks.iter().map(|sums| f64::from(sums[channel])).sum::<f64>() as f32).collect()
}

/// Adds one image's part to the sums, which are in the order of [`Conv`]'s weights.
struct Sum<'a> {
    kernel: usize,
    stride: usize,
    lead: usize,
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
        match (S::F32_LANES, self.panel / S::F32_LANES) {
            (16, 2) => self.run::<S, 2, 12>(simd),
            (16, _) => self.run::<S, 1, 12>(simd),
            (8, _) => self.run::<S, 2, 6>(simd),
            (4, _) => self.run::<S, 4, 6>(simd),
            _ => self.run::<S, CHANNELS, 1>(simd),
        }
    }
}

impl Sum<'_> {
    /// All panels of `VECTORS` vectors, in tiles of `ROWS` input values, no more than [`FeatureMap::TAIL`].
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const ROWS: usize>(self, simd: S) {
        let Self { kernel, stride, lead, panel, input, result, gradient, sums } = self;
        let shape = input.shape();
        let run = kernel * shape.channels;
        let offset = shape.border - lead;
        for (index, sums) in sums.chunks_exact_mut(kernel * run * panel).enumerate() {
            for (row, sums) in sums.chunks_exact_mut(run * panel).enumerate() {
                for first in (0..run).step_by(ROWS) {
                    // The last tile may be too long: what it sums of values beyond the run is not kept.
                    let mut tile = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                    for y in 0..result.height {
                        let above = &input.values()[shape.outer(y * stride + offset + row, offset) + first..];
                        let gradient = &gradient[result.outer(y, 0)..][..result.row()];
                        let steps = [stride * shape.channels, result.channels, index * panel];
                        tile = along_row(simd, tile, above, gradient, steps);
                    }
                    for (sums, tile) in sums[first * panel..].chunks_exact_mut(panel).zip(tile) {
                        let sums = S::as_mut_simd_f32s(sums).0;
                        sums.iter_mut().zip(tile).for_each(|(sum, add)| *sum = simd.add_f32s(*sum, add));
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
