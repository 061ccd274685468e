//! What a fitted detector knows, as one portable `.safetensors` file: named arrays and a versioned JSON header.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array1, Dimension};
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::features::Origin;
use crate::tensor_file::{Tensor, TensorFile, TensorFileError};

/// The newest layout of the header; files of a newer one are refused.
pub const VERSION: u32 = 1;
/// The header key under which it is stored.
const KEY: &str = "knownset-detector";
/// Prefix of the detector's own arrays, and the name of the calibration scores.
const STATE: &str = "state.";
const CALIBRATION: &str = "calibration.scores";

/// The arrays a fitted detector is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State(BTreeMap<String, Tensor>);

/// An array that is not in the state, or not as expected.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is no array of that name.
    #[error("the array {0} is missing")]
    Missing(String),
    /// It has another element type or rank.
    #[error("the array {name} has the wrong type or rank, shape {shape:?}")]
    Kind {
        /// Its name.
        name: String,
        /// The shape found.
        shape: Vec<usize>,
    },
    /// Two arrays, or an array and a number, do not fit together.
    #[error("the array {name} has shape {shape:?} where {expected} was expected")]
    Shape {
        /// Its name.
        name: String,
        /// The shape found.
        shape: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// A NaN or infinity where a number was needed.
    #[error("the array {0} holds a value that is not finite")]
    NotFinite(String),
    /// A row of zeros where a direction was needed.
    #[error("the array {0} has a row of zeros")]
    ZeroRow(String),
}

impl State {
    /// No arrays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array; for building a state in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, tensor: impl Into<Tensor>) -> Self {
        self.0.insert(name.into(), tensor.into());
        self
    }

    /// Adds a single number.
    #[must_use]
    pub fn with_number(self, name: &str, value: f64) -> Self {
        self.with(name, Array1::from_elem(1, value))
    }

    /// An f64 array of the rank asked for, every value finite.
    pub fn f64<D: Dimension>(&self, name: &str) -> Result<Array<f64, D>, StateError> {
        let tensor = self.get(name)?;
        let Tensor::F64(array) = tensor else { return Err(kind(name, tensor)) };
        if array.iter().any(|value| !value.is_finite()) {
            return Err(StateError::NotFinite(name.into()));
        }
        array.clone().into_dimensionality().map_err(|_| kind(name, tensor))
    }

    /// An f32 array of the rank asked for, every value finite.
    pub fn f32<D: Dimension>(&self, name: &str) -> Result<Array<f32, D>, StateError> {
        let tensor = self.get(name)?;
        let Tensor::F32(array) = tensor else { return Err(kind(name, tensor)) };
        if array.iter().any(|value| !value.is_finite()) {
            return Err(StateError::NotFinite(name.into()));
        }
        array.clone().into_dimensionality().map_err(|_| kind(name, tensor))
    }

    /// A single number.
    pub fn number(&self, name: &str) -> Result<f64, StateError> {
        let array: Array1<f64> = self.f64(name)?;
        match array.as_slice() {
            Some([value]) => Ok(*value),
            _ => Err(StateError::Shape { name: name.into(), shape: array.shape().to_vec(), expected: "[1]".into() }),
        }
    }

    /// The arrays by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    fn get(&self, name: &str) -> Result<&Tensor, StateError> {
        self.0.get(name).ok_or_else(|| StateError::Missing(name.into()))
    }
}

fn kind(name: &str, tensor: &Tensor) -> StateError {
    StateError::Kind { name: name.into(), shape: tensor.shape().to_vec() }
}

/// Everything in a detector file but the arrays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorHeader {
    /// Layout of this header, [`VERSION`] when written.
    pub version: u32,
    /// Name of the detector in the registry.
    pub detector: String,
    /// Its parameters.
    pub params: serde_json::Value,
    /// Width of the logits it was fitted on, if it reads them.
    pub logits: Option<usize>,
    /// Width of the embedding it was fitted on, if it reads it.
    pub embedding: Option<usize>,
    /// The network it was fitted on; unknown for features that state none.
    pub origin: Option<Origin>,
    /// Names of the known classes, where they were known.
    pub class_names: Option<Vec<String>>,
    /// The false-alarm rate the threshold is for, once calibrated.
    pub alpha: Option<f64>,
}

/// A fitted detector as it lies on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorFile {
    /// What it is.
    pub header: DetectorHeader,
    /// What it learnt.
    pub state: State,
    /// What its scores mean, once calibrated.
    pub calibration: Option<Calibration>,
}

/// A detector file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorFileError {
    /// The file as such is unreadable.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// Some other safetensors file.
    #[error("{path}: not a detector file (no `{KEY}` in its header)")]
    NotADetector {
        /// The file.
        path: PathBuf,
    },
    /// A damaged header.
    #[error("{path}: bad detector header")]
    Header {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Written by a later release.
    #[error("{path}: detector file of version {found}, this program reads up to {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Calibration scores that are missing or unusable.
    #[error("{path}: bad calibration")]
    Calibration {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: crate::calibration::CalibrationError,
    },
}

impl DetectorFile {
    /// Reads a detector file.
    pub fn read(path: &Path) -> Result<Self, DetectorFileError> {
        let TensorFile { tensors, metadata } = TensorFile::read(path)?;
        let Some(text) = metadata.get(KEY) else {
            return Err(DetectorFileError::NotADetector { path: path.into() });
        };
        let bad = |source| DetectorFileError::Header { path: path.into(), source };
        let value: serde_json::Value = serde_json::from_str(text).map_err(bad)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(DetectorFileError::Version {
                path: path.into(),
                found: u32::try_from(version).unwrap_or(u32::MAX),
            });
        }
        let header: DetectorHeader = serde_json::from_value(value).map_err(bad)?;
        let mut state = State::new();
        let mut scores = Vec::new();
        for (name, tensor) in tensors {
            match (name.strip_prefix(STATE), &tensor) {
                (Some(own), _) => state = state.with(own, tensor),
                (None, Tensor::F64(array)) if name == CALIBRATION => scores = array.iter().copied().collect(),
                _ => {}
            }
        }
        let calibration = header.alpha.map(|alpha| Calibration::new(scores, alpha)).transpose();
        let calibration = calibration.map_err(|source| DetectorFileError::Calibration { path: path.into(), source })?;
        Ok(Self { header, state, calibration })
    }

    /// Writes a detector file; the same detector gives the same bytes.
    pub fn write(&self, path: &Path) -> Result<(), DetectorFileError> {
        let mut file = TensorFile::default();
        for (name, tensor) in self.state.iter() {
            file.tensors.insert(format!("{STATE}{name}"), tensor.clone());
        }
        if let Some(calibration) = &self.calibration {
            file.tensors.insert(CALIBRATION.into(), Array1::from(calibration.scores().to_vec()).into());
        }
        let header = serde_json::to_string(&self.header);
        let header = header.map_err(|source| DetectorFileError::Header { path: path.into(), source })?;
        file.metadata.insert(KEY.into(), header);
        Ok(file.write(path)?)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn detector() -> DetectorFile {
        DetectorFile {
            header: DetectorHeader {
                version: VERSION,
                detector: "mds".into(),
                params: serde_json::json!({"k": 1}),
                logits: None,
                embedding: Some(2),
                origin: None,
                class_names: Some(vec!["cat".into()]),
                alpha: Some(0.5),
            },
            state: State::new().with("mean", array![[1.0, 2.0]]).with_number("scale", 0.1),
            calibration: Some(Calibration::new(vec![3.0, 1.0, 2.0], 0.5).unwrap()),
        }
    }

    #[test]
    fn a_detector_file_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.safetensors");
        detector().write(&path).unwrap();
        let read = DetectorFile::read(&path).unwrap();
        assert_eq!(read, detector());
        assert_eq!(read.state.number("scale").unwrap(), 0.1);
        let wrong = read.state.f32::<ndarray::Ix2>("mean").unwrap_err();
        assert!(matches!(wrong, StateError::Kind { .. }), "{wrong}");
    }

    #[test]
    fn a_newer_version_and_a_foreign_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.safetensors");
        let mut newer = detector();
        newer.header.version = VERSION + 1;
        newer.write(&path).unwrap();
        assert!(matches!(DetectorFile::read(&path), Err(DetectorFileError::Version { found: 2, .. })));
        let mut foreign = TensorFile::default();
        foreign.tensors.insert("x".into(), Array2::<f32>::zeros((1, 1)).into());
        foreign.write(&path).unwrap();
        assert!(matches!(DetectorFile::read(&path), Err(DetectorFileError::NotADetector { .. })));
    }
}
