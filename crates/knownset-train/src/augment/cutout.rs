//! Cutout: squares of the picture are blotted out (DeVries and Taylor 2017).
//!
//! The centre of a square is any pixel, so that squares may reach beyond the picture, as in the paper. Deviation: a
//! square is black; the paper blots out after normalisation, to the mean colour of the training set.

use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::change::{ChangeEntry, Effect, read};
use super::picture::Picture;

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cutout {
    holes: usize,
    size: usize,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { holes: 1, size: 16 }
    }
}

impl Effect for Cutout {
    fn check(&self) -> Result<(), ParamError> {
        require((1..=64).contains(&self.holes), "holes", self.holes as f64, "from 1 to 64")?;
        require((1..=1024).contains(&self.size), "size", self.size as f64, "from 1 to 1024")
    }

    fn apply(&self, mut picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        let side = picture.side;
        for _ in 0..self.holes {
            let [rows, columns] = [(); 2].map(|()| {
                let centre = rng.random_range(0..side);
                centre.saturating_sub(self.size / 2)..(centre + self.size.div_ceil(2)).min(side)
            });
            for plane in picture.values.chunks_mut(side * side) {
                for row in plane.chunks_mut(side).take(rows.end).skip(rows.start) {
                    row[columns.clone()].fill(0.0);
                }
            }
        }
        picture
    }
}

pub(super) static ENTRY: ChangeEntry = ChangeEntry {
    name: "cutout",
    doc: "black squares at random places",
    paper: "https://arxiv.org/abs/1708.04552",
    params: &[
        ("holes", "number of squares, from 1 to 64"),
        ("size", "their side in pixels, from 1 to 1024; 16 of 32 in the paper for CIFAR-10"),
    ],
    read: read::<Cutout>,
};

#[cfg(test)]
mod tests {
    use super::super::stream;
    use super::*;

    #[test]
    fn a_square_within_the_picture_and_one_at_its_corner() {
        let white = || Picture::from_fn(8, |_, _, _| 1.0);
        let sizes: std::collections::BTreeSet<usize> = (0..1000)
            .map(|image| {
                let cut = Cutout { holes: 1, size: 4 }.apply(white(), &mut stream(0, 0, image));
                let black: Vec<usize> = (0..64).filter(|&at| cut.values[at] == 0.0).collect();
                let (xs, ys) = (black.iter().map(|at| at % 8), black.iter().map(|at| at / 8));
                let width = xs.clone().max().unwrap() + 1 - xs.min().unwrap();
                let height = ys.clone().max().unwrap() + 1 - ys.min().unwrap();
                assert_eq!(width * height, black.len(), "a rectangle");
                assert!(black.iter().all(|at| cut.values[64 + at] + cut.values[128 + at] == 0.0), "of all channels");
                black.len()
            })
            .collect();
        // A side is 4 where it fits; with its centre at 0, 1 or 7 it loses 2, 1 or 1.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [4, 6, 8, 9, 12, 16]);
    }

    #[test]
    fn a_hole_larger_than_the_picture_leaves_nothing() {
        let white = Picture::from_fn(3, |_, _, _| 1.0);
        assert_eq!(Cutout { holes: 2, size: 64 }.apply(white, &mut stream(0, 0, 0)).values, [0.0; 27]);
    }
}
