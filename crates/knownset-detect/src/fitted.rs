//! A fitted detector: it checks what it is given, scores it, and is kept in one file.

use std::path::{Path, PathBuf};

use knownset_core::calibration::Calibration;
use knownset_core::state::{DetectorFile, DetectorFileError, DetectorHeader, StateError, VERSION};
use knownset_core::{Features, Origin, OriginMismatch};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use rayon::prelude::*;
use serde_json::Value;

use crate::input::{FitError, FitInput};
use crate::registry::{Chosen, SelectError, find};
use crate::spec::{Batch, Entry, Info, Scorer, Widths};

/// A detector that has seen the known set.
#[derive(Debug)]
pub struct Fitted {
    entry: &'static Entry,
    params: Value,
    scorer: Box<dyn Scorer>,
    widths: Widths,
    origin: Option<Origin>,
    class_names: Option<Vec<String>>,
    /// What its scores mean, once calibrated.
    pub calibration: Option<Calibration>,
}

/// Features that a detector cannot score.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// An array it reads is not there.
    #[error("{detector} reads `{array}`, which these features do not have")]
    Missing {
        /// The detector.
        detector: &'static str,
        /// The array.
        array: &'static str,
    },
    /// Another number of columns than it was fitted on.
    #[error("`{array}` has {given} columns, but {detector} was fitted on {fitted}")]
    Width {
        /// The detector.
        detector: &'static str,
        /// The array.
        array: &'static str,
        /// Columns it was fitted on.
        fitted: usize,
        /// Columns given.
        given: usize,
    },
    /// Two arrays that disagree in the number of rows.
    #[error("`logits` has {logits} rows but `embedding` has {embedding}")]
    Rows {
        /// Rows of the logits.
        logits: usize,
        /// Rows of the embedding.
        embedding: usize,
    },
    /// A NaN or an infinity.
    #[error("`{array}` holds {value} in row {row} ({id})")]
    NotFinite {
        /// The array.
        array: &'static str,
        /// The value found.
        value: f32,
        /// Its row.
        row: usize,
        /// The id of that row.
        id: String,
    },
    /// Finite features so extreme that the score is not a number.
    #[error("the {detector} score of row {row} ({id}) is {score}")]
    NotAScore {
        /// The detector.
        detector: &'static str,
        /// What came out.
        score: f64,
        /// The row.
        row: usize,
        /// Its id.
        id: String,
    },
    /// Features of another network, or of the same one fed differently.
    #[error("these features are not of the network that {detector} was fitted on")]
    Origin {
        /// The detector.
        detector: &'static str,
        /// The difference.
        source: OriginMismatch,
    },
}

/// A detector file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file as such.
    #[error(transparent)]
    File(#[from] DetectorFileError),
    /// A detector this program does not have, or parameters it refuses.
    #[error("{path}: not a detector this program knows")]
    Detector {
        /// The file.
        path: PathBuf,
        /// What is unknown.
        source: SelectError,
    },
    /// Arrays that are missing or do not fit.
    #[error("{path}: damaged detector state")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StateError,
    },
}

impl Fitted {
    /// Fits a detector on the known set.
    pub fn fit(chosen: &Chosen, input: &FitInput<'_>) -> Result<Self, FitError> {
        let (entry, train) = (chosen.entry(), input.train());
        let needs = entry.info.needs;
        let widths = Widths {
            logits: if needs.logits { input.logits()?.ncols() } else { 0 },
            embedding: if needs.embedding { input.embedding()?.ncols() } else { 0 },
        };
        Ok(Self {
            entry,
            params: chosen.params().clone(),
            scorer: chosen.spec().fit(input)?,
            widths,
            origin: train.origin.clone(),
            class_names: train.class_names.clone(),
            calibration: None,
        })
    }

    /// One score per row, **higher = more in-distribution**; every score is finite.
    ///
    /// # Errors
    /// If an array is missing, has another width than in training, or holds a NaN or an infinity; if the
    /// features state another origin than the training features (either may state none).
    pub fn score(&self, features: &Features) -> Result<Vec<f64>, ScoreError> {
        let detector = self.info().name;
        if let (Some(fitted), Some(given)) = (&self.origin, &features.origin) {
            fitted.check_same(given).map_err(|source| ScoreError::Origin { detector, source })?;
        }
        let logits = self.read("logits", features.logits.as_ref(), self.widths.logits, features)?;
        let embedding = self.read("embedding", features.embedding.as_ref(), self.widths.embedding, features)?;
        let needs = self.info().needs;
        if needs.logits && needs.embedding && logits.nrows() != embedding.nrows() {
            return Err(ScoreError::Rows { logits: logits.nrows(), embedding: embedding.nrows() });
        }
        let scores = self.scorer.score(&Batch { logits: logits.view(), embedding: embedding.view() });
        match scores.iter().position(|score| !score.is_finite()) {
            None => Ok(scores),
            Some(row) => Err(ScoreError::NotAScore { detector, score: scores[row], row, id: features.id(row) }),
        }
    }

    /// An array in standard layout, checked; without columns if the detector does not read it.
    fn read<'a>(
        &self,
        name: &'static str,
        array: Option<&'a Array2<f32>>,
        fitted: usize,
        features: &Features,
    ) -> Result<CowArray<'a, f32, Ix2>, ScoreError> {
        let detector = self.info().name;
        let read = if name == "logits" { self.info().needs.logits } else { self.info().needs.embedding };
        if !read {
            return Ok(CowArray::from(Array2::zeros((features.len(), 0))));
        }
        let array = array.ok_or(ScoreError::Missing { detector, array: name })?;
        if array.ncols() != fitted {
            return Err(ScoreError::Width { detector, array: name, fitted, given: array.ncols() });
        }
        let bad = |value: &&f32| !value.is_finite();
        let spoilt = |row: &usize| array.row(*row).iter().any(|value| bad(&value));
        if let Some(row) = (0..array.nrows()).into_par_iter().find_first(spoilt) {
            let value = array.row(row).iter().copied().find(|value| bad(&value)).unwrap_or(f32::NAN);
            return Err(ScoreError::NotFinite { array: name, value, row, id: features.id(row) });
        }
        Ok(standard(array.view()))
    }

    /// Writes the detector file; the same detector gives the same bytes.
    pub fn save(&self, path: &Path) -> Result<(), DetectorFileError> {
        let needs = self.info().needs;
        let header = DetectorHeader {
            version: VERSION,
            detector: self.info().name.into(),
            params: self.params.clone(),
            logits: needs.logits.then_some(self.widths.logits),
            embedding: needs.embedding.then_some(self.widths.embedding),
            origin: self.origin.clone(),
            class_names: self.class_names.clone(),
            alpha: self.calibration.as_ref().map(Calibration::alpha),
        };
        DetectorFile { header, state: self.scorer.state(), calibration: self.calibration.clone() }.write(path)
    }

    /// Reads a detector file; the detector scores with the same bits as the one that was saved.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let DetectorFile { header, state, calibration } = DetectorFile::read(path)?;
        let chosen = find(&header.detector)
            .and_then(|entry| Chosen::new(entry, &header.params))
            .map_err(|source| LoadError::Detector { path: path.into(), source })?;
        let entry = chosen.entry();
        let bad = |source| LoadError::State { path: path.into(), source };
        let width = |needed: bool, stated: Option<usize>, name: &str| match (needed, stated) {
            (false, _) => Ok(0),
            (true, Some(width)) => Ok(width),
            (true, None) => Err(bad(StateError::Missing(format!("width of the {name}")))),
        };
        let widths = Widths {
            logits: width(entry.info.needs.logits, header.logits, "logits")?,
            embedding: width(entry.info.needs.embedding, header.embedding, "embedding")?,
        };
        Ok(Self {
            entry,
            scorer: chosen.spec().load(&state, widths).map_err(bad)?,
            params: header.params,
            widths,
            origin: header.origin,
            class_names: header.class_names,
            calibration,
        })
    }

    /// The detector's description.
    pub fn info(&self) -> &'static Info {
        &self.entry.info
    }

    /// Every parameter it was fitted with.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// The widths it was fitted on.
    pub fn widths(&self) -> Widths {
        self.widths
    }

    /// The network whose features it was fitted on, where they stated it.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// Names of the known classes, where they were known.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }
}

fn standard(array: ArrayView2<'_, f32>) -> CowArray<'_, f32, Ix2> {
    if array.is_standard_layout() {
        CowArray::from(array)
    } else {
        CowArray::from(array.as_standard_layout().into_owned())
    }
}
