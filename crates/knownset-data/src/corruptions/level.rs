//! How strong: a severity and the published parameters that go with it.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;

use super::CorruptionError;

/// From 1, the weakest, to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

impl Severity {
    /// All five, weakest first.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// Refuses anything but 1 to 5.
    pub fn new(severity: u8) -> Result<Self, CorruptionError> {
        match severity {
            1..=5 => Ok(Self(severity)),
            _ => Err(CorruptionError::Severity { given: severity.to_string() }),
        }
    }

    /// 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Severity {
    type Err = CorruptionError;

    fn from_str(text: &str) -> Result<Self, CorruptionError> {
        let severity = text.parse().ok().and_then(|severity| Self::new(severity).ok());
        severity.ok_or_else(|| CorruptionError::Severity { given: text.to_owned() })
    }
}

/// A severity, for images of one size.
#[derive(Clone, Copy)]
pub(super) struct Level {
    set: Set,
    severity: Severity,
}

/// The published set whose parameters are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Set {
    Cifar,
    TinyImageNet,
    ImageNet,
}

impl Level {
    pub(super) fn of(image: &RgbImage, severity: Severity) -> Self {
        // Between the sides of the sets, 32, 64 and 224, lie their geometric means: 45.3 and 119.7.
        let set = match image.width().min(image.height()) {
            0..=45 => Set::Cifar,
            46..=119 => Set::TinyImageNet,
            _ => Set::ImageNet,
        };
        Self { set, severity }
    }
}

/// The published parameters of one corruption, weakest first.
pub(super) struct Published<T> {
    /// CIFAR-10-C.
    pub(super) cifar: [T; 5],
    /// Tiny-ImageNet-C, and the same of ImageNet-64x64-C.
    pub(super) tiny: [T; 5],
    /// ImageNet-C.
    pub(super) imagenet: [T; 5],
}

impl<T: Copy> Published<T> {
    pub(super) fn at(&self, level: Level) -> T {
        let row = match level.set {
            Set::Cifar => &self.cifar,
            Set::TinyImageNet => &self.tiny,
            Set::ImageNet => &self.imagenet,
        };
        row[usize::from(level.severity.0 - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_one_to_five() {
        assert_eq!(Severity::ALL.map(Severity::get), [1, 2, 3, 4, 5]);
        assert_eq!("3".parse::<Severity>().unwrap(), Severity::ALL[2]);
        for text in ["0", "6", "", "-1", "300", "2.5", "x"] {
            let error = text.parse::<Severity>().unwrap_err();
            assert_eq!(error.to_string(), format!("severity `{text}` is not a whole number from 1 to 5"));
        }
        assert!(Severity::new(0).is_err() && Severity::new(6).is_err());
    }

    #[test]
    fn the_shorter_side_decides_the_set() {
        let set = |width, height| Level::of(&RgbImage::new(width, height), Severity(1)).set;
        assert_eq!(set(32, 32), Set::Cifar);
        assert_eq!(set(45, 500), Set::Cifar);
        assert_eq!(set(46, 500), Set::TinyImageNet);
        assert_eq!(set(500, 119), Set::TinyImageNet);
        assert_eq!(set(120, 120), Set::ImageNet);
        assert_eq!(set(224, 224), Set::ImageNet);
    }
}
