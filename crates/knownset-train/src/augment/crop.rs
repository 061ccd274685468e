//! A random crop of the full size from the picture with black pixels around it (He et al. 2016, section 4.2).

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{Change, ChangeEntry, Effect, read};
use super::picture::Picture;

/// The default padding is the side divided by this: 4 pixels of 32, as usual.
const SHARE: usize = 8;
/// The most padding.
const MOST: usize = 1024;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Crop {
    pad: Option<usize>,
}

impl Effect for Crop {
    fn check(&self) -> Result<(), ParamError> {
        let pad = self.pad.unwrap_or(0);
        require(pad <= MOST, "pad", pad as f64, "at most 1024")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let side = picture.side;
        let pad = self.pad.unwrap_or(side / SHARE);
        let (down, right) = (rng.random_range(0..=2 * pad), rng.random_range(0..=2 * pad));
        Picture::from_fn(side, |channel, x, y| {
            // Where this pixel was before padding; below 0 or beyond the side it is padding.
            let (x, y) = ((x + right).wrapping_sub(pad), (y + down).wrapping_sub(pad));
            if x < side && y < side { picture.at(channel, x, y) } else { 0.0 }
        })
    }
}

/// The crop with so much padding, at most [`MOST`].
pub(super) fn with(pad: usize) -> Change {
    let pad = pad.min(MOST);
    Change::new(&ENTRY, Crop { pad: Some(pad) }, serde_json::json!({ "pad": pad }))
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "crop",
    doc: "a crop of the full size from the picture with black pixels around it",
    paper: "https://arxiv.org/abs/1512.03385",
    params: &[("pad", "pixels around the picture, at most 1024; an eighth of the side if not given")],
    read: read::<Crop>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn without_padding_nothing_changes() {
        let picture = Picture::from_fn(3, |channel, x, y| (9 * channel + 3 * y + x) as f32 / 26.0);
        assert_eq!(Crop { pad: Some(0) }.apply(picture.clone(), &mut stream(0, 0, 0)), picture);
    }

    /// With a padding of 1 a picture of 2 × 2 has nine crops, all equally likely.
    #[test]
    fn every_crop_comes_up_and_black_comes_in() {
        let picture = Picture::from_fn(2, |channel, x, y| (4 * channel + 2 * y + x + 1) as f32 / 12.0);
        let mut seen = std::collections::BTreeMap::<Vec<u32>, usize>::new();
        for image in 0..9000 {
            let crop = Crop { pad: Some(1) }.apply(picture.clone(), &mut stream(5, 0, image));
            *seen.entry(crop.values[..4].iter().map(|value| (value * 12.0).round() as u32).collect()).or_default() += 1;
            // The channels move together: where red is not black, blue is 8 steps brighter.
            assert!((0..4).all(|at| {
                let (red, blue) = (crop.values[at], crop.values[8 + at]);
                if red == 0.0 { blue == 0.0 } else { (blue - red - 8.0 / 12.0).abs() < 1e-6 }
            }));
        }
        let crops: Vec<&[u32]> = seen.keys().map(Vec::as_slice).collect();
        let expected: [&[u32]; 9] = [
            &[0, 0, 0, 1],
            &[0, 0, 1, 2],
            &[0, 0, 2, 0],
            &[0, 1, 0, 3],
            &[0, 3, 0, 0],
            &[1, 2, 3, 4],
            &[2, 0, 4, 0],
            &[3, 4, 0, 0],
            &[4, 0, 0, 0],
        ];
        assert_eq!(crops, expected);
        // Each has an expected count of 1000 with a deviation of 30.
        assert!(seen.values().all(|count| count.abs_diff(1000) < 150), "{seen:?}");
    }
}
