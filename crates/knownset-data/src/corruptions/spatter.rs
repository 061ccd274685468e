//! Spatter: drops of water (weaker severities) or mud (4 and 5) on the lens.

use image::RgbImage;

use super::gaussian::{TRUNCATE, blur};
use super::level::{Level, Published};
use super::liquid::sheen;
use super::plane::{Plane, channels, nearest, size, to_image};
use super::{Corruption, Draws, Group};

#[derive(Clone, Copy)]
struct Spatter {
    /// Mean and standard deviation of the noise that becomes drops.
    noise: (f64, f64),
    /// Standard deviation of the blur that makes drops of it.
    sigma: f64,
    /// Below this the lens is dry.
    threshold: f64,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Brightness of the drops.
    Water(f64),
    /// Standard deviation of the blur of the splashes' rims.
    Mud(f64),
}

type Row = (f64, f64, f64, f64);

const fn water((mean, deviation, sigma, threshold): Row, strength: f64) -> Spatter {
    Spatter { noise: (mean, deviation), sigma, threshold, kind: Kind::Water(strength) }
}

const fn mud((mean, deviation, sigma, threshold): Row, rim: f64) -> Spatter {
    Spatter { noise: (mean, deviation), sigma, threshold, kind: Kind::Mud(rim) }
}

const SPATTER: Published<Spatter> = Published {
    cifar: [
        water((0.62, 0.1, 0.7, 0.7), 0.5),
        water((0.65, 0.1, 0.8, 0.7), 0.5),
        water((0.65, 0.3, 1.0, 0.69), 0.5),
        mud((0.65, 0.1, 0.7, 0.69), 0.6),
        mud((0.65, 0.1, 0.5, 0.68), 0.6),
    ],
    tiny: [
        water((0.62, 0.1, 0.7, 0.7), 0.6),
        water((0.65, 0.1, 0.8, 0.7), 0.6),
        water((0.65, 0.3, 1.0, 0.69), 0.6),
        mud((0.65, 0.1, 0.7, 0.68), 0.6),
        mud((0.65, 0.1, 0.5, 0.67), 0.6),
    ],
    imagenet: [
        water((0.65, 0.3, 4.0, 0.69), 0.6),
        water((0.65, 0.3, 3.0, 0.68), 0.6),
        water((0.65, 0.3, 2.0, 0.68), 0.5),
        mud((0.65, 0.3, 1.0, 0.65), 1.5),
        mud((0.67, 0.4, 1.0, 0.65), 1.5),
    ],
};

/// Pale turquoise.
const WATER: [f64; 3] = [175.0 / 255.0, 238.0 / 255.0, 238.0 / 255.0];
const MUD: [f64; 3] = [63.0 / 255.0, 42.0 / 255.0, 20.0 / 255.0];

pub(super) static ENTRY: Corruption = Corruption {
    name: "spatter",
    group: Group::Weather,
    validation: true,
    doc: "rain (1 to 3) or mud (4, 5) on the lens",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let Spatter { noise: (mean, deviation), sigma, threshold, kind } = SPATTER.at(level);
        let (width, height) = size(image);
        let noise = Plane::from_fn(width, height, |_, _| mean + deviation * draws.normal());
        let liquid = blur(&noise, sigma, TRUNCATE, nearest);
        let (cover, colour, opaque) = match kind {
            Kind::Water(strength) => {
                // Values above 1, which are rare, wrap around as they did in the published code's conversion to 8 bits.
                let depth = |value: f64| if value < threshold { 0.0 } else { f64::from((value * 255.0) as i64 as u8) };
                let depth = liquid.map(depth);
                (sheen(&depth).map(|value| value * strength), WATER, 0.0)
            }
            Kind::Mud(rim) => {
                let splashes = liquid.map(|value| f64::from(u8::from(value > threshold)));
                let soft = blur(&splashes, rim, TRUNCATE, nearest);
                (soft.map(|cover| if cover < 0.8 { 0.0 } else { cover }), MUD, 1.0)
            }
        };
        let mut colour = colour.into_iter();
        to_image(&channels(image).map(|plane| {
            let colour = colour.next().unwrap_or(0.0);
            Plane::from_fn(width, height, |x, y| {
                let cover = cover.at(x, y);
                plane.at(x, y) * (1.0 - opaque * cover) + colour * cover
            })
        }))
    },
};
