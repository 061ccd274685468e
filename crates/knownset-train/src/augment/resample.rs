//! To another size and back: the trace that scaling leaves, put on every picture.
//!
//! Images that a generator made are scaled to the network's size, others often are not; a network can tell them apart by
//! that alone. Pictures of both kinds that pass this first share the trace. Bilinear without antialiasing both ways, as
//! generators' samples usually are.

use knownset_core::params::{ParamError, require};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::scaled;
use super::picture::Picture;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Resample {
    side: u32,
}

impl Default for Resample {
    fn default() -> Self {
        Self { side: 32 }
    }
}

impl Effect for Resample {
    fn check(&self) -> Result<(), ParamError> {
        require((1..=1024).contains(&self.side), "side", self.side.into(), "from 1 to 1024")
    }

    fn apply(&self, picture: Picture, _: &mut ChaCha8Rng) -> Picture {
        scaled(&scaled(&picture, self.side as usize), picture.side)
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "resample",
    doc: "scaled to another side and back",
    paper: "https://arxiv.org/abs/2412.05293",
    params: &[("side", "the other side in pixels, from 1 to 1024")],
    read: read::<Resample>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn the_same_side_changes_nothing_and_one_pixel_leaves_the_middle() {
        let picture = Picture::from_fn(4, |channel, x, y| (16 * channel + 4 * y + x) as f32 / 48.0);
        let resampled = |side| Resample { side }.apply(picture.clone(), &mut stream(0, 0, 0));
        assert_eq!(resampled(4), picture);
        // The middle of four by four pixels lies between the four inner ones.
        let middle = [5, 6, 9, 10].map(|place| picture.values[place]).iter().sum::<f32>() / 4.0;
        assert!(resampled(1).values[..16].iter().all(|value| (value - middle).abs() < 1e-6));
    }

    /// To two pixels a side each becomes the mean of two by two; on the way back an outer pixel is its nearest, and one
    /// beside the middle a quarter of the other: 3/4 a + 1/4 b.
    #[test]
    fn two_pixels_by_hand() {
        let picture = Picture::from_fn(4, |_, x, _| x as f32 / 3.0);
        let found = Resample { side: 2 }.apply(picture, &mut stream(0, 0, 0));
        let (a, b) = (1.0 / 6.0, 5.0 / 6.0);
        let expected = [a, 0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b, b];
        assert!(found.values[..4].iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
    }
}
