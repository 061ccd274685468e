//! Brightness, contrast, saturation and hue changed at random, in random order: torchvision's `ColorJitter`, some of the
//! time. The defaults are those that contrastive learning uses on pictures of ordinary things (Chen et al. 2020).

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::{Operation, turn_hue};
use super::picture::Picture;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ColourJitter {
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
    p: f64,
}

impl Default for ColourJitter {
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1, p: 0.8 }
    }
}

/// What is changed.
#[derive(Clone, Copy)]
enum Part {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

impl Effect for ColourJitter {
    fn check(&self) -> Result<(), ParamError> {
        let Self { brightness, contrast, saturation, hue, p } = *self;
        for (name, width) in [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)] {
            require((0.0..=10.0).contains(&width), name, width, "from 0 to 10")?;
        }
        require((0.0..=0.5).contains(&hue), "hue", hue, "from 0 to 0.5")?;
        require((0.0..=1.0).contains(&p), "p", p, "from 0 to 1")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        if !rng.random_bool(self.p) {
            return picture;
        }
        let mut parts = [Part::Brightness, Part::Contrast, Part::Saturation, Part::Hue];
        parts.shuffle(rng);
        let mut factor = |width: f64| rng.random_range((1.0 - width).max(0.0)..=1.0 + width);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let turn = rng.random_range(-self.hue..=self.hue);
        parts.into_iter().fold(picture, |picture, part| match part {
            Part::Brightness => Operation::Brightness(brightness).apply(picture),
            Part::Contrast => Operation::Contrast(contrast).apply(picture),
            Part::Saturation => Operation::Colour(saturation).apply(picture),
            // The way through HSV and back rounds: no turn is no change.
            Part::Hue if turn == 0.0 => picture,
            Part::Hue => picture.map_colours(|colour| turn_hue(colour, turn)),
        })
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "colour-jitter",
    doc: "other brightness, contrast, saturation and hue, some of the time",
    paper: "https://arxiv.org/abs/2002.05709",
    params: &[
        ("brightness", "largest change of the factor from 1, from 0 to 10"),
        ("contrast", "largest change of the factor from 1, from 0 to 10"),
        ("saturation", "largest change of the factor from 1, from 0 to 10"),
        ("hue", "largest turn in circles, from 0 to 0.5"),
        ("p", "how often, from 0 to 1"),
    ],
    read: read::<ColourJitter>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    const NOTHING: ColourJitter = ColourJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0, p: 1.0 };

    fn colourful() -> Picture {
        Picture::from_fn(4, |channel, x, y| ((7 * channel + 3 * x + 5 * y) % 16) as f32 / 15.0)
    }

    #[test]
    fn without_width_or_chance_nothing_changes() {
        assert_eq!(NOTHING.apply(colourful(), &mut stream(0, 0, 0)), colourful());
        let never = ColourJitter { p: 0.0, ..ColourJitter::default() };
        assert_eq!(never.apply(colourful(), &mut stream(0, 0, 0)), colourful());
    }

    #[test]
    fn factors_are_uniform_around_one() {
        let jitter = ColourJitter { brightness: 0.4, ..NOTHING };
        let grey = Picture::from_fn(1, |_, _, _| 0.5);
        let factors: Vec<f32> =
            (0..4000).map(|image| 2.0 * jitter.apply(grey.clone(), &mut stream(0, 0, image)).values[0]).collect();
        assert!(factors.iter().all(|factor| (0.599_999..1.400_001).contains(factor)));
        let mean = factors.iter().sum::<f32>() / 4000.0;
        let variance = factors.iter().map(|factor| (factor - mean).powi(2)).sum::<f32>() / 4000.0;
        // 1 and 0.8² / 12, with deviations of 0.004 and 0.0008.
        assert!((mean - 1.0).abs() < 0.016 && (variance - 0.0533).abs() < 0.004, "{mean} {variance}");
    }

    /// Brightness and contrast do not commute where they reach the ends of 0..1: the result tells which came first.
    #[test]
    fn the_order_is_random() {
        let jitter = ColourJitter { brightness: 1.0, contrast: 1.0, ..NOTHING };
        let picture = Picture::from_fn(2, |_, x, _| if x == 0 { 0.3 } else { 0.9 });
        let (mut brightness_first, mut contrast_first) = (0, 0);
        for image in 0..400 {
            let rng = &mut stream(1, 0, image);
            let found = jitter.apply(picture.clone(), &mut rng.clone());
            // The same numbers again: a chance of 1 draws none, then the order, then the factors.
            [0; 4].shuffle(rng);
            let (brightness, contrast) = (rng.random_range(0.0..=2.0), rng.random_range(0.0..=2.0));
            let (bright, contrasted) = (Operation::Brightness(brightness), Operation::Contrast(contrast));
            let is = |expected: Picture| found.values.iter().zip(expected.values).all(|(a, b)| (a - b).abs() < 1e-6);
            let one = is(contrasted.apply(bright.apply(picture.clone())));
            let other = is(bright.apply(contrasted.apply(picture.clone())));
            assert!(one || other);
            brightness_first += usize::from(one && !other);
            contrast_first += usize::from(other && !one);
        }
        assert!(brightness_first > 40 && contrast_first > 40, "{brightness_first} {contrast_first}");
    }
}
