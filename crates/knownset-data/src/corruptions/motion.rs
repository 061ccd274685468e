//! Motion blur: half a bell, laid along a line. ImageMagick's, which the published sets used.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{Plane, channels, nearest, to_image};
use super::{Corruption, Draws, Group};

/// Radius (the line has twice as many pixels and one) and standard deviation of the bell, in pixels.
const BLUR: Published<(usize, f64)> = Published {
    cifar: [(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)],
    tiny: [(10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)],
    imagenet: [(10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "motion-blur",
    group: Group::Blur,
    validation: false,
    doc: "the camera moved, within 45 degrees of level",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let (radius, sigma) = BLUR.at(level);
        let angle = draws.range(-45.0, 45.0);
        to_image(&channels(image).map(|plane| motion_blur(&plane, radius, sigma, angle)))
    },
};

/// Every pixel becomes a mean of those along the line from it at `angle` degrees clockwise from the right; the result is
/// rounded to 255ths.
pub(super) fn motion_blur(plane: &Plane, radius: usize, sigma: f64, angle: f64) -> Plane {
    let (sin, cos) = libm::sincos(angle.to_radians());
    let bell: Vec<f64> = (0..=2 * radius).map(|i| libm::exp(-((i * i) as f64) / (2.0 * sigma * sigma))).collect();
    let total: f64 = bell.iter().sum();
    let mut sums = Plane { values: vec![0.0; plane.values.len()], ..*plane };
    for (i, weight) in bell.iter().enumerate() {
        let step = |along: f64| (i as f64 * along - 0.5).ceil() as i64;
        let (right, down) = (step(cos), step(sin));
        for (y, row) in sums.values.chunks_exact_mut(plane.width).enumerate() {
            for (x, sum) in row.iter_mut().enumerate() {
                *sum += weight / total * plane.beyond(x as i64 + right, y as i64 + down, nearest);
            }
        }
    }
    // A hair above, so that cutting to 8 bits finds the same whole number again.
    sums.map(|value| ((value * 255.0).round() + 1e-9) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_smears_to_where_it_is_seen_from() {
        let dot = Plane::from_fn(9, 9, |x, y| f64::from(u8::from(x == 4 && y == 4)));
        // Radius 1 is three pixels: weights 1, e^−0.5 and e^−2, over their sum 1.741_866, in 255ths.
        let grey = |plane: &Plane, x, y| (plane.at(x, y) * 255.0).floor();
        let level = motion_blur(&dot, 1, 1.0, 0.0);
        assert_eq!([1, 2, 3, 4, 5].map(|x| grey(&level, x, 4)), [0.0, 20.0, 89.0, 146.0, 0.0]);
        let down = motion_blur(&dot, 1, 1.0, 90.0);
        assert_eq!([1, 2, 3, 4, 5].map(|y| grey(&down, 4, y)), [0.0, 20.0, 89.0, 146.0, 0.0]);
    }
}
