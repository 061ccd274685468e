//! Snow: blown flakes from two sides, over a whitened image.

use image::RgbImage;

use super::level::{Level, Published};
use super::motion::motion_blur;
use super::plane::{Plane, byte, channels, size, to_image};
use super::zoom::clipped_zoom;
use super::{Corruption, Draws, Group};

#[derive(Clone, Copy)]
struct Snow {
    /// Mean and standard deviation of the noise that becomes flakes.
    noise: (f64, f64),
    /// Enlargement of a flake.
    zoom: f64,
    /// Noise below this is no flake.
    threshold: f64,
    /// Radius and standard deviation of the blur along the flakes' way.
    blur: (usize, f64),
    /// Share of the image that is not whitened.
    kept: f64,
}

type Row = (f64, f64, f64, f64, usize, f64, f64);

const fn snow((mean, deviation, zoom, threshold, radius, sigma, kept): Row) -> Snow {
    Snow { noise: (mean, deviation), zoom, threshold, blur: (radius, sigma), kept }
}

const SNOW: Published<Snow> = Published {
    cifar: [
        snow((0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95)),
        snow((0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9)),
        snow((0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9)),
        snow((0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85)),
        snow((0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8)),
    ],
    tiny: [
        snow((0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.8)),
        snow((0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.8)),
        snow((0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.7)),
        snow((0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.65)),
        snow((0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.6)),
    ],
    imagenet: [
        snow((0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8)),
        snow((0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7)),
        snow((0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7)),
        snow((0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65)),
        snow((0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55)),
    ],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "snow",
    group: Group::Weather,
    validation: false,
    doc: "falling snow",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let Snow { noise: (mean, deviation), zoom, threshold, blur: (radius, sigma), kept } = SNOW.at(level);
        let (width, height) = size(image);
        let noise = Plane::from_fn(width, height, |_, _| mean + deviation * draws.normal());
        let flakes = clipped_zoom(&noise, zoom).map(|value| if value < threshold { 0.0 } else { value });
        let flakes = flakes.map(|value| f64::from(byte(value)) / 255.0);
        let flakes = motion_blur(&flakes, radius, sigma, draws.range(-135.0, -45.0));

        let planes = channels(image);
        let [red, green, blue] = &planes;
        let white = Plane::from_fn(width, height, |x, y| {
            (0.299 * red.at(x, y) + 0.587 * green.at(x, y) + 0.114 * blue.at(x, y)) * 1.5 + 0.5
        });
        to_image(&planes.clone().map(|plane| {
            Plane::from_fn(width, height, |x, y| {
                let value = plane.at(x, y);
                let value = kept * value + (1.0 - kept) * value.max(white.at(x, y));
                value + flakes.at(x, y) + flakes.at(width - 1 - x, height - 1 - y)
            })
        }))
    },
};
