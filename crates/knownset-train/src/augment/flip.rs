//! Left and right exchanged, half of the time.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{Change, ChangeEntry, Effect, read};
use super::picture::Picture;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flip {}

impl Effect for Flip {
    fn apply(&self, mut picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        if rng.random() {
            picture.values.chunks_mut(picture.side).for_each(<[f32]>::reverse);
        }
        picture
    }
}

/// The flip, which has no parameters.
pub(super) fn plain() -> Change {
    Change::new(&ENTRY, Flip {}, serde_json::json!({}))
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "flip",
    doc: "left and right exchanged, half of the time",
    paper: "https://arxiv.org/abs/1512.03385",
    params: &[],
    read: read::<Flip>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn half_of_the_pictures_are_mirrored() {
        let picture = Picture::from_fn(3, |channel, x, y| (9 * channel + 3 * y + x) as f32 / 26.0);
        let mirrored = Picture::from_fn(3, |channel, x, y| picture.at(channel, 2 - x, y));
        let flips = (0..1000).filter(|&image| {
            let output = Flip {}.apply(picture.clone(), &mut stream(0, 0, image));
            assert!(output == picture || output == mirrored);
            output == mirrored
        });
        // 500 expected, with a deviation of 16.
        assert!(flips.count().abs_diff(500) < 80);
    }
}
