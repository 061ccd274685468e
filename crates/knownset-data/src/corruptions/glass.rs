//! Frosted glass: blur, pixels moved about, blur.
//!
//! The published code means to swap neighbours, but its assignment of array views copies one over the other; the published
//! sets were made that way, and so are these images.

use image::RgbImage;

use super::gaussian::{TRUNCATE, blur};
use super::level::{Level, Published};
use super::plane::{channels, nearest, to_image};
use super::{Corruption, Draws, Group};

/// Standard deviation of both blurs, farthest move, and rounds.
const GLASS: Published<(f64, usize, usize)> = Published {
    cifar: [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)],
    tiny: [(0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)],
    imagenet: [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "glass-blur",
    group: Group::Blur,
    validation: false,
    doc: "seen through frosted glass",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let (sigma, reach, rounds) = GLASS.at(level);
        let mut image = blurred(image, sigma);
        for _ in 0..rounds {
            for y in (reach + 1..=(image.height() as usize).saturating_sub(reach)).rev() {
                for x in (reach + 1..=(image.width() as usize).saturating_sub(reach)).rev() {
                    // Moves from −reach to reach − 1, as published.
                    let from_x = x + draws.below(2 * reach) - reach;
                    let from_y = y + draws.below(2 * reach) - reach;
                    let moved = *image.get_pixel(from_x as u32, from_y as u32);
                    image.put_pixel(x as u32, y as u32, moved);
                }
            }
        }
        blurred(&image, sigma)
    },
};

fn blurred(image: &RgbImage, sigma: f64) -> RgbImage {
    to_image(&channels(image).map(|plane| blur(&plane, sigma, TRUNCATE, nearest)))
}
