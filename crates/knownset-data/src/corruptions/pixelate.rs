//! Pixelation: shrunk and enlarged again, both with a box filter.

use image::RgbImage;

use super::level::{Level, Published};
use super::{Corruption, Draws, Group};
use crate::resample::resize_box;

/// Factor on both sides.
const FACTOR: Published<f64> = Published {
    cifar: [0.95, 0.9, 0.85, 0.75, 0.65],
    tiny: [0.9, 0.8, 0.7, 0.6, 0.5],
    imagenet: [0.6, 0.5, 0.4, 0.3, 0.25],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "pixelate",
    group: Group::Digital,
    validation: false,
    doc: "a small image enlarged",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let (width, height) = image.dimensions();
        let shrunk = |side: u32| ((f64::from(side) * FACTOR.at(level)) as u32).max(1);
        resize_box(&resize_box(image, (shrunk(width), shrunk(height))), (width, height))
    },
};
