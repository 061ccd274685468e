//! Convolution with bias, then perhaps a sum and a ReLU, in one pass over the output.
//!
//! Direct convolution in registers: a tile of output pixels by a panel of output channels is summed at once, each
//! product of an input value (the same for the whole panel) with the panel's weights. With channels last, the
//! `kernel * inputs` values under one row of the kernel lie side by side, so the sum is over `kernel` contiguous runs.
//! Every output is summed in the same order (bias, then kernel row, kernel column and input channel ascending),
//! whichever tile it is in; only the vectors' width differs between processors, and it changes no bit: every processor
//! with a fused multiply-add gives the same.

#![expect(
    clippy::inline_always,
    reason = "what runs under a processor's features must be inlined where they are known"
)]

use pulp::{Arch, Simd, WithSimd};

use super::feature_map::{FeatureMap, Scratch, Shape};
use crate::network::Folded;

/// Numbers of output channels are multiples of this: one vector of AVX-512, two of AVX2, four of NEON.
pub(super) const CHANNELS: usize = 16;

/// What follows the convolution.
#[derive(Clone, Copy)]
pub(crate) enum Then<'a> {
    Nothing,
    Relu,
    /// Adds a map of the output's shape, then ReLU.
    AddRelu(&'a FeatureMap),
}

/// A square kernel with padding `kernel / 2`, unless [`Conv::leading`] says otherwise.
pub(crate) struct Conv {
    kernel: usize,
    stride: usize,
    /// Zeros above the first row and left of the first column that the kernel sees.
    lead: usize,
    /// Output channels that are summed together.
    panel: usize,
    /// `[outputs / panel, kernel, kernel, inputs, panel]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Conv {
    /// Rearranges the weights for this processor.
    ///
    /// # Panics
    /// If the number of output channels is no multiple of [`CHANNELS`].
    pub(crate) fn new(folded: &Folded) -> Self {
        let [outputs, inputs, kernel, _] = folded.shape;
        assert!(outputs.is_multiple_of(CHANNELS), "{outputs} output channels");
        let panel = panel(outputs);
        let mut weight = Vec::with_capacity(folded.weight.len());
        for first in (0..outputs).step_by(panel) {
            for place in 0..kernel * kernel {
                for input in 0..inputs {
                    let at = |output| folded.weight[(output * inputs + input) * kernel * kernel + place];
                    weight.extend((first..first + panel).map(at));
                }
            }
        }
        Self { kernel, stride: folded.stride, lead: kernel / 2, panel, weight, bias: folded.bias.clone() }
    }

    /// The same kernel, beginning at other pixels; an input's border must be as wide.
    pub(super) fn leading(self, lead: usize) -> Self {
        Self { lead, ..self }
    }

    /// Zeros that must surround the input.
    pub(crate) fn padding(&self) -> usize {
        self.kernel / 2
    }

    pub(crate) fn forward(&self, input: &FeatureMap, then: Then<'_>, scratch: &mut Scratch) -> FeatureMap {
        let side = |length: usize| (length + 2 * self.padding() - self.kernel) / self.stride + 1;
        let Shape { height, width, .. } = input.shape();
        let shape = Shape { height: side(height), width: side(width), channels: self.bias.len(), border: 1 };
        let mut output = scratch.take(shape);
        self.write(input, then, shape, output.values_mut());
        output
    }

    /// The same into the inside of an `output` of that shape.
    pub(crate) fn write(&self, input: &FeatureMap, then: Then<'_>, shape: Shape, output: &mut [f32]) {
        Arch::new().dispatch(Forward { conv: self, input, then, shape, output });
    }
}

/// Output channels that are summed together on this processor.
pub(super) fn panel(outputs: usize) -> usize {
    let two_vectors = Arch::new().dispatch(Lanes) == CHANNELS && outputs.is_multiple_of(2 * CHANNELS);
    if two_vectors { 2 * CHANNELS } else { CHANNELS }
}

/// How many numbers a vector of this processor holds.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Forward<'a> {
    conv: &'a Conv,
    input: &'a FeatureMap,
    then: Then<'a>,
    shape: Shape,
    output: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    /// Chooses the tile: as many sums as the registers hold (16 of AVX2, 32 of AVX-512 and NEON) beside their operands.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (S::F32_LANES, self.conv.panel / S::F32_LANES) {
            (16, 2) => self.run::<S, 2, 8>(simd),
            (16, _) => self.run::<S, 1, 12>(simd),
            (8, _) => self.run::<S, 2, 6>(simd),
            (4, _) => self.run::<S, 4, 6>(simd),
            _ => self.run::<S, CHANNELS, 1>(simd),
        }
    }
}

impl Forward<'_> {
    /// All panels of `VECTORS` vectors, in tiles of `PIXELS` pixels.
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize, const PIXELS: usize>(self, simd: S) {
        let Self { conv, input, then, shape, output } = self;
        let Shape { height, width, .. } = shape;
        let offset = input.shape().border - conv.lead;
        let run = conv.kernel * input.shape().channels;
        let size = conv.kernel * run * conv.panel;
        for (index, weight) in conv.weight.chunks_exact(size).enumerate() {
            let channels = index * conv.panel;
            let bias: [S::f32s; VECTORS] = vectors::<S, VECTORS>(&conv.bias[channels..]);
            for first in (0..height * width).step_by(PIXELS) {
                // The last tile may be too long: it computes the last pixel more than once.
                let pixels: [(usize, usize); PIXELS] = std::array::from_fn(|p| {
                    let pixel = (first + p).min(height * width - 1);
                    (pixel / width, pixel % width)
                });
                let starts =
                    pixels.map(|(y, x)| input.shape().outer(y * conv.stride + offset, x * conv.stride + offset));
                let mut sums = [bias; PIXELS];
                for (row, weight) in weight.chunks_exact(run * conv.panel).enumerate() {
                    let below = |start: usize| &input.values()[start + row * input.shape().row()..][..run];
                    accumulate(simd, &mut sums, starts.map(below), weight);
                }
                for (sums, (y, x)) in sums.into_iter().zip(pixels) {
                    let at = shape.inner(y, x) + channels;
                    finish(simd, sums, then, at, output);
                }
            }
        }
    }
}

/// Adds to each pixel's sums the products of its values with their weights.
#[inline(always)]
fn accumulate<S: Simd, const VECTORS: usize, const PIXELS: usize>(
    simd: S,
    sums: &mut [[S::f32s; VECTORS]; PIXELS],
    values: [&[f32]; PIXELS],
    weight: &[f32],
) {
    let weight = &S::as_simd_f32s(weight).0.as_chunks::<VECTORS>().0[..values[0].len()];
    for (index, weight) in weight.iter().enumerate() {
        for (sums, values) in sums.iter_mut().zip(values) {
            let value = simd.splat_f32s(values[index]);
            for (sum, &weight) in sums.iter_mut().zip(weight) {
                *sum = simd.mul_add_e_f32s(value, weight, *sum);
            }
        }
    }
}

/// Writes one pixel's sums, after what follows the convolution.
#[inline(always)]
fn finish<S: Simd, const VECTORS: usize>(
    simd: S,
    mut sums: [S::f32s; VECTORS],
    then: Then<'_>,
    at: usize,
    output: &mut [f32],
) {
    if let Then::AddRelu(other) = then {
        let other: [S::f32s; VECTORS] = vectors::<S, VECTORS>(&other.values()[at..]);
        sums.iter_mut().zip(other).for_each(|(sum, other)| *sum = simd.add_f32s(*sum, other));
    }
    if !matches!(then, Then::Nothing) {
        // Not a maximum, which would hide a NaN.
        let zero = simd.splat_f32s(0.0);
        for sum in &mut sums {
            *sum = simd.select_f32s(simd.less_than_f32s(*sum, zero), zero, *sum);
        }
    }
    S::as_mut_simd_f32s(&mut output[at..][..VECTORS * S::F32_LANES]).0.copy_from_slice(&sums);
}

/// The first `VECTORS` vectors.
#[inline(always)]
pub(super) fn vectors<S: Simd, const VECTORS: usize>(values: &[f32]) -> [S::f32s; VECTORS] {
    let vectors = S::as_simd_f32s(&values[..VECTORS * S::F32_LANES]).0;
    std::array::from_fn(|index| vectors[index])
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};

    use super::*;

    /// Small whole numbers, so that every order of summation gives the same.
    fn number(index: usize) -> f32 {
        (index * 7 % 11) as f32 - 5.0
    }

    fn folded(shape: [usize; 4], stride: usize) -> Folded {
        let weight = (0..shape.iter().product()).map(number).collect();
        Folded { shape, stride, weight, bias: (0..shape[0]).map(number).collect() }
    }

    fn image(channels: usize, height: usize, width: usize) -> Array3<f32> {
        Array3::from_shape_fn((channels, height, width), |(c, y, x)| number(31 * c + 17 * y + 5 * x))
    }

    /// One output by the definition, bias included.
    fn reference(conv: &Folded, image: &Array3<f32>, output: usize, y: usize, x: usize) -> f32 {
        let [_, inputs, kernel, _] = conv.shape;
        let (_, height, width) = image.dim();
        let mut sum = conv.bias[output];
        for (index, weight) in
            conv.weight[output * inputs * kernel * kernel..][..inputs * kernel * kernel].iter().enumerate()
        {
            let (input, ky, kx) = (index / kernel / kernel, index / kernel % kernel, index % kernel);
            let (y, x) = (y * conv.stride + ky, x * conv.stride + kx);
            let inside =
                (kernel / 2..height + kernel / 2).contains(&y) && (kernel / 2..width + kernel / 2).contains(&x);
            if inside {
                sum += weight * image[[input, y - kernel / 2, x - kernel / 2]];
            }
        }
        sum
    }

    #[test]
    fn every_output_is_the_definitions() {
        for (outputs, inputs, kernel, stride, height, width) in [
            (16, 3, 3, 1, 9, 7),
            (32, 16, 3, 2, 9, 8),
            (48, 3, 7, 2, 11, 10),
            (64, 32, 1, 2, 7, 5),
            (32, 5, 3, 1, 1, 1),
        ] {
            let (conv, image) = (folded([outputs, inputs, kernel, kernel], stride), image(inputs, height, width));
            let scratch = &mut Scratch::default();
            let packed = Conv::new(&conv);
            let input = scratch.image(image.view(), packed.padding());
            let plain = packed.forward(&input, Then::Nothing, scratch);
            let rectified = packed.forward(&input, Then::Relu, scratch);
            let added = packed.forward(&input, Then::AddRelu(&plain), scratch);
            assert_eq!((plain.shape().height, plain.shape().width), (height.div_ceil(stride), width.div_ceil(stride)));
            for (y, x) in (0..plain.shape().height).flat_map(|y| (0..plain.shape().width).map(move |x| (y, x))) {
                for output in 0..outputs {
                    let expected = reference(&conv, &image, output, y, x);
                    let case = format!("{:?} stride {stride}: channel {output} at {y}, {x}", conv.shape);
                    assert_eq!(plain.pixel(y, x)[output], expected, "{case}");
                    assert_eq!(rectified.pixel(y, x)[output], expected.max(0.0), "{case}, ReLU");
                    assert_eq!(added.pixel(y, x)[output], (2.0 * expected).max(0.0), "{case}, sum and ReLU");
                }
            }
            let border = plain.values().iter().filter(|&&value| value != 0.0).count();
            let inside = (0..plain.shape().height * plain.shape().width)
                .flat_map(|i| plain.pixel(i / plain.shape().width, i % plain.shape().width))
                .filter(|&&value| value != 0.0);
            assert_eq!(border, inside.count(), "the border stays zero");
        }
    }

    #[test]
    fn a_nan_goes_through() {
        let conv = Conv::new(&folded([16, 3, 3, 3], 1));
        let mut image = image(3, 4, 4);
        image.slice_mut(s![1, 2, 2]).fill(f32::NAN);
        let scratch = &mut Scratch::default();
        let input = scratch.image(image.view(), 1);
        let output = conv.forward(&input, Then::Relu, scratch);
        assert!(output.pixel(1, 1)[0].is_nan() && !output.pixel(0, 0)[0].is_nan());
    }

    #[test]
    fn a_processor_without_vectors_gives_the_same() {
        let conv = Conv::new(&folded([16, 32, 3, 3], 1));
        let scratch = &mut Scratch::default();
        let input = scratch.image(image(32, 7, 5).view(), 1);
        let here = conv.forward(&input, Then::Relu, scratch);
        let mut scalar = scratch.take(here.shape());
        let shape = scalar.shape();
        let task = Forward { conv: &conv, input: &input, then: Then::Relu, shape, output: scalar.values_mut() };
        pulp::Scalar.vectorize(task);
        assert!(here.values().iter().any(|&value| value != 0.0));
        assert_eq!(here.values(), scalar.values());
    }
}
