//! A random part of the picture, enlarged to its full size: torchvision's `RandomResizedCrop` (Szegedy et al. 2015).
//!
//! Share of the area uniform in `scale`..1, ratio of width to height log-uniform in 3/4..4/3; ten tries for a part that
//! fits, then the whole picture. Bilinear, as Pillow enlarges.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::enlarge;
use super::picture::Picture;

const RATIO: f64 = 4.0 / 3.0;
const TRIES: usize = 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResizedCrop {
    scale: f64,
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self { scale: 0.08 }
    }
}

/// A part of the picture: its upper left corner, width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl ResizedCrop {
    fn draw(&self, side: usize, rng: &mut ChaCha8Rng) -> Part {
        for _ in 0..TRIES {
            let area = (side * side) as f64 * rng.random_range(self.scale..=1.0);
            let ratio = libm::exp(rng.random_range(-libm::log(RATIO)..=libm::log(RATIO)));
            let [width, height] = [area * ratio, area / ratio].map(|square| square.sqrt().round() as usize);
            if (1..=side).contains(&width) && (1..=side).contains(&height) {
                let (x, y) = (rng.random_range(0..=side - width), rng.random_range(0..=side - height));
                return Part { x, y, width, height };
            }
        }
        Part { x: 0, y: 0, width: side, height: side }
    }
}

impl Effect for ResizedCrop {
    fn check(&self) -> Result<(), ParamError> {
        require(self.scale > 0.0 && self.scale <= 1.0, "scale", self.scale, "above 0 and at most 1")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let Part { x, y, width, height } = self.draw(picture.side, rng);
        enlarge(&picture, (x, y), (width, height))
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "resized-crop",
    doc: "a part of the picture, enlarged to its full size",
    paper: "https://arxiv.org/abs/1409.4842",
    params: &[("scale", "the smallest share of the area, above 0 and at most 1")],
    read: read::<ResizedCrop>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn parts_lie_in_the_picture_and_have_the_share_and_the_ratio_asked_for() {
        let crop = ResizedCrop { scale: 0.25 };
        let mut mean = 0.0;
        for image in 0..2000 {
            let Part { x, y, width, height } = crop.draw(100, &mut stream(0, 0, image));
            assert!(x + width <= 100 && y + height <= 100);
            let (area, ratio) = ((width * height) as f64 / 10_000.0, width as f64 / height as f64);
            // Sides are rounded to whole pixels: by 1 % of a side of 50.
            assert!(area > 0.25 * 0.97 && (0.75 * 0.97..1.03 / 0.75).contains(&ratio), "{width} x {height}");
            mean += area / 2000.0;
        }
        // Uniform in 0.25..1 would have the mean 0.625; large parts of a ratio other than 1 do not fit.
        assert!((0.5..0.625).contains(&mean), "{mean}");
    }

    #[test]
    fn the_whole_picture_stays_as_it_is() {
        let picture = Picture::from_fn(5, |channel, x, y| (25 * channel + 5 * y + x) as f32 / 74.0);
        assert_eq!(enlarge(&picture, (0, 0), (5, 5)), picture);
    }
}
