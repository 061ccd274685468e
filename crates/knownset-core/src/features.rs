//! What a backbone said about n images.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

use crate::Preprocess;
use crate::prompts::{CLASSES, array_name};

/// Label of an image whose class is not one of the known ones.
pub const UNKNOWN_LABEL: i64 = -1;

/// A classifier's last layer: logits = `weight` · embedding + `bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// `[K, d]`.
    pub weight: Array2<f32>,
    /// `[K]`.
    pub bias: Array1<f32>,
}

/// Where features came from. Detectors refuse features of another origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the backbone in the registry.
    pub backbone: String,
    /// SHA-256 over the weights' names, shapes and values; the same for a `.pth` and its `.safetensors` twin; with a
    /// head on the patches, over the digests of both.
    pub weights_sha256: String,
    /// How images were turned into inputs.
    pub preprocess: Preprocess,
    /// Where the weights lay, as the user gave it; a hint for later commands, never compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Where the weights of a head on its patches lay, if it has one; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// The first field in which two origins differ.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{field} differs: fitted on {fitted}, given {given}")]
pub struct OriginMismatch {
    /// Which field.
    pub field: &'static str,
    /// Its value when the detector was fitted.
    pub fitted: String,
    /// Its value in the features to score.
    pub given: String,
}

impl Origin {
    /// Whether `given` came out of the same network fed the same way.
    pub fn check_same(&self, given: &Self) -> Result<(), OriginMismatch> {
        let preprocess = |origin: &Self| serde_json::to_string(&origin.preprocess).unwrap_or_default();
        let pairs = [
            ("backbone", self.backbone.clone(), given.backbone.clone()),
            ("weights", self.weights_sha256.clone(), given.weights_sha256.clone()),
            ("preprocessing", preprocess(self), preprocess(given)),
        ];
        match pairs.into_iter().find(|(_, fitted, given)| fitted != given) {
            Some((field, fitted, given)) => Err(OriginMismatch { field, fitted, given }),
            None => Ok(()),
        }
    }
}

/// Everything a backbone said about n images: computed once, cached, shared by all detectors.
///
/// Arrays that are present agree in n, and `head` agrees with `logits` and `embedding`: [`Features::check`].
/// Features without images are legal where `prompts` give the known set in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// One stable id per image, such as its path in the dataset; empty when the source had none.
    pub ids: Vec<String>,
    /// `[n]` class index, [`UNKNOWN_LABEL`] for an image of no known class.
    pub labels: Option<Array1<i64>>,
    /// `[n, K]` classifier outputs before the softmax.
    pub logits: Option<Array2<f32>>,
    /// `[n, d]` penultimate features.
    pub embedding: Option<Array2<f32>>,
    /// `[n, P, d]` features of the P patches of each image, projected into the space of `embedding`.
    pub patches: Option<Array3<f32>>,
    /// The last layer that turns `embedding` into `logits`.
    pub head: Option<Head>,
    /// What a text tower said about the known set, by name (see [`crate::prompts`]): `[rows, d]` each, in the space
    /// of `embedding`.
    pub prompts: BTreeMap<String, Array2<f32>>,
    /// What a recipe trained beside the head, by name (see [`crate::parts`]): constants of the network, as the head is.
    pub parts: BTreeMap<String, Array2<f32>>,
    /// `[n, 4, 4]` logits of a rotation head for the image turned by 0, 90, 180 and 270 degrees counter-clockwise.
    pub rotations: Option<Array3<f32>>,
    /// Names of the K classes, in the order of the logits.
    pub class_names: Option<Vec<String>>,
    /// The network that made them.
    pub origin: Option<Origin>,
    /// The dataset reference they were extracted from.
    pub source: Option<String>,
}

/// Features that contradict themselves.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeaturesError {
    /// Two arrays disagree in one dimension.
    #[error("{left} has shape {left_shape:?} but {right} has shape {right_shape:?}")]
    Shape {
        /// First array.
        left: String,
        /// Its shape.
        left_shape: Vec<usize>,
        /// Second array.
        right: String,
        /// Its shape.
        right_shape: Vec<usize>,
    },
    /// A NaN or an infinity.
    #[error("{array} holds {value} in row {row}{}, column {column}", id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default())]
    NotFinite {
        /// Which array.
        array: String,
        /// The value found.
        value: f32,
        /// Its row.
        row: usize,
        /// Its column, counted through all patches or turns of an image.
        column: usize,
        /// The id of that row, when there are ids.
        id: Option<String>,
    },
    /// Rotation logits that are not four for each of four turns.
    #[error("rotations has shape {shape:?}, expected [n, 4, 4]: four logits for each of four turns")]
    Rotations {
        /// The shape found.
        shape: Vec<usize>,
    },
    /// A label outside −1…K−1.
    #[error("label {label} in row {row} is outside -1..{classes}")]
    Label {
        /// The label.
        label: i64,
        /// Its row.
        row: usize,
        /// Number of classes.
        classes: usize,
    },
    /// Text features without a direction.
    #[error("{array} has a row of zeros, row {row}, which has no direction")]
    ZeroRow {
        /// Which array.
        array: String,
        /// Its row.
        row: usize,
    },
    /// Neither logits nor an embedding nor text features.
    #[error("there is neither `logits` nor `embedding` nor `prompts`")]
    Nothing,
}

impl Features {
    /// Number of images.
    pub fn len(&self) -> usize {
        let arrays = self.logits.as_ref().map(Array2::nrows).or(self.embedding.as_ref().map(Array2::nrows));
        let arrays = arrays.or(self.patches.as_ref().map(|patches| patches.len_of(Axis(0))));
        arrays.or(self.labels.as_ref().map(Array1::len)).unwrap_or(self.ids.len())
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of a row: its name, or its number where the source had no names.
    pub fn id(&self, row: usize) -> String {
        self.ids.get(row).cloned().unwrap_or_else(|| row.to_string())
    }

    /// Number of classes K, from the logits, the head, the class prompts or the largest label.
    pub fn classes(&self) -> usize {
        let stated = self.logits.as_ref().map(Array2::ncols).or(self.head.as_ref().map(|head| head.bias.len()));
        let stated = stated.or(self.prompted_classes());
        stated.unwrap_or_else(|| {
            let largest = self.labels.as_ref().and_then(|labels| labels.iter().copied().max()).unwrap_or(-1);
            usize::try_from(largest + 1).unwrap_or(0)
        })
    }

    /// Checks that shapes agree, labels are in range and every number is finite.
    pub fn check(&self) -> Result<(), FeaturesError> {
        if self.logits.is_none() && self.embedding.is_none() && self.prompts.is_empty() {
            return Err(FeaturesError::Nothing);
        }
        let logits = self.logits.as_ref().map(|a| shaped("logits", a.shape()));
        let embedding = self.embedding.as_ref().map(|a| shaped("embedding", a.shape()));
        let patches = self.patches.as_ref().map(|a| shaped("patches", a.shape()));
        let rotations = self.rotations.as_ref().map(|a| shaped("rotations", a.shape()));
        let labels = self.labels.as_ref().map(|a| shaped("labels", a.shape()));
        let ids = (!self.ids.is_empty()).then(|| shaped("ids", &[self.ids.len()]));
        let rows: Vec<_> = [&logits, &embedding, &patches, &rotations, &labels, &ids].into_iter().flatten().collect();
        for pair in rows.windows(2) {
            agree(pair[0], 0, pair[1], 0)?;
        }
        if let Some(head) = &self.head {
            let weight = shaped("head.weight", head.weight.shape());
            agree(&weight, 0, &shaped("head.bias", head.bias.shape()), 0)?;
            if let Some(logits) = &logits {
                agree(&weight, 0, logits, 1)?;
            }
            if let Some(embedding) = &embedding {
                agree(&weight, 1, embedding, 1)?;
            }
            finite_rows("head.weight", head.weight.view(), &[])?;
            finite_rows("head.bias", head.bias.view().insert_axis(Axis(0)), &[])?;
        }
        self.check_spaces(logits.as_ref(), embedding.as_ref(), patches.as_ref())?;
        self.check_parts()?;
        if let Some(names) = &self.class_names {
            agree(&shaped("class names", &[names.len()]), 0, &shaped("classes", &[self.classes()]), 0)?;
        }
        for (name, array) in [("logits", &self.logits), ("embedding", &self.embedding)] {
            if let Some(array) = array {
                finite_rows(name, array.view(), &self.ids)?;
            }
        }
        let classes = self.classes();
        for (row, &label) in self.labels.iter().flatten().enumerate() {
            if label < UNKNOWN_LABEL || label >= classes as i64 {
                return Err(FeaturesError::Label { label, row, classes });
            }
        }
        Ok(())
    }

    /// That images, patches and words lie in one space, every number finite, and that the words agree on K.
    fn check_spaces(
        &self,
        logits: Option<&Shaped>,
        embedding: Option<&Shaped>,
        patches: Option<&Shaped>,
    ) -> Result<(), FeaturesError> {
        let prompts: Vec<Shaped> = self.prompts.iter().map(|(name, a)| shaped(array_name(name), a.shape())).collect();
        let classes = self.prompts.get(CLASSES).map(|a| shaped(array_name(CLASSES), a.shape()));
        let images = [embedding.map(|a| (a, 1)), patches.map(|a| (a, 2))];
        let words = classes.iter().chain(&prompts).map(|a| (a, 1));
        let spaces: Vec<(&Shaped, usize)> = images.into_iter().flatten().chain(words).collect();
        if let Some((first, rest)) = spaces.split_first() {
            rest.iter().try_for_each(|space| agree(first.0, first.1, space.0, space.1))?;
        }
        if let Some(classes) = &classes {
            logits.map_or(Ok(()), |logits| agree(logits, 1, classes, 0))?;
            let head = self.head.as_ref().map(|head| shaped("head.weight", head.weight.shape()));
            head.map_or(Ok(()), |head| agree(&head, 0, classes, 0))?;
        }
        self.check_prompt_rows()?;
        if let Some(array) = &self.patches {
            finite("patches", array.view(), &self.ids)?;
        }
        self.prompts.iter().try_for_each(|(name, array)| finite_rows(&array_name(name), array.view(), &[]))
    }

    /// The rows named, in that order; head, words, parts, names and origin are kept.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            ids: if self.ids.is_empty() { Vec::new() } else { rows.iter().map(|&row| self.ids[row].clone()).collect() },
            labels: self.labels.as_ref().map(|labels| labels.select(Axis(0), rows)),
            logits: self.logits.as_ref().map(|logits| logits.select(Axis(0), rows)),
            embedding: self.embedding.as_ref().map(|embedding| embedding.select(Axis(0), rows)),
            patches: self.patches.as_ref().map(|patches| patches.select(Axis(0), rows)),
            rotations: self.rotations.as_ref().map(|rotations| rotations.select(Axis(0), rows)),
            ..self.without_rows()
        }
    }

    /// Head, words, parts, names, origin and source alone.
    fn without_rows(&self) -> Self {
        Self {
            head: self.head.clone(),
            prompts: self.prompts.clone(),
            parts: self.parts.clone(),
            class_names: self.class_names.clone(),
            origin: self.origin.clone(),
            source: self.source.clone(),
            ..Self::default()
        }
    }

    /// The predicted class of each row: the largest logit, the first of equals.
    pub fn predictions(&self) -> Option<Vec<usize>> {
        let logits = self.logits.as_ref()?;
        Some(logits.outer_iter().map(|row| argmax(row.iter().copied())).collect())
    }

    /// Share of rows with a known label whose prediction is that label; `None` without logits or labels.
    pub fn accuracy(&self) -> Option<f64> {
        let labels = self.labels.as_ref()?;
        let predictions = self.predictions()?;
        let known = labels.iter().zip(&predictions).filter(|(label, _)| **label >= 0);
        let (n, right) = known.fold((0_u64, 0_u64), |(n, right), (&label, &prediction)| {
            (n + 1, right + u64::from(label == prediction as i64))
        });
        (n > 0).then(|| right as f64 / n as f64)
    }
}

/// Index of the largest value, the first of equals; 0 for an empty row.
pub(crate) fn argmax(values: impl Iterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

type Shaped = (String, Vec<usize>);

fn shaped(name: impl Into<String>, shape: &[usize]) -> Shaped {
    (name.into(), shape.to_vec())
}

fn agree(left: &Shaped, left_axis: usize, right: &Shaped, right_axis: usize) -> Result<(), FeaturesError> {
    if left.1.get(left_axis) == right.1.get(right_axis) {
        return Ok(());
    }
    Err(FeaturesError::Shape {
        left: left.0.clone(),
        left_shape: left.1.clone(),
        right: right.0.clone(),
        right_shape: right.1.clone(),
    })
}

/// [`finite`], of a matrix.
pub(crate) fn finite_rows(array: &str, values: ArrayView2<'_, f32>, ids: &[String]) -> Result<(), FeaturesError> {
    finite(array, values.insert_axis(Axis(1)), ids)
}

/// That every number is finite; the error counts columns through all of a row.
pub(crate) fn finite(array: &str, values: ArrayView3<'_, f32>, ids: &[String]) -> Result<(), FeaturesError> {
    match values.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, block, d), &value)) => {
            let column = block * values.len_of(Axis(2)) + d;
            Err(FeaturesError::NotFinite { array: array.into(), value, row, column, id: ids.get(row).cloned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn two_rows() -> Features {
        Features {
            ids: vec!["a".into(), "b".into()],
            labels: Some(array![0, 1]),
            logits: Some(array![[2.0, 1.0], [3.0, 3.0]]),
            embedding: Some(array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
            head: Some(Head { weight: Array2::zeros((2, 3)), bias: Array1::zeros(2) }),
            ..Features::default()
        }
    }

    #[test]
    fn accuracy_takes_the_first_of_equal_logits_and_skips_unknown_labels() {
        let mut features = two_rows();
        assert_eq!(features.accuracy(), Some(0.5));
        features.labels = Some(array![0, UNKNOWN_LABEL]);
        assert_eq!(features.accuracy(), Some(1.0));
    }

    #[test]
    fn a_mismatch_names_both_shapes() {
        let mut features = two_rows();
        features.head = Some(Head { weight: Array2::zeros((2, 4)), bias: Array1::zeros(2) });
        let error = features.check().unwrap_err().to_string();
        assert_eq!(error, "head.weight has shape [2, 4] but embedding has shape [2, 3]");
    }

    #[test]
    fn a_nan_is_refused_with_its_place() {
        let mut features = two_rows();
        features.embedding = Some(array![[1.0, 0.0, 0.0], [0.0, f32::NAN, 0.0]]);
        let error = features.check().unwrap_err().to_string();
        assert_eq!(error, "embedding holds NaN in row 1 (b), column 1");
    }

    #[test]
    fn a_label_out_of_range_is_refused() {
        let mut features = two_rows();
        features.labels = Some(array![0, 2]);
        assert!(matches!(features.check(), Err(FeaturesError::Label { label: 2, row: 1, classes: 2 })));
    }
}
