//! What networks compute in.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device, FloatDType};

use crate::compute::ComputeError;

/// What a network computes in; its normalisations stay f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// IEEE's 16 bits: half the memory, numbers up to 65,504.
    F16,
    /// The upper 16 bits of an f32: half the memory, its range, 3 digits.
    Bf16,
}

const NAMES: [(&str, Precision); 3] = [("f32", Precision::F32), ("f16", Precision::F16), ("bf16", Precision::Bf16)];

impl Precision {
    /// The type of tensors.
    pub fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Itself, if a device computes in it.
    ///
    /// # Errors
    /// The device does not.
    pub fn on(self, device: &Device) -> Result<Self, ComputeError> {
        if device.supports_dtype(self.float()) { Ok(self) } else { Err(ComputeError::Precision { precision: self }) }
    }
}

impl FromStr for Precision {
    type Err = ComputeError;

    fn from_str(text: &str) -> Result<Self, ComputeError> {
        let known = NAMES.into_iter().find(|&(name, _)| name == text);
        known.map(|(_, precision)| precision).ok_or_else(|| ComputeError::UnknownPrecision { name: text.to_owned() })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.into_iter().find(|(_, precision)| precision == self).map_or("f32", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (name, precision) in NAMES {
            assert_eq!((name.parse(), precision.to_string().as_str()), (Ok(precision), name));
        }
        let refused = "f8".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(refused, "there is no precision \"f8\"; there are f32, f16, bf16");
    }
}
