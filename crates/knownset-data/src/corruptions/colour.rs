//! Brightness and saturation, changed in HSV.

use image::{Rgb, RgbImage};

use super::level::{Level, Published};
use super::plane::byte;
use super::{Corruption, Draws, Group};

/// Added to the value of HSV.
const BRIGHTER: Published<f64> = Published {
    cifar: [0.05, 0.1, 0.15, 0.2, 0.3],
    tiny: [0.1, 0.2, 0.3, 0.4, 0.5],
    imagenet: [0.1, 0.2, 0.3, 0.4, 0.5],
};

/// Factor on the saturation of HSV, and what is added to it: two severities paler, three more colourful.
const SATURATION: Published<(f64, f64)> = Published {
    cifar: [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)],
    tiny: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)],
    imagenet: [(0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)],
};

pub(super) static BRIGHTNESS: Corruption = Corruption {
    name: "brightness",
    group: Group::Weather,
    validation: false,
    doc: "daylight too strong",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let more = BRIGHTER.at(level);
        in_hsv(image, |[hue, saturation, value]| [hue, saturation, (value + more).clamp(0.0, 1.0)])
    },
};

pub(super) static SATURATE: Corruption = Corruption {
    name: "saturate",
    group: Group::Digital,
    validation: true,
    doc: "colours too pale (1, 2) or too strong (3 to 5)",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let (factor, more) = SATURATION.at(level);
        in_hsv(image, |[hue, saturation, value]| [hue, (saturation * factor + more).clamp(0.0, 1.0), value])
    },
};

fn in_hsv(image: &RgbImage, change: impl Fn([f64; 3]) -> [f64; 3]) -> RgbImage {
    let mut image = image.clone();
    for pixel in image.pixels_mut() {
        let rgb = pixel.0.map(|value| f64::from(value) / 255.0);
        *pixel = Rgb(from_hsv(change(to_hsv(rgb))).map(byte));
    }
    image
}

/// Hue in turns, saturation, value; all 0–1. Grey has hue and saturation 0.
fn to_hsv([red, green, blue]: [f64; 3]) -> [f64; 3] {
    let value = red.max(green).max(blue);
    let spread = value - red.min(green).min(blue);
    if spread == 0.0 {
        return [0.0, 0.0, value];
    }
    let sixths = if blue == value {
        4.0 + (red - green) / spread
    } else if green == value {
        2.0 + (blue - red) / spread
    } else {
        (green - blue) / spread
    };
    [(sixths / 6.0).rem_euclid(1.0), spread / value, value]
}

fn from_hsv([hue, saturation, value]: [f64; 3]) -> [f64; 3] {
    let sixths = hue * 6.0;
    let part = sixths - sixths.floor();
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - part * saturation);
    let rising = value * (1.0 - (1.0 - part) * saturation);
    match sixths as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_known_by_heart() {
        for (rgb, hsv) in [
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ([0.5, 0.5, 0.5], [0.0, 0.0, 0.5]),
            ([1.0, 0.0, 0.0], [0.0, 1.0, 1.0]),
            ([1.0, 1.0, 0.0], [1.0 / 6.0, 1.0, 1.0]),
            ([0.0, 0.5, 0.0], [1.0 / 3.0, 1.0, 0.5]),
            ([0.5, 0.5, 1.0], [2.0 / 3.0, 0.5, 1.0]),
            ([1.0, 0.0, 1.0], [5.0 / 6.0, 1.0, 1.0]),
        ] {
            assert_eq!(to_hsv(rgb), hsv, "{rgb:?}");
            let back = from_hsv(hsv);
            assert!(rgb.iter().zip(back).all(|(a, b)| (a - b).abs() < 1e-12), "{rgb:?} became {back:?}");
        }
    }
}
