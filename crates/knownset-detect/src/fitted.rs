//! A fitted detector: it checks what it is given, scores it, and is kept in one file.

use std::path::{Path, PathBuf};

use knownset_core::calibration::Calibration;
use knownset_core::parts::TURNS;
use knownset_core::state::{DetectorFile, DetectorFileError, DetectorHeader, StateError, VERSION};
use knownset_core::{Features, Origin, OriginMismatch};
use ndarray::{Array, Array2, Array3, Axis, CowArray, Dimension, Ix2, Ix3, RemoveAxis};
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

/// What a detector reads of images: as [`Batch`], but perhaps owned.
#[derive(Debug)]
pub(crate) struct Arrays<'a> {
    pub(crate) logits: CowArray<'a, f32, Ix2>,
    pub(crate) embedding: CowArray<'a, f32, Ix2>,
    pub(crate) patches: CowArray<'a, f32, Ix3>,
    pub(crate) rotations: CowArray<'a, f32, Ix3>,
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
    /// Patches of another number of images.
    #[error("`patches` has {patches} rows but `embedding` has {embedding}")]
    PatchRows {
        /// Rows of the patches.
        patches: usize,
        /// Rows of the embedding.
        embedding: usize,
    },
    /// Rotations of another number of images.
    #[error("`rotations` has {rotations} rows but there are {rows} images")]
    RotationRows {
        /// Rows of the rotations.
        rotations: usize,
        /// Images.
        rows: usize,
    },
    /// Two sets of images that cannot be mixed into one stream.
    #[error("the images of one set have {one} patches each, those of the other {other}")]
    PatchCount {
        /// Patches of the in-distribution images.
        one: usize,
        /// Patches of the others.
        other: usize,
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
        if let (Some(recipe), Some(array)) = (needs.recipe, needs.absent(train)) {
            return Err(FitError::NotOfRecipe { array, recipe });
        }
        let widths = Widths {
            logits: if needs.logits { input.logits()?.ncols() } else { 0 },
            embedding: if !needs.embedding {
                0
            } else if needs.prompts.is_empty() {
                input.embedding()?.ncols()
            } else {
                input.prompt_width(needs.prompts)?
            },
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
    /// A detector that learns from the [test stream](crate::Information::TestStream) starts with an empty memory and
    /// takes the rows in their order; to compare two sets of images, use [`Fitted::score_against`].
    ///
    /// # Errors
    /// If an array is missing, has another width than in training, or holds a NaN or an infinity; if the
    /// features state another origin than the training features (either may state none).
    pub fn score(&self, features: &Features) -> Result<Vec<f64>, ScoreError> {
        self.score_arrays(&self.arrays(features)?, |row| features.id(row))
    }

    /// The arrays the detector reads, checked.
    pub(crate) fn arrays<'a>(&self, features: &'a Features) -> Result<Arrays<'a>, ScoreError> {
        let Info { name: detector, needs, .. } = *self.info();
        if let (Some(fitted), Some(given)) = (&self.origin, &features.origin) {
            fitted.check_same(given).map_err(|source| ScoreError::Origin { detector, source })?;
        }
        let (n, widths) = (features.len(), self.widths);
        let logits = if needs.logits {
            self.read("logits", features.logits.as_ref(), widths.logits, features)?
        } else {
            CowArray::from(Array2::zeros((n, 0)))
        };
        let embedding = if needs.embedding {
            self.read("embedding", features.embedding.as_ref(), widths.embedding, features)?
        } else {
            CowArray::from(Array2::zeros((n, 0)))
        };
        let patches = if needs.patches {
            let some = features.patches.as_ref().filter(|patches| patches.len_of(Axis(1)) > 0);
            self.read("patches", some, widths.embedding, features)?
        } else {
            CowArray::from(Array3::zeros((n, 0, 0)))
        };
        let rotations = if needs.rotations {
            let four = features.rotations.as_ref().filter(|rotations| rotations.len_of(Axis(1)) == TURNS);
            self.read("rotations", four, TURNS, features)?
        } else {
            CowArray::from(Array3::zeros((n, 0, 0)))
        };
        if needs.logits && needs.embedding && logits.nrows() != embedding.nrows() {
            return Err(ScoreError::Rows { logits: logits.nrows(), embedding: embedding.nrows() });
        }
        if needs.patches && patches.len_of(Axis(0)) != embedding.nrows() {
            return Err(ScoreError::PatchRows { patches: patches.len_of(Axis(0)), embedding: embedding.nrows() });
        }
        if needs.rotations && rotations.len_of(Axis(0)) != n {
            return Err(ScoreError::RotationRows { rotations: rotations.len_of(Axis(0)), rows: n });
        }
        Ok(Arrays { logits, embedding, patches, rotations })
    }

    /// Scores of checked arrays; `id` names a row in an error.
    pub(crate) fn score_arrays(
        &self,
        arrays: &Arrays<'_>,
        id: impl Fn(usize) -> String,
    ) -> Result<Vec<f64>, ScoreError> {
        let Arrays { logits, embedding, patches, rotations } = arrays;
        let scores = self.scorer.score(&Batch {
            logits: logits.view(),
            embedding: embedding.view(),
            patches: patches.view(),
            rotations: rotations.view(),
        });
        let detector = self.info().name;
        match scores.iter().position(|score| !score.is_finite()) {
            None => Ok(scores),
            Some(row) => Err(ScoreError::NotAScore { detector, score: scores[row], row, id: id(row) }),
        }
    }

    /// An array in standard layout, its last dimension and its numbers checked.
    fn read<'a, D: Dimension + RemoveAxis>(
        &self,
        name: &'static str,
        array: Option<&'a Array<f32, D>>,
        fitted: usize,
        features: &Features,
    ) -> Result<CowArray<'a, f32, D>, ScoreError> {
        let detector = self.info().name;
        let array = array.ok_or(ScoreError::Missing { detector, array: name })?;
        let given = array.shape().last().copied().unwrap_or_default();
        if given != fitted {
            return Err(ScoreError::Width { detector, array: name, fitted, given });
        }
        let bad = |row: usize| array.index_axis(Axis(0), row).iter().copied().find(|value| !value.is_finite());
        let rows = 0..array.len_of(Axis(0));
        if let Some((row, value)) = rows.into_par_iter().find_map_first(|row| Some((row, bad(row)?))) {
            return Err(ScoreError::NotFinite { array: name, value, row, id: features.id(row) });
        }
        Ok(array.as_standard_layout())
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
