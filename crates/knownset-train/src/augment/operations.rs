//! Operations on pictures without chance: what RandAugment, AugMix and PixMix choose from, and what colour jitter draws.
//!
//! They are Pillow's and torchvision's, on numbers instead of 8 bits. Deviations: results are not rounded or cut to 8
//! bits (the three that need a histogram or bits, equalize, posterize and solarize, work on the 256 levels). Luminance is
//! 0.299 R + 0.587 G + 0.114 B, as Pillow's; torchvision writes 0.2989. Contrast is around the mean luminance itself;
//! Pillow rounds it to a level.

use super::picture::Picture;

/// An operation and how far it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operation {
    /// Nothing.
    Identity,
    /// Rows moved left in proportion to their distance from the upper edge; pixels per pixel.
    ShearX(f64),
    /// Columns moved up in proportion to their distance from the left edge; pixels per pixel.
    ShearY(f64),
    /// Moved left by pixels.
    TranslateX(f64),
    /// Moved up by pixels.
    TranslateY(f64),
    /// Turned around the middle, counter-clockwise, by degrees.
    Rotate(f64),
    /// Mixed with black: 0 is black, 1 the picture, above 1 brighter.
    Brightness(f64),
    /// Mixed with its grey version: 0 is grey, 1 the picture.
    Colour(f64),
    /// Mixed with its mean luminance: 0 is flat, 1 the picture.
    Contrast(f64),
    /// Mixed with a smoothed version: 0 is smooth, 1 the picture.
    Sharpness(f64),
    /// Cut to so many bits, 1 to 8; 8 is the picture.
    Posterize(u32),
    /// Values from here on, in 0..1, are inverted.
    Solarize(f64),
    /// Each channel stretched to 0..1.
    AutoContrast,
    /// Each channel mapped so that its levels are equally frequent.
    Equalize,
}

impl Operation {
    pub(super) fn apply(self, picture: Picture) -> Picture {
        match self {
            Self::Identity | Self::Posterize(8..) => picture,
            Self::ShearX(level) => affine(&picture, [1.0, level, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(level) => affine(&picture, [1.0, 0.0, 0.0, level, 1.0, 0.0]),
            Self::TranslateX(pixels) => affine(&picture, [1.0, 0.0, pixels, 0.0, 1.0, 0.0]),
            Self::TranslateY(pixels) => affine(&picture, [1.0, 0.0, 0.0, 0.0, 1.0, pixels]),
            Self::Rotate(degrees) => rotate(&picture, degrees),
            Self::Brightness(factor) => picture.map(|value| blend(0.0, value, factor)),
            Self::Colour(factor) => picture.map_colours(|colour| {
                let grey = luminance(colour);
                colour.map(|value| blend(grey, value, factor))
            }),
            Self::Contrast(factor) => {
                let mean = mean_luminance(&picture);
                picture.map(|value| blend(mean, value, factor))
            }
            Self::Sharpness(factor) => smooth(&picture).with(&picture, |smooth, value| blend(smooth, value, factor)),
            Self::Posterize(bits) => {
                let mask = 0xff_u8 << (8 - bits).min(7);
                picture.map(|value| f32::from(level(value) & mask) / 255.0)
            }
            Self::Solarize(threshold) => {
                // A level that is the threshold itself is inverted, however that was rounded.
                let threshold = threshold * 255.0 - 1e-6;
                picture.map(|value| if f64::from(level(value)) < threshold { value } else { 1.0 - value })
            }
            Self::AutoContrast => picture.map_planes(stretch),
            Self::Equalize => picture.map_planes(equalize),
        }
    }
}

/// How bright a colour is.
pub(super) fn luminance([red, green, blue]: [f32; 3]) -> f32 {
    (0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue)) as f32
}

/// The colour with its hue turned by so many circles, −0.5..0.5, through HSV.
pub(super) fn turn_hue(colour: [f32; 3], turn: f64) -> [f32; 3] {
    let [red, green, blue] = colour.map(f64::from);
    let (high, low) = (red.max(green).max(blue), red.min(green).min(blue));
    let spread = high - low;
    if spread == 0.0 {
        return colour;
    }
    // In sixths of the circle, from red.
    let hue = if red == high {
        (green - blue) / spread
    } else if green == high {
        2.0 + (blue - red) / spread
    } else {
        4.0 + (red - green) / spread
    };
    let hue = (hue + 6.0 * turn).rem_euclid(6.0);
    let (falling, rising) = (high - spread * hue.fract(), low + spread * hue.fract());
    let turned = match hue as u32 {
        1 => [falling, high, low],
        2 => [low, high, rising],
        3 => [low, falling, high],
        4 => [rising, low, high],
        5 => [high, low, falling],
        // Also 6, to which −10⁻²⁰ is rounded.
        _ => [high, rising, low],
    };
    turned.map(|value| value as f32)
}

/// A part of the picture enlarged to the whole: its upper left corner, and its width and height, at least one pixel.
pub(super) fn enlarge(picture: &Picture, (x, y): (usize, usize), (width, height): (usize, usize)) -> Picture {
    let side = picture.side;
    let source = |start: usize, length: usize| {
        let last = (length - 1) as f64;
        let position = move |at: usize| ((at as f64 + 0.5) * length as f64 / side as f64 - 0.5).clamp(0.0, last);
        move |at: usize| start as f64 + position(at)
    };
    let (across, down) = (source(x, width), source(y, height));
    Picture::from_fn(side, |channel, x, y| between(picture, channel, across(x), down(y)))
}

/// The whole picture at another side, bilinear without antialiasing.
pub(super) fn scaled(picture: &Picture, side: usize) -> Picture {
    let last = (picture.side - 1) as f64;
    let from = |at: usize| ((at as f64 + 0.5) * picture.side as f64 / side as f64 - 0.5).clamp(0.0, last);
    Picture::from_fn(side, |channel, x, y| between(picture, channel, from(x), from(y)))
}

/// What lies at [a x + b y + c, d x + e y + f] comes to (x, y), counted from the picture's corner; black from beyond it.
fn affine(picture: &Picture, [a, b, c, d, e, f]: [f64; 6]) -> Picture {
    let side = picture.side as f64;
    Picture::from_fn(picture.side, |channel, x, y| {
        let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
        let (x, y) = (a * x + b * y + c, d * x + e * y + f);
        let inside = (0.0..side).contains(&x) && (0.0..side).contains(&y);
        let last = side - 1.0;
        if inside { between(picture, channel, (x - 0.5).clamp(0.0, last), (y - 0.5).clamp(0.0, last)) } else { 0.0 }
    })
}

fn rotate(picture: &Picture, degrees: f64) -> Picture {
    let (sin, cos) = (libm::sin(degrees.to_radians()), libm::cos(degrees.to_radians()));
    let middle = picture.side as f64 / 2.0;
    affine(picture, [cos, -sin, middle - cos * middle + sin * middle, sin, cos, middle - sin * middle - cos * middle])
}

/// The value between pixels, from the four around it; positions are of pixels' middles, inside the picture.
fn between(picture: &Picture, channel: usize, x: f64, y: f64) -> f32 {
    let last = picture.side - 1;
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(last), (top + 1).min(last));
    let mix = |a: f64, b: f64, share: f64| a + (b - a) * share;
    let row = |y| {
        let [a, b] = [left, right].map(|x| f64::from(picture.at(channel, x, y)));
        mix(a, b, x.fract())
    };
    mix(row(top), row(bottom), y.fract()) as f32
}

/// From `other` at a factor of 0 by way of `value` at 1 and beyond, within 0..1.
fn blend(other: f32, value: f32, factor: f64) -> f32 {
    (factor * f64::from(value) + (1.0 - factor) * f64::from(other)).clamp(0.0, 1.0) as f32
}

fn mean_luminance(picture: &Picture) -> f32 {
    let plane = picture.side * picture.side;
    let (red, rest) = picture.values.split_at(plane);
    let (green, blue) = rest.split_at(plane);
    let colours = red.iter().zip(green).zip(blue).map(|((&red, &green), &blue)| [red, green, blue]);
    (colours.map(|colour| f64::from(luminance(colour))).sum::<f64>() / plane as f64) as f32
}

/// Every inner pixel replaced by the mean of the nine around it, itself counted five times.
fn smooth(picture: &Picture) -> Picture {
    let inner = 1..picture.side.max(1) - 1;
    Picture::from_fn(picture.side, |channel, x, y| {
        let own = picture.at(channel, x, y);
        if !inner.contains(&x) || !inner.contains(&y) {
            return own;
        }
        let rows = y - 1..=y + 1;
        let around = rows.flat_map(|y| (x - 1..=x + 1).map(move |x| f64::from(picture.at(channel, x, y))));
        ((around.sum::<f64>() + 4.0 * f64::from(own)) / 13.0) as f32
    })
}

/// One of 256 levels.
fn level(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

fn stretch(plane: &mut [f32]) {
    let (low, high) =
        plane.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    if high > low {
        for value in plane {
            *value = ((*value - low) / (high - low)).clamp(0.0, 1.0);
        }
    }
}

/// Pillow's: a level becomes the number of values below it, and half a step, counted in steps; a step is the 255th part of
/// all values but those of the highest level. A picture too small for a step stays as it is.
fn equalize(plane: &mut [f32]) {
    let mut histogram = [0_usize; 256];
    for &value in &*plane {
        histogram[usize::from(level(value))] += 1;
    }
    let highest = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
    let step = (plane.len() - highest) / 255;
    if step == 0 {
        return;
    }
    let mut below = step / 2;
    let mapped = histogram.map(|count| {
        let value = (below / step).min(255) as f32 / 255.0;
        below += count;
        value
    });
    for value in plane {
        *value = mapped[usize::from(level(*value))];
    }
}

#[cfg(test)]
mod tests;
