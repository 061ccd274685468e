//! Common corruptions: the 19 of ImageNet-C, at five severities, for images of any size.
//!
//! Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019
//! (<https://arxiv.org/abs/1903.12261>). Formulas and parameters are those of the scripts that made the published sets
//! (github.com/hendrycks/robustness, `ImageNet-C/create_c`); each file here states where it differs. Like those scripts,
//! results are cut, not rounded, to 8 bits.
//!
//! **Parameters.** Three sets were published: CIFAR-10-C (32 px), Tiny-ImageNet-C (64 px) and ImageNet-C (224 px). An
//! image gets the set whose side is nearest to its shorter side in ratio: CIFAR's up to 45 px, Tiny ImageNet's up to
//! 119 px, ImageNet's above. Lengths in pixels are used as published, whatever the size within a set.
//!
//! **Randomness.** A result is a pure function of ([`CORRUPTIONS_VERSION`], kind, severity, seed, image), the same on
//! every machine: own streams of ChaCha8, `libm` for transcendental functions.
//!
//! ```
//! use knownset_data::corruptions::{self, Severity};
//!
//! let image = image::RgbImage::from_pixel(32, 32, image::Rgb([100, 150, 200]));
//! let fog = corruptions::find("fog")?;
//! let foggy = fog.apply(&image, Severity::new(3)?, 0);
//! assert_eq!(foggy.dimensions(), (32, 32));
//! # Ok::<(), corruptions::CorruptionError>(())
//! ```

mod colour;
mod contrast;
mod corrupted;
mod cosine;
mod defocus;
mod draws;
mod elastic;
mod fog;
mod frost;
mod gaussian;
mod glass;
mod jpeg;
mod level;
mod liquid;
mod motion;
mod noise;
mod pixelate;
mod plane;
mod snow;
mod spatter;
mod zoom;

use std::fmt;

use image::RgbImage;

pub use corrupted::Corrupted;
pub(crate) use corrupted::reference;
pub use level::Severity;

use draws::Draws;
use level::Level;

/// Goes up whenever any corrupted image changes.
pub const CORRUPTIONS_VERSION: u32 = 1;

/// Every corruption, group by group.
pub static CORRUPTIONS: &[&Corruption] = &[
    &noise::GAUSSIAN,
    &noise::SHOT,
    &noise::IMPULSE,
    &noise::SPECKLE,
    &defocus::ENTRY,
    &glass::ENTRY,
    &motion::ENTRY,
    &zoom::ENTRY,
    &gaussian::ENTRY,
    &snow::ENTRY,
    &frost::ENTRY,
    &fog::ENTRY,
    &colour::BRIGHTNESS,
    &spatter::ENTRY,
    &contrast::ENTRY,
    &elastic::ENTRY,
    &pixelate::ENTRY,
    &jpeg::ENTRY,
    &colour::SATURATE,
];

/// One kind of corruption.
pub struct Corruption {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it imitates.
    pub group: Group,
    /// Whether ImageNet-C keeps it for validation: its mean corruption error is over the fifteen others.
    pub validation: bool,
    /// One line of documentation.
    pub doc: &'static str,
    render: fn(&RgbImage, Level, &mut Draws) -> RgbImage,
}

impl Corruption {
    /// The corrupted image, of the same size. `seed` matters to the kinds that draw random numbers.
    ///
    /// Time grows with the number of pixels; of `elastic-transform`, with that times the longer side.
    ///
    /// # Panics
    /// When the image has no pixels.
    pub fn apply(&self, image: &RgbImage, severity: Severity, seed: u64) -> RgbImage {
        assert!(image.width() > 0 && image.height() > 0, "the image has no pixels");
        (self.render)(image, Level::of(image, severity), &mut Draws::new(self.name, severity, seed))
    }
}

impl fmt::Debug for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Corruption({})", self.name)
    }
}

/// Names are unique.
impl PartialEq for Corruption {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Corruption {}

/// What a corruption imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// A sensor's noise.
    Noise,
    /// A lens out of focus, or a camera that moves.
    Blur,
    /// The weather.
    Weather,
    /// Processing after the picture was taken.
    Digital,
}

impl Group {
    /// `noise`, `blur`, `weather` or `digital`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Weather => "weather",
            Self::Digital => "digital",
        }
    }
}

/// A corruption or severity that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionError {
    /// No corruption of that name.
    #[error("unknown corruption `{name}`; the nearest is `{nearest}`")]
    Unknown {
        /// The name given.
        name: String,
        /// The most similar name there is.
        nearest: &'static str,
    },
    /// Not one of the five.
    #[error("severity `{given}` is not a whole number from 1 to 5")]
    Severity {
        /// What was given.
        given: String,
    },
}

/// The corruption of that name.
pub fn find(name: &str) -> Result<&'static Corruption, CorruptionError> {
    CORRUPTIONS.iter().find(|entry| entry.name == name).copied().ok_or_else(|| {
        let distance = |entry: &&&Corruption| strsim::damerau_levenshtein(entry.name, name);
        let nearest = CORRUPTIONS.iter().min_by_key(distance).map_or("", |entry| entry.name);
        CorruptionError::Unknown { name: name.to_owned(), nearest }
    })
}
