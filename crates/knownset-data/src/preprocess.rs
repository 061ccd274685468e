//! RGB image to network input, as torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize` do it on PIL images.

use fast_image_resize as fir;
use fir::images::{Image, ImageRef};
use image::RgbImage;
use knownset_core::{Filter, Preprocess, Resize};

/// `[3, size, size]` input, channel by channel.
pub fn preprocess(image: &RgbImage, spec: &Preprocess) -> Vec<f32> {
    let side = spec.size as usize;
    let mut input = vec![0.0; 3 * side * side];
    preprocess_into(image, spec, &mut input);
    input
}

/// [`preprocess`] into memory that is already there, such as one row of a batch.
///
/// # Panics
/// When `input` is not 3 × `size` × `size` long, or the image has no pixels.
pub fn preprocess_into(image: &RgbImage, spec: &Preprocess, input: &mut [f32]) {
    let side = i64::from(spec.size);
    assert_eq!(input.len() as i64, 3 * side * side, "input is not 3 x {side} x {side}");
    let (width, height) = target(image.dimensions(), spec.resize);
    let resized = resize(image, width, height, filter(spec.resize));
    let image = resized.as_ref().unwrap_or(image);
    let (left, top) = (crop_start(width, spec.size), crop_start(height, spec.size));

    // The same three roundings as torchvision's f32 tensors go through: /255, −mean, /std.
    let scale = |channel: usize| {
        let (mean, std) = (spec.mean[channel], spec.std[channel]);
        std::array::from_fn::<f32, 256, _>(|value| (value as f32 / 255.0 - mean) / std)
    };
    let values = [scale(0), scale(1), scale(2)];
    let plane = (side * side) as usize;
    for y in 0..side {
        for x in 0..side {
            let at = (y * side + x) as usize;
            let pixel = pixel_or_black(image, left + x, top + y);
            for channel in 0..3 {
                input[channel * plane + at] = values[channel][usize::from(pixel[channel])];
            }
        }
    }
}

fn pixel_or_black(image: &RgbImage, x: i64, y: i64) -> [u8; 3] {
    let inside = u32::try_from(x).ok().zip(u32::try_from(y).ok());
    inside.and_then(|(x, y)| image.get_pixel_checked(x, y)).map_or([0; 3], |pixel| pixel.0)
}

/// Width and height after the resize. The longer side is rounded down, as torchvision does.
fn target((width, height): (u32, u32), resize: Resize) -> (u32, u32) {
    match resize {
        Resize::Exact { size, .. } => (size, size),
        Resize::Shorter { size, .. } => {
            let (short, long) = (width.min(height), width.max(height));
            let long = (u64::from(size) * u64::from(long) / u64::from(short)) as u32;
            if width <= height { (size, long) } else { (long, size) }
        }
    }
}

/// First row or column of a centre crop; negative where the image is smaller and gets a black border.
///
/// Python rounds halves to even, and torchvision puts the odd pixel of a border after the image.
fn crop_start(length: u32, size: u32) -> i64 {
    let spare = i64::from(length) - i64::from(size);
    if spare < 0 {
        return -(-spare / 2);
    }
    let half = spare / 2;
    if spare % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

fn filter(resize: Resize) -> Filter {
    match resize {
        Resize::Shorter { filter, .. } | Resize::Exact { filter, .. } => filter,
    }
}

/// `None` where the image already has that size.
fn resize(image: &RgbImage, width: u32, height: u32, filter: Filter) -> Option<RgbImage> {
    if image.dimensions() == (width, height) {
        return None;
    }
    let algorithm = match filter {
        Filter::Nearest => fir::ResizeAlg::Nearest,
        Filter::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
        Filter::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
    };
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), fir::PixelType::U8x3).expect("RGB");
    let mut output = Image::new(width, height, fir::PixelType::U8x3);
    let options = fir::ResizeOptions::new().resize_alg(algorithm);
    fir::Resizer::new().resize(&source, &mut output, &options).expect("same pixel type");
    RgbImage::from_raw(width, height, output.into_vec())
}
