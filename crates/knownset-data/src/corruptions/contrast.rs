//! Contrast lost: every value moves towards the mean of its channel.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{channels, to_image};
use super::{Corruption, Draws, Group};

/// What is left of the distance to the mean.
const LEFT: Published<f64> = Published {
    cifar: [0.75, 0.5, 0.4, 0.3, 0.15],
    tiny: [0.4, 0.3, 0.2, 0.1, 0.05],
    imagenet: [0.4, 0.3, 0.2, 0.1, 0.05],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "contrast",
    group: Group::Digital,
    validation: false,
    doc: "flat light: differences from the mean colour shrink",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let left = LEFT.at(level);
        to_image(&channels(image).map(|plane| {
            let mean = plane.values.iter().sum::<f64>() / plane.values.len() as f64;
            plane.map(|value| (value - mean) * left + mean)
        }))
    },
};
