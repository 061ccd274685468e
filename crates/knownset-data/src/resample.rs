//! Pillow's image resampling, to the bit, for the part of the result that is needed.
//!
//! That is Pillow up to 12, which all published figures used. Pillow 13 filters columns first for some tall images; there
//! it differs from its predecessors, and from this, by 1 of 255 (bilinear) or a few (bicubic, at hard edges).
//!
//! Pillow (`src/libImaging/Resample.c`, `Geometry.c`) stretches the filter when shrinking, rounds its weights to 22
//! fractional bits, filters rows first, then columns, and rounds to 8 bits after each. SIMD libraries that keep 14 or 15
//! bits differ from it by up to 4 of 255 when enlarging bicubically.

use std::ops::Range;

use image::RgbImage;
use knownset_core::Filter;

/// Fractional bits of a weight: what 32 bits leave beside 8 bits of value, a sign and one bit of overshoot.
const FRACTION: u32 = 22;

/// The weights of one output position over neighbouring input positions.
struct Kernel {
    first: usize,
    weights: Vec<i32>,
}

/// The columns and rows named, of `image` resized to `size` (width, height).
///
/// Memory is for columns × the image's height at most, whatever `size` is.
pub(crate) fn resample(
    image: &RgbImage,
    size: (u32, u32),
    columns: Range<u32>,
    rows: Range<u32>,
    filter: Filter,
) -> RgbImage {
    filtered(image, &kernels(image.width(), size.0, columns, filter), kernels(image.height(), size.1, rows, filter))
}

/// The whole of `image` resized to `size` (width, height) with Pillow's box filter.
pub(crate) fn resize_box(image: &RgbImage, size: (u32, u32)) -> RgbImage {
    let kernels = |input: u32, output: u32| -> Vec<Kernel> {
        let scale = f64::from(input) / f64::from(output);
        (0..output).map(|at| kernel(input as usize, scale, at, 0.5, boxed)).collect()
    };
    filtered(image, &kernels(image.width(), size.0), kernels(image.height(), size.1))
}

fn filtered(image: &RgbImage, across: &[Kernel], mut down: Vec<Kernel>) -> RgbImage {
    let top = down.iter().map(|kernel| kernel.first).min().unwrap_or(0);
    let bottom = down.iter().map(|kernel| kernel.first + kernel.weights.len()).max().unwrap_or(0);
    for kernel in &mut down {
        kernel.first -= top;
    }
    let source_stride = 3 * image.width() as usize;
    let source = &image.as_raw()[top * source_stride..bottom * source_stride];
    let narrow = filter_rows(source, source_stride, across);
    let pixels = filter_columns(&narrow, 3 * across.len(), &down);
    RgbImage::from_raw(across.len() as u32, down.len() as u32, pixels).unwrap_or_default()
}

fn filter_rows(source: &[u8], stride: usize, kernels: &[Kernel]) -> Vec<u8> {
    let mut output = Vec::with_capacity(source.len() / stride * 3 * kernels.len());
    for row in source.chunks_exact(stride) {
        for kernel in kernels {
            let mut sums = [HALF; 3];
            let pixels = row[3 * kernel.first..].chunks_exact(3);
            for (pixel, &weight) in pixels.zip(&kernel.weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            output.extend(sums.map(round));
        }
    }
    output
}

fn filter_columns(source: &[u8], stride: usize, kernels: &[Kernel]) -> Vec<u8> {
    let mut output = Vec::with_capacity(stride * kernels.len());
    let mut sums = vec![0; stride];
    for kernel in kernels {
        sums.fill(HALF);
        let rows = source[stride * kernel.first..].chunks_exact(stride);
        for (row, &weight) in rows.zip(&kernel.weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        output.extend(sums.iter().map(|&sum| round(sum)));
    }
    output
}

const HALF: i32 = 1 << (FRACTION - 1);

fn round(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

fn kernels(input: u32, output: u32, wanted: Range<u32>, filter: Filter) -> Vec<Kernel> {
    let scale = f64::from(input) / f64::from(output);
    match filter {
        Filter::Nearest => nearest(input as usize, scale, wanted),
        Filter::Bilinear => wanted.map(|at| kernel(input as usize, scale, at, 1.0, triangle)).collect(),
        Filter::Bicubic => wanted.map(|at| kernel(input as usize, scale, at, 2.0, cubic)).collect(),
    }
}

/// Positions are summed up step by step, as Pillow does, so that their roundings are Pillow's.
fn nearest(input: usize, scale: f64, wanted: Range<u32>) -> Vec<Kernel> {
    let mut position = scale * 0.5;
    let mut kernels = Vec::with_capacity(wanted.len());
    for at in 0..wanted.end {
        if at >= wanted.start {
            kernels.push(Kernel { first: (position as usize).min(input - 1), weights: vec![1 << FRACTION] });
        }
        position += scale;
    }
    kernels
}

fn kernel(input: usize, scale: f64, at: u32, support: f64, filter: fn(f64) -> f64) -> Kernel {
    let stretch = scale.max(1.0);
    let center = (f64::from(at) + 0.5) * scale;
    let reach = support * stretch;
    let first = (center - reach + 0.5).max(0.0) as usize;
    let end = ((center + reach + 0.5) as usize).min(input);
    let weights: Vec<f64> = (first..end).map(|x| filter((x as f64 - center + 0.5) * (1.0 / stretch))).collect();
    let total: f64 = weights.iter().sum();
    // Halves round away from zero.
    let fixed = |weight: &f64| (weight / total * f64::from(1 << FRACTION)).round() as i32;
    let weights: Vec<i32> = weights.iter().map(fixed).collect();
    let zeros = weights.iter().take_while(|&&weight| weight == 0).count();
    let end = weights.iter().rposition(|&weight| weight != 0).map_or(zeros, |last| last + 1);
    Kernel { first: first + zeros, weights: weights[zeros..end].to_vec() }
}

fn boxed(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys' cubic with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
