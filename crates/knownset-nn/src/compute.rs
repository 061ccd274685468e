//! Where networks are trained: the CPU, or a GPU for which this program was built.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::precision::Precision;

/// A kind of device, and which one of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    kind: Kind,
    index: usize,
}

/// How a device is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    #[default]
    Cpu,
    Vulkan,
    Metal,
    Wgpu,
    Cuda,
}

/// Names, and whether this program was built with them.
const KINDS: [(&str, Kind, bool); 5] = [
    ("cpu", Kind::Cpu, true),
    ("vulkan", Kind::Vulkan, cfg!(feature = "vulkan")),
    ("metal", Kind::Metal, cfg!(feature = "metal")),
    ("wgpu", Kind::Wgpu, cfg!(feature = "wgpu")),
    ("cuda", Kind::Cuda, cfg!(feature = "cuda")),
];

/// A device that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComputeError {
    /// No such kind.
    #[error("there is no kind of device {name:?}; there are {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// What follows the colon is no number, or the CPU was numbered.
    #[error("{text:?} is no device; write {name}{}", if name == "cpu" { "" } else { " or, for the second one, NAME:1" })]
    Number {
        /// What was asked for.
        text: String,
        /// The kind in it.
        name: String,
    },
    /// Built without it.
    #[error("this program was built without {name}; build it with --features {name}")]
    NotBuilt {
        /// The kind.
        name: &'static str,
    },
    /// No such precision.
    #[error("there is no precision {name:?}; there are f32, f16, bf16")]
    UnknownPrecision {
        /// What was asked for.
        name: String,
    },
    /// A device that does not compute in it.
    #[error("this device does not compute in {precision}; use f32")]
    Precision {
        /// What was asked for.
        precision: Precision,
    },
    /// Fewer devices than that.
    #[error("there is no device {name}:{index}; {found} of this kind were found")]
    NotThere {
        /// The kind.
        name: &'static str,
        /// The number, from 0.
        index: usize,
        /// How many there are.
        found: usize,
    },
}

fn names() -> Vec<&'static str> {
    KINDS.map(|(name, ..)| name).to_vec()
}

impl Compute {
    fn name(self) -> &'static str {
        KINDS.into_iter().find(|&(_, kind, _)| kind == self.kind).map_or("cpu", |(name, ..)| name)
    }

    /// The device.
    ///
    /// # Errors
    /// A kind that this program was built without, or a device that is not there.
    pub fn device(self) -> Result<Device, ComputeError> {
        if self.kind == Kind::Cpu {
            return Ok(Device::flex());
        }
        let name = self.name();
        let found = found(self.kind).ok_or(ComputeError::NotBuilt { name })?;
        let count = found.len();
        let device = found.into_iter().nth(self.index);
        device.ok_or(ComputeError::NotThere { name, index: self.index, found: count })
    }
}

/// All devices of a kind; nothing if this program was built without it.
#[cfg(any(feature = "vulkan", feature = "metal", feature = "wgpu", feature = "cuda"))]
fn found(kind: Kind) -> Option<Vec<Device>> {
    use burn::tensor::DeviceType;
    let kind = match kind {
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => DeviceType::Vulkan,
        #[cfg(feature = "metal")]
        Kind::Metal => DeviceType::Metal,
        #[cfg(feature = "wgpu")]
        Kind::Wgpu => DeviceType::Wgpu,
        #[cfg(feature = "cuda")]
        Kind::Cuda => DeviceType::Cuda,
        _ => return None,
    };
    Some(Device::enumerate(kind).into_vec())
}

#[cfg(not(any(feature = "vulkan", feature = "metal", feature = "wgpu", feature = "cuda")))]
fn found(_: Kind) -> Option<Vec<Device>> {
    None
}

impl FromStr for Compute {
    type Err = ComputeError;

    fn from_str(text: &str) -> Result<Self, ComputeError> {
        let (name, number) = text.split_once(':').map_or((text, None), |(name, number)| (name, Some(number)));
        let known = KINDS.into_iter().find(|&(known, ..)| known == name);
        let (name, kind, built) = known.ok_or_else(|| ComputeError::Unknown { name: name.to_owned() })?;
        if !built {
            return Err(ComputeError::NotBuilt { name });
        }
        let wrong = || ComputeError::Number { text: text.to_owned(), name: name.to_owned() };
        let index = match number {
            None => 0,
            Some(_) if kind == Kind::Cpu => return Err(wrong()),
            Some(number) => number.parse().map_err(|_| wrong())?,
        };
        Ok(Self { kind, index })
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Cpu { f.write_str("cpu") } else { write!(f, "{}:{}", self.name(), self.index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        let cpu: Compute = "cpu".parse().unwrap();
        assert_eq!((cpu, cpu.to_string().as_str()), (Compute::default(), "cpu"));
        assert_eq!(cpu.device().unwrap(), Device::flex());
    }

    #[test]
    fn what_is_no_device_is_refused_by_name() {
        let refused = |text: &str| text.parse::<Compute>().unwrap_err().to_string();
        assert!(refused("tpu").contains("\"tpu\"") && refused("tpu").contains("vulkan"));
        assert!(refused("cpu:1").contains("write cpu"));
        for (name, _, built) in KINDS {
            if built && name != "cpu" {
                assert!(refused(&format!("{name}:x")).contains(name));
                let far = Compute { index: 4096, ..name.parse().unwrap() };
                assert!(matches!(far.device(), Err(ComputeError::NotThere { index: 4096, .. })));
            } else if !built {
                assert_eq!(refused(name), ComputeError::NotBuilt { name }.to_string());
            }
        }
    }
}
