//! Colours with names, so that captions can say what is seen.

use super::dice::Dice;

/// Red, green, blue in 0–255.
pub(super) type Rgb = [f32; 3];

/// A colour and the word for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub(super) name: &'static str,
    pub(super) rgb: Rgb,
}

const PALETTE: &[(&str, [f32; 3])] = &[
    ("red", [208.0, 52.0, 48.0]),
    ("orange", [238.0, 140.0, 46.0]),
    ("yellow", [246.0, 212.0, 80.0]),
    ("green", [84.0, 168.0, 76.0]),
    ("teal", [46.0, 156.0, 152.0]),
    ("blue", [62.0, 116.0, 206.0]),
    ("sky blue", [140.0, 198.0, 240.0]),
    ("purple", [136.0, 84.0, 188.0]),
    ("pink", [244.0, 158.0, 188.0]),
    ("brown", [140.0, 92.0, 58.0]),
    ("beige", [230.0, 212.0, 178.0]),
    ("grey", [150.0, 152.0, 156.0]),
    ("white", [240.0, 240.0, 236.0]),
    ("black", [40.0, 42.0, 48.0]),
];

/// A palette colour, varied a little.
pub(super) fn draw(dice: &mut Dice) -> Paint {
    let (name, [r, g, b]) = dice.pick(PALETTE);
    let rgb = [r, g, b].map(|v| (v + dice.range(-16.0, 16.0)).clamp(0.0, 255.0));
    Paint { name, rgb }
}

/// A palette colour that can be told from `other`.
pub(super) fn draw_beside(dice: &mut Dice, other: Rgb) -> Paint {
    let mut paint = draw(dice);
    for _ in 0..8 {
        if distance(paint.rgb, other) > 80.0 {
            break;
        }
        paint = draw(dice);
    }
    paint
}

/// The word for a colour (the eleven basic colour terms less grey shades of doubt).
pub(super) fn word(rgb: [u8; 3]) -> &'static str {
    let [r, g, b] = rgb.map(i32::from);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let spread = high - low;
    if spread * 100 < high * 18 || high < 48 {
        return match high {
            0..=72 => "black",
            73..=190 => "grey",
            _ => "white",
        };
    }
    // Hue in 0..360, in whole degrees.
    let hue = match high {
        h if h == r => (60 * (g - b) / spread + 360) % 360,
        h if h == g => 60 * (b - r) / spread + 120,
        _ => 60 * (r - g) / spread + 240,
    };
    match hue {
        0..=14 | 345..=359 if spread * 2 < high && high > 190 => "pink",
        0..=14 | 345..=359 => "red",
        15..=45 if high < 180 => "brown",
        15..=41 => "orange",
        42..=68 => "yellow",
        69..=165 => "green",
        166..=258 => "blue",
        259..=299 => "purple",
        _ => "pink",
    }
}

pub(super) fn distance(a: Rgb, b: Rgb) -> f32 {
    let [x, y, z] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    (x * x + y * y + z * z).sqrt()
}

pub(super) fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * t)
}

#[cfg(test)]
mod tests {
    use super::{PALETTE, word};

    #[test]
    fn words_fit_the_palette() {
        let odd = ["teal", "sky blue", "beige"];
        for (name, rgb) in PALETTE.iter().filter(|(name, _)| !odd.contains(name)) {
            assert_eq!(word(rgb.map(|v| v as u8)), *name);
        }
    }
}
