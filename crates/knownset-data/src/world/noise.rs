//! The split of random pixels.

use super::canvas::{Canvas, Clouds, SIDE};
use super::colour::Rgb;
use super::dice::Dice;

const PIXELS: usize = SIDE * SIDE;

/// Paints the noise of the given class.
pub(super) fn paint(class: &str, dice: &mut Dice) -> Canvas {
    let mut pixels: Vec<Rgb> = Vec::with_capacity(PIXELS);
    match class {
        "bell" => {
            // Mean of four uniform numbers: near enough to a normal one, without a logarithm.
            let (centre, width) = ([0; 3].map(|_| dice.range(90.0, 165.0)), dice.range(90.0, 260.0));
            for _ in 0..PIXELS {
                pixels.push(centre.map(|mean| {
                    let four: f32 = (0..4).map(|_| dice.unit()).sum();
                    mean + (four / 4.0 - 0.5) * width
                }));
            }
        }
        "blocks" => {
            let size = dice.below(7) + 4;
            let side = SIDE.div_ceil(size);
            let blocks: Vec<Rgb> = (0..side * side).map(|_| [0; 3].map(|_| dice.range(0.0, 255.0))).collect();
            for i in 0..PIXELS {
                pixels.push(blocks[(i / SIDE / size) * side + (i % SIDE) / size]);
            }
        }
        "fog" => {
            let cells = dice.below(5) + 3;
            let channels = [0; 3].map(|_| Clouds::draw(dice, cells));
            for i in 0..PIXELS {
                let (x, y) = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
                pixels.push([0, 1, 2].map(|c| channels[c].at(x, y) * 255.0));
            }
        }
        "pepper" => {
            let (ground, share) = (dice.range(60.0, 200.0), dice.range(0.1, 0.5));
            for _ in 0..PIXELS {
                let grain = if dice.chance(0.5) { 0.0 } else { 255.0 };
                pixels.push([if dice.chance(share) { grain } else { ground }; 3]);
            }
        }
        // "uniform"
        _ => {
            for _ in 0..PIXELS {
                pixels.push([0; 3].map(|_| dice.range(0.0, 255.0)));
            }
        }
    }
    Canvas::from_pixels(pixels)
}
