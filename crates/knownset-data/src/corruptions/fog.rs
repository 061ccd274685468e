//! Fog: a fractal cloud laid over the image.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{Plane, channels, size, to_image};
use super::{Corruption, Draws, Group};

/// How much cloud is added, and how fast its roughness falls from scale to scale.
const FOG: Published<(f64, f64)> = Published {
    cifar: [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)],
    tiny: [(0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)],
    imagenet: [(1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)],
};

/// Side of the largest cloud that is drawn.
const LARGEST: usize = 2048;

pub(super) static ENTRY: Corruption = Corruption {
    name: "fog",
    group: Group::Weather,
    validation: false,
    doc: "clouds of fog (diamond-square)",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let (amount, decay) = FOG.at(level);
        let (width, height) = size(image);
        let cloud = plasma(width, height, decay, draws);
        let planes = channels(image);
        let brightest = planes.iter().flat_map(|plane| &plane.values).fold(0.0, |max: f64, &value| max.max(value));
        to_image(&planes.map(|plane| {
            Plane::from_fn(width, height, |x, y| {
                (plane.at(x, y) + amount * cloud.at(x, y)) * brightest / (brightest + amount)
            })
        }))
    },
};

/// A cloud from 0 to 1, drawn by the diamond-square algorithm on a square whose side is the next power of two from the
/// longer side, at most [`LARGEST`]. The algorithm's edges meet, so a longer image repeats the cloud without a seam.
///
/// The published code draws deviations of `wibble * uniform(-wibble, wibble)`, so they shrink by `decay` squared.
pub(super) fn plasma(width: usize, height: usize, decay: f64, draws: &mut Draws) -> Plane {
    let n = width.max(height).next_power_of_two().clamp(2, LARGEST);
    let mut map = Plane { width: n, height: n, values: vec![0.0; n * n] };
    let mut wibble = 100.0;
    let mut step = n;
    while step >= 2 {
        let half = step / 2;
        // First the middles of squares, then of their upper sides, then of their left sides: each from four neighbours.
        for (right, down, reach) in [(half, half, Reach::Corners), (half, 0, Reach::Sides), (0, half, Reach::Sides)] {
            for y in (down..n).step_by(step) {
                for x in (right..n).step_by(step) {
                    let neighbours = match reach {
                        Reach::Corners => [(n - half, n - half), (half, n - half), (n - half, half), (half, half)],
                        Reach::Sides => [(0, n - half), (n - half, 0), (half, 0), (0, half)],
                    };
                    let sum: f64 = neighbours.iter().map(|(dx, dy)| map.at((x + dx) % n, (y + dy) % n)).sum();
                    map.values[y * n + x] = sum / 4.0 + wibble * draws.range(-wibble, wibble);
                }
            }
        }
        step = half;
        wibble /= decay;
    }
    let low = map.values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = map.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Plane::from_fn(width, height, |x, y| (map.at(x % n, y % n) - low) / (high - low))
}

/// Which four neighbours a point is the mean of.
#[derive(Clone, Copy)]
enum Reach {
    Corners,
    Sides,
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_long_image_repeats_its_cloud() {
        let cloud = plasma(3 * LARGEST, 2, 2.0, &mut Draws::new("fog", Severity::ALL[0], 0));
        assert_eq!((cloud.width, cloud.height), (3 * LARGEST, 2));
        assert!((0..2 * LARGEST).all(|x| cloud.at(x, 1) == cloud.at(x + LARGEST, 1)));
        assert!(cloud.values.iter().all(|value| (0.0..=1.0).contains(value)));
        let steps = (1..=LARGEST).map(|x| (cloud.at(x, 0) - cloud.at(x - 1, 0)).abs());
        assert!(steps.fold(0.0, f64::max) < 0.1, "a seam");
    }
}
