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

pub(super) static ENTRY: Corruption = Corruption {
    name: "fog",
    group: Group::Weather,
    validation: false,
    doc: "clouds of fog (diamond-square)",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let (amount, decay) = FOG.at(level);
        let (width, height) = size(image);
        let cloud = plasma(width.max(height), decay, draws);
        let planes = channels(image);
        let brightest = planes.iter().flat_map(|plane| &plane.values).fold(0.0, |max: f64, &value| max.max(value));
        to_image(&planes.map(|plane| {
            Plane::from_fn(width, height, |x, y| {
                (plane.at(x, y) + amount * cloud.at(x, y)) * brightest / (brightest + amount)
            })
        }))
    },
};

/// A cloud from 0 to 1 on a square whose side is the next power of two from `side`, drawn by the diamond-square
/// algorithm on a torus.
///
/// The published code draws deviations of `wibble * uniform(-wibble, wibble)`, so they shrink by `decay` squared.
pub(super) fn plasma(side: usize, decay: f64, draws: &mut Draws) -> Plane {
    let n = side.next_power_of_two().max(2);
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
    map.map(|value| (value - low) / (high - low))
}

/// Which four neighbours a point is the mean of.
#[derive(Clone, Copy)]
enum Reach {
    Corners,
    Sides,
}
