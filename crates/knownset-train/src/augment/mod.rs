//! Random changes to training pictures, as data: a list such as `crop:pad=4,flip,rand-augment:n=1:m=14`.
//!
//! A picture is `[3, side, side]` in 0..1, not normalised; what comes in from beyond its edges is black, 0. Numbers stay
//! numbers: but for operations on levels, nothing is rounded to 8 bits, as the published augmentations of 8-bit images do.

mod aug_mix;
mod change;
mod colour_jitter;
mod crop;
mod cutout;
mod flip;
mod fractal;
mod grey;
mod operations;
mod picture;
mod pix_mix;
mod rand_augment;
mod resample;
mod resized_crop;

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use change::{AugmentError, Change, ChangeEntry};
use picture::Picture;

/// Every change.
pub static CHANGES: &[&ChangeEntry] = &[
    &crop::ENTRY,
    &flip::ENTRY,
    &resized_crop::ENTRY,
    &resample::ENTRY,
    &colour_jitter::ENTRY,
    &grey::ENTRY,
    &cutout::ENTRY,
    &rand_augment::ENTRY,
    &aug_mix::ENTRY,
    &pix_mix::ENTRY,
];

/// How the text of no change at all reads.
const NONE: &str = "none";

/// Changes to a training picture, one after the other; by default none.
///
/// Read from and shown as a comma-separated list, each change `name` or `name:key=value:key=value`; `none` is the empty
/// list. Shown are all parameters, so that the text means the same when a default changes.
///
/// ```
/// let augment: knownset_train::Augment = "crop,flip,cutout:size=8".parse()?;
/// assert_eq!(augment.to_string(), "crop,flip,cutout:holes=1:size=8");
/// let error = "crop,flop".parse::<knownset_train::Augment>().unwrap_err();
/// assert_eq!(error.to_string(), "there is no augmentation `flop`; the nearest is `flip`");
/// # Ok::<(), knownset_train::AugmentError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Augment(Vec<Change>);

impl Augment {
    /// A crop from the picture with `pad` black pixels around it, at most 1024.
    pub fn crop(pad: usize) -> Self {
        Self(vec![crop::with(pad)])
    }

    /// The same crop, mirrored half of the time: the usual augmentation of small images.
    pub fn crop_and_flip(pad: usize) -> Self {
        Self(vec![crop::with(pad), flip::plain()])
    }

    /// These changes, then those of `next`.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        Self(self.0.iter().chain(&next.0).cloned().collect())
    }

    /// The changes in their order.
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// The changed `picture` `[3, side, side]`; values stay in 0..1. `rng` alone decides what is random.
    ///
    /// # Panics
    /// When `picture` does not have that shape, or `side` is 0.
    pub fn apply(&self, picture: Vec<f32>, side: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        assert!(side > 0 && picture.len() == 3 * side * side, "the picture is [3, side, side]");
        let picture = Picture { side, values: picture };
        self.0.iter().fold(picture, |picture, change| change.apply(picture, rng)).values
    }
}

impl FromStr for Augment {
    type Err = AugmentError;

    fn from_str(text: &str) -> Result<Self, AugmentError> {
        if text.trim() == NONE {
            return Ok(Self::default());
        }
        text.split(',').map(|change| change.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        self.0.iter().enumerate().try_for_each(|(at, change)| {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{change}")
        })
    }
}

impl TryFrom<String> for Augment {
    type Error = AugmentError;

    fn try_from(text: String) -> Result<Self, AugmentError> {
        text.parse()
    }
}

impl From<Augment> for String {
    fn from(augment: Augment) -> Self {
        augment.to_string()
    }
}

/// The random numbers of one image in one epoch; other images and epochs have streams of their own.
pub(crate) fn stream(seed: u64, epoch: usize, image: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.set_stream(image as u64 + 1);
    rng
}

#[cfg(test)]
mod tests;
