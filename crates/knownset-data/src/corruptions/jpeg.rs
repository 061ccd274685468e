//! JPEG compression as libjpeg does it by default: chroma at half size, 8x8 cosine transform, the standard's tables
//! scaled to a quality, chroma enlarged by a triangle filter.
//!
//! Entropy coding loses nothing, so it is left out: pixels are transformed, quantised and brought back. All of it is whole
//! numbers, the same that libjpeg gets. One exception: where the width is no multiple of 16, libjpeg repeats the last column
//! before it halves chroma, here that happens after, so chroma in the rightmost blocks may differ a little.

use image::{Rgb, RgbImage};

use super::cosine::{Block, COLUMNS, N, ROWS, each_line, from_waves, to_waves};
use super::level::{Level, Published};
use super::plane::nearest;
use super::{Corruption, Draws, Group};

/// Quality, 1–100.
const QUALITY: Published<u32> =
    Published { cifar: [80, 65, 58, 50, 40], tiny: [65, 58, 50, 40, 25], imagenet: [25, 18, 15, 10, 7] };

pub(super) static ENTRY: Corruption = Corruption {
    name: "jpeg-compression",
    group: Group::Digital,
    validation: false,
    doc: "compressed as a JPEG of low quality",
    render: |image: &RgbImage, level: Level, _: &mut Draws| compress(image, QUALITY.at(level)),
};

/// Steps of quality 50 for brightness and colour, row by row (ITU-T T.81, tables K.1 and K.2).
#[rustfmt::skip]
const LUMA: [u32; N * N] = [
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
];
#[rustfmt::skip]
const CHROMA: [u32; N * N] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// One component, 0–255.
struct Component {
    width: usize,
    height: usize,
    values: Vec<i32>,
}

impl Component {
    fn from_fn(width: usize, height: usize, value: impl Fn(usize, usize) -> i32) -> Self {
        let values = (0..width * height).map(|at| value(at % width, at / width)).collect();
        Self { width, height, values }
    }

    /// The value there, or the nearest there is.
    fn at(&self, x: i64, y: i64) -> i32 {
        self.values[nearest(y, self.height) * self.width + nearest(x, self.width)]
    }
}

fn compress(image: &RgbImage, quality: u32) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let [luma, blue, red] = [0, 1, 2].map(|c| {
        Component::from_fn(width, height, |x, y| to_ycc(image.get_pixel(x as u32, y as u32).0.map(i32::from))[c])
    });
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    let steps = |table: [u32; N * N]| table.map(|step| ((step * scale + 50) / 100).clamp(1, 255) as i32);
    let luma = quantised(&luma, &steps(LUMA));
    let [blue, red] = [blue, red].map(|chroma| quantised(&halved(&chroma), &steps(CHROMA)));
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (column, row) = (i64::from(x), i64::from(y));
        Rgb(to_rgb([luma.at(column, row), doubled(&blue, column, row), doubled(&red, column, row)]))
    })
}

/// What is left of a component after every 8x8 block was rounded to multiples of `steps`.
fn quantised(component: &Component, steps: &[i32; N * N]) -> Component {
    let (width, height) = (component.width, component.height);
    let mut output = Component { width, height, values: vec![0; width * height] };
    for top in (0..height).step_by(N) {
        for left in (0..width).step_by(N) {
            let mut block: Block =
                std::array::from_fn(|at| component.at((left + at % N) as i64, (top + at / N) as i64) - 128);
            each_line(&mut block, ROWS, 11, to_waves);
            each_line(&mut block, COLUMNS, 15, to_waves);
            for (wave, step) in block.iter_mut().zip(steps) {
                // Waves are eight times as high as the standard has them.
                *wave = (wave.abs() + 4 * step) / (8 * step) * step * wave.signum();
            }
            each_line(&mut block, COLUMNS, 11, from_waves);
            each_line(&mut block, ROWS, 18, from_waves);
            for y in 0..N.min(height - top) {
                for x in 0..N.min(width - left) {
                    output.values[(top + y) * width + left + x] = (block[y * N + x] + 128).clamp(0, 255);
                }
            }
        }
    }
    output
}

/// Means of 2x2 pixels; halves are rounded down and up in turn.
fn halved(component: &Component) -> Component {
    Component::from_fn(component.width.div_ceil(2), component.height.div_ceil(2), |x, y| {
        let (left, top) = (2 * x as i64, 2 * y as i64);
        let [a, b] = [top, top + 1].map(|y| component.at(left, y) + component.at(left + 1, y));
        (a + b + 1 + (x % 2) as i32) >> 2
    })
}

/// The value of a half-size component at a pixel of the full size: 9, 3, 3 and 1 sixteenths of the nearest four.
fn doubled(component: &Component, x: i64, y: i64) -> i32 {
    let far = |at: i64| if at % 2 == 0 { at / 2 - 1 } else { at / 2 + 1 };
    let column = |x: i64| 3 * component.at(x, y / 2) + component.at(x, far(y));
    (3 * column(x / 2) + column(far(x)) + 8 - (x % 2) as i32) >> 4
}

/// JFIF's brightness, blueness and redness, with factors in 65,536ths as libjpeg has them.
fn to_ycc([red, green, blue]: [i32; 3]) -> [i32; 3] {
    const MIDDLE: i32 = (128 << 16) + (1 << 15) - 1;
    [
        (19_595 * red + 38_470 * green + 7_471 * blue + (1 << 15)) >> 16,
        (-11_059 * red - 21_709 * green + 32_768 * blue + MIDDLE) >> 16,
        (32_768 * red - 27_439 * green - 5_329 * blue + MIDDLE) >> 16,
    ]
}

fn to_rgb([luma, blue, red]: [i32; 3]) -> [u8; 3] {
    let (blue, red) = (blue - 128, red - 128);
    let rounded = |sum: i32| (sum + (1 << 15)) >> 16;
    let rgb = [rounded(91_881 * red), rounded(-22_554 * blue - 46_802 * red), rounded(116_130 * blue)];
    rgb.map(|more| (luma + more).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardest_pixels_fit_into_32_bits() {
        let noise = RgbImage::from_fn(64, 64, |x, y| {
            let hash = (x * 64 + y + 1).wrapping_mul(2_654_435_761);
            Rgb([28, 29, 30].map(|bit| if hash >> bit & 1 == 1 { 255 } else { 0 }))
        });
        for quality in 1..=100 {
            assert_ne!(compress(&noise, quality), noise);
        }
    }

    #[test]
    fn flat_grey_is_rounded_to_its_step() {
        // Quality 50: the mean's step is 16 on eight times the value less 128, so 2 grey levels.
        let image = RgbImage::from_pixel(20, 12, Rgb([131; 3]));
        assert_eq!(compress(&image, 50), RgbImage::from_pixel(20, 12, Rgb([132; 3])));
        assert_eq!(compress(&image, 100), image);
    }
}
