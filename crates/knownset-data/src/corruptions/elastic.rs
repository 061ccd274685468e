//! Elastic transform: a random affine map, then every pixel displaced by a smooth random field.
//!
//! The published code gives the affine map's centre as (height, width) / 2, which is the same on squares; here it is the
//! middle of the image. OpenCV, which applied the map, rounds positions to 1/32 pixel; here they are exact.

use image::RgbImage;

use super::gaussian::blur;
use super::level::{Level, Published};
use super::plane::{Plane, channels, reflect, reflect_101, size, to_image};
use super::{Corruption, Draws, Group};

/// Size of the displacements, standard deviation of the blur that makes them smooth, and farthest move of the affine map's
/// three points, as shares of the shorter side.
const ELASTIC: Published<[f64; 3]> = Published {
    cifar: [[0.0, 0.0, 0.08], [0.05, 0.2, 0.07], [0.08, 0.06, 0.06], [0.1, 0.04, 0.05], [0.1, 0.03, 0.03]],
    tiny: [[0.0, 0.0, 0.08], [0.05, 0.3, 0.06], [0.1, 0.08, 0.06], [0.1, 0.03, 0.03], [0.16, 0.03, 0.02]],
    imagenet: [
        of_244([2.0, 0.7, 0.1]),
        of_244([2.0, 0.08, 0.2]),
        of_244([0.05, 0.01, 0.02]),
        of_244([0.07, 0.01, 0.02]),
        of_244([0.12, 0.01, 0.02]),
    ],
};

/// ImageNet-C's shares are of 244 pixels, on images of 224.
const fn of_244([size, sigma, affine]: [f64; 3]) -> [f64; 3] {
    [size * 244.0 / 224.0, sigma * 244.0 / 224.0, affine * 244.0 / 224.0]
}

pub(super) static ENTRY: Corruption = Corruption {
    name: "elastic-transform",
    group: Group::Digital,
    validation: false,
    doc: "parts of the image stretched and squeezed",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let (width, height) = size(image);
        let side = width.min(height);
        let [length, sigma, farthest] = ELASTIC.at(level).map(|share| share * side as f64);

        let middle = ((width / 2) as f64, (height / 2) as f64);
        let arm = (side / 3) as f64;
        let from = [(arm, arm), (arm, -arm), (-arm, -arm)].map(|(x, y)| (middle.0 + x, middle.1 + y));
        let to = from.map(|(x, y)| (x + draws.range(-farthest, farthest), y + draws.range(-farthest, farthest)));
        let source = affine(to, from);
        let mut field = || {
            let noise = Plane::from_fn(width, height, |_, _| draws.range(-1.0, 1.0));
            blur(&noise, sigma, 3.0, reflect).map(|value| value * length)
        };
        let (across, down) = (field(), field());

        to_image(&channels(image).map(|plane| {
            let mapped = Plane::from_fn(width, height, |x, y| {
                let (x, y) = source(x as f64, y as f64);
                plane.between(x, y, reflect_101)
            });
            Plane::from_fn(width, height, |x, y| {
                mapped.between(x as f64 + across.at(x, y), y as f64 + down.at(x, y), reflect)
            })
        }))
    },
};

type Point = (f64, f64);

/// The affine map that takes three points to three others; the identity where the first three lie on a line.
fn affine(from: [Point; 3], to: [Point; 3]) -> impl Fn(f64, f64) -> Point {
    let [a, b, c] = from;
    let twice_area = (b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1);
    move |x, y| {
        if twice_area == 0.0 {
            return (x, y);
        }
        // Shares of the three points in (x, y).
        let of_b = ((x - a.0) * (c.1 - a.1) - (c.0 - a.0) * (y - a.1)) / twice_area;
        let of_c = ((b.0 - a.0) * (y - a.1) - (x - a.0) * (b.1 - a.1)) / twice_area;
        let mix = |a: f64, b: f64, c: f64| a + (b - a) * of_b + (c - a) * of_c;
        (mix(to[0].0, to[1].0, to[2].0), mix(to[0].1, to[1].1, to[2].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_map_is_known_by_three_points() {
        // x' = 2x + y + 1, y' = 3 − x.
        let map = |(x, y): Point| (2.0 * x + y + 1.0, 3.0 - x);
        let points = [(0.0, 0.0), (1.0, 0.0), (2.0, 5.0)];
        let found = affine(points, points.map(map));
        let (x, y) = found(-3.0, 7.0);
        assert!((x - 2.0).abs() < 1e-12 && (y - 6.0).abs() < 1e-12);
        let line = affine([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)], points);
        assert_eq!(line(4.0, 9.0), (4.0, 9.0));
    }
}
