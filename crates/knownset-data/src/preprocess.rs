//! RGB image to network input, as torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize` do it on PIL images:
//! bit for bit, given the same pixels.

use std::ops::Range;

use image::RgbImage;
use knownset_core::{Preprocess, Resize, ScaledPreprocess};

use crate::resample::resample;

/// `[3, size, size]` input, channel by channel.
///
/// # Panics
/// When the image has no pixels or the description asks for none.
pub fn preprocess(image: &RgbImage, spec: &Preprocess) -> Vec<f32> {
    let side = spec.size as usize;
    let mut input = vec![0.0; 3 * side * side];
    preprocess_into(image, spec, &mut input);
    input
}

/// [`preprocess`] into memory that is already there, such as one row of a batch.
///
/// # Panics
/// When `input` is not 3 × `size` × `size` long, the image has no pixels, or the description asks for none.
pub fn preprocess_into(image: &RgbImage, spec: &Preprocess, input: &mut [f32]) {
    let side = spec.size as usize;
    let plane = side * side;
    assert_eq!(input.len(), 3 * plane, "input is not 3 x {side} x {side}");
    assert!(image.width() > 0 && image.height() > 0, "the image has no pixels");
    let (size, filter) = resized(image.dimensions(), spec.resize);
    assert!(size.0 > 0 && size.1 > 0, "the description asks for no pixels");
    let (columns, left) = centre(size.0, spec.size);
    let (rows, top) = centre(size.1, spec.size);
    let image = resample(image, size, columns, rows, filter);

    for (channel, plane) in input.chunks_exact_mut(plane.max(1)).enumerate() {
        let values = normalised(spec.mean[channel], spec.std[channel]);
        plane.fill(values[0]);
        for (y, row) in image.rows().enumerate() {
            for (x, pixel) in row.enumerate() {
                plane[(top + y) * side + left + x] = values[usize::from(pixel[channel])];
            }
        }
    }
}

/// `[3, h, w]` input of a network that takes images of any size, channel by channel, and its shape.
///
/// # Panics
/// When the image has no pixels.
pub fn preprocess_scaled(image: &RgbImage, spec: &ScaledPreprocess) -> (Vec<f32>, [usize; 3]) {
    assert!(image.width() > 0 && image.height() > 0, "the image has no pixels");
    let (width, height) = spec.size(image.width(), image.height());
    let image = resample(image, (width, height), 0..width, 0..height, spec.filter);
    let mut input = Vec::with_capacity(3 * width as usize * height as usize);
    for channel in 0..3 {
        let values = normalised(spec.mean[channel], spec.std[channel]);
        input.extend(image.pixels().map(|pixel| values[usize::from(pixel[channel])]));
    }
    (input, [3, height as usize, width as usize])
}

/// What each value of a channel becomes, by the same three roundings that torchvision's f32 tensors go through: /255,
/// −mean, /std.
fn normalised(mean: f32, std: f32) -> [f32; 256] {
    std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std)
}

/// Width and height after the resize. The longer side is rounded down, as torchvision does.
fn resized((width, height): (u32, u32), resize: Resize) -> ((u32, u32), knownset_core::Filter) {
    match resize {
        Resize::Exact { size, filter } => ((size, size), filter),
        Resize::Shorter { size, filter } => {
            let (short, long) = (width.min(height), width.max(height));
            let long = u64::from(size) * u64::from(long) / u64::from(short);
            let long = u32::try_from(long).unwrap_or(u32::MAX);
            (if width <= height { (size, long) } else { (long, size) }, filter)
        }
    }
}

/// What a centre crop to `size` keeps of `length` positions, and how much black border comes before it.
///
/// Python rounds halves to even when it halves what is cut away; of an odd border the larger part comes after.
fn centre(length: u32, size: u32) -> (Range<u32>, usize) {
    if length < size {
        return (0..length, ((size - length) / 2) as usize);
    }
    let spare = length - size;
    let half = spare / 2;
    let start = half + (spare % 2) * (half % 2);
    (start..start + size, 0)
}
