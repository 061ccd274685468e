//! Defocus: convolution with the disc that a lens out of focus makes of a point.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{Plane, channels, reflect_101, to_image};
use super::{Corruption, Draws, Group};

/// Radius of the disc, and standard deviation of the blur that softens its rim, in pixels.
const DISC: Published<(f64, f64)> = Published {
    cifar: [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)],
    tiny: [(0.5, 0.6), (1.0, 0.1), (1.5, 0.1), (2.5, 0.01), (3.0, 0.1)],
    imagenet: [(3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "defocus-blur",
    group: Group::Blur,
    validation: false,
    doc: "a lens out of focus",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let (radius, soft) = DISC.at(level);
        let disc = disc(radius, soft);
        to_image(&channels(image).map(|plane| convolve(&plane, &disc)))
    },
};

/// The disc on a square of odd side, its sum 1.
fn disc(radius: f64, soft: f64) -> Plane {
    // As published: 17 pixels wide up to radius 8, softened over 3x3; else as wide as the disc, over 5x5.
    let (reach, taps) = if radius <= 8.0 { (8, 1) } else { (radius as i64, 2) };
    let side = 2 * reach as usize + 1;
    let hard = Plane::from_fn(side, side, |x, y| {
        let squared = (x as i64 - reach).pow(2) + (y as i64 - reach).pow(2);
        f64::from(u8::from(squared as f64 <= radius * radius))
    });
    let count: f64 = hard.values.iter().sum();
    let bell: Vec<f64> = (-taps..=taps).map(|i| libm::exp(-((i * i) as f64) / (2.0 * soft * soft))).collect();
    let total: f64 = bell.iter().sum();
    let weight = |i: i64| bell[(i + taps) as usize] / total;
    Plane::from_fn(side, side, |x, y| {
        let mut sum = 0.0;
        for down in -taps..=taps {
            for right in -taps..=taps {
                let value = hard.beyond(x as i64 + right, y as i64 + down, reflect_101);
                sum += weight(down) * weight(right) * value / count;
            }
        }
        sum
    })
}

fn convolve(plane: &Plane, kernel: &Plane) -> Plane {
    let reach = (kernel.width / 2) as i64;
    let mut sums = Plane { values: vec![0.0; plane.values.len()], ..*plane };
    for (tap, &weight) in kernel.values.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        let (right, down) = ((tap % kernel.width) as i64 - reach, (tap / kernel.width) as i64 - reach);
        let columns: Vec<usize> = (0..plane.width).map(|x| reflect_101(x as i64 + right, plane.width)).collect();
        for (y, row) in sums.values.chunks_exact_mut(plane.width).enumerate() {
            let y = reflect_101(y as i64 + down, plane.height);
            let source = &plane.values[y * plane.width..][..plane.width];
            for (sum, &x) in row.iter_mut().zip(&columns) {
                *sum += weight * source[x];
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_are_round_and_whole() {
        for (radius, soft, width, pixels) in [(1.5, 0.01, 17, 9), (2.5, 0.01, 17, 21), (10.0, 0.5, 21, 0)] {
            let disc = disc(radius, soft);
            assert_eq!((disc.width, disc.height), (width, width));
            // A disc that touches the rim of its square is mirrored there when it is softened, as published.
            assert!((disc.values.iter().sum::<f64>() - 1.0).abs() < 2e-2, "{radius}");
            if pixels > 0 {
                let inside: Vec<f64> = disc.values.iter().copied().filter(|&value| value > 0.0).collect();
                assert_eq!(inside.len(), pixels, "{radius}");
                assert!(inside.iter().all(|value| (value - 1.0 / pixels as f64).abs() < 1e-15));
            }
        }
    }
}
