//! The picture without colour, some of the time: torchvision's `RandomGrayscale`.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::operations::luminance;
use super::picture::Picture;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Grey {
    p: f64,
}

impl Default for Grey {
    fn default() -> Self {
        Self { p: 0.2 }
    }
}

impl Effect for Grey {
    fn check(&self) -> Result<(), ParamError> {
        require((0.0..=1.0).contains(&self.p), "p", self.p, "from 0 to 1")
    }

    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        if rng.random_bool(self.p) { picture.map_colours(|colour| [luminance(colour); 3]) } else { picture }
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "grey",
    doc: "the picture without colour, some of the time",
    paper: "https://arxiv.org/abs/2002.05709",
    params: &[("p", "how often, from 0 to 1; 0.2 in the paper")],
    read: read::<Grey>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn never_always_and_a_fifth_of_the_time() {
        let picture = Picture::from_fn(1, |channel, _, _| [1.0, 0.5, 0.0][channel]);
        let grey = |p, image| Grey { p }.apply(picture.clone(), &mut stream(0, 0, image));
        let changed = |p| (0..1000).filter(|&image| grey(p, image) != picture).count();
        assert_eq!((changed(0.0), changed(1.0)), (0, 1000));
        // 200 expected, with a deviation of 13.
        assert!(changed(0.2).abs_diff(200) < 60);
        // 0.299 + 0.587 / 2.
        assert_eq!(grey(1.0, 0).values, [0.5925; 3]);
    }
}
