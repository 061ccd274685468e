//! What a text tower said about the known set: named arrays of text features.
//!
//! [`Features::prompts`] holds any name; the constants are those that detectors read.

use ndarray::{Array2, Axis};

use crate::features::{Features, FeaturesError};

/// `[K, d]`, one row a class: the mean over templates of unit text features.
pub const CLASSES: &str = "classes";
/// `[M, d]`: words that are unlike every class, as NegLabel mines them.
pub const NEGATIVES: &str = "negatives";
/// `[M, d]`: CSP's conjugated semantic pool, its nouns and its adjective-superclass pairs.
pub const CONJUGATED: &str = "conjugated";
/// `[A, d]`: CMA's neutral texts.
pub const AGENTS: &str = "agents";
/// `[L, d]`: names that a language model proposed for what is not known (EOE).
pub const OUTLIERS: &str = "outliers";
/// `[R * K, d]`: row r * K + k is class k in the r-th shuffled prompt (TAG).
pub const SHUFFLED: &str = "shuffled";
/// `[K, d]`: the "no" of every class, from CLIPN's second text encoder.
pub const DENIALS: &str = "denials";
/// `[R * K, d]`: row r * K + k is class k in the r-th negative prompt that was learned from images (NegPrompt, LSN).
pub const NEGATED: &str = "negated";
/// `[V, d]`: words an image may turn out to show (ZOC).
pub const CANDIDATES: &str = "candidates";

impl Features {
    /// The text features of that name with rows of length one, in f64; `None` if there are none.
    ///
    /// # Errors
    /// A row of zeros, which has no direction.
    pub fn unit_prompts(&self, name: &str) -> Result<Option<Array2<f64>>, FeaturesError> {
        let unit = |rows| unit_rows(rows).map_err(|row| FeaturesError::ZeroRow { array: array_name(name), row });
        self.prompts.get(name).map(unit).transpose()
    }

    /// Rows of the class prompts, K.
    pub(crate) fn prompted_classes(&self) -> Option<usize> {
        self.prompts.get(CLASSES).map(Array2::nrows)
    }

    /// That there are as many denials as classes, and a whole number of shuffled rounds and of negative prompts.
    pub(crate) fn check_prompt_rows(&self) -> Result<(), FeaturesError> {
        let Some(classes) = self.prompts.get(CLASSES) else { return Ok(()) };
        for (name, whole) in [(DENIALS, false), (SHUFFLED, true), (NEGATED, true)] {
            let Some(array) = self.prompts.get(name) else { continue };
            let (rows, k) = (array.nrows(), classes.nrows());
            let fits = if whole && k > 0 { rows.is_multiple_of(k) } else { rows == k };
            if !fits {
                return Err(FeaturesError::Shape {
                    left: array_name(name),
                    left_shape: array.shape().to_vec(),
                    right: array_name(CLASSES),
                    right_shape: classes.shape().to_vec(),
                });
            }
        }
        Ok(())
    }
}

/// What the array is called in files and messages.
pub(crate) fn array_name(name: &str) -> String {
    format!("prompts.{name}")
}

/// Rows divided by their length, in f64.
///
/// # Errors
/// The first row of zeros.
pub fn unit_rows(rows: &Array2<f32>) -> Result<Array2<f64>, usize> {
    let mut unit = rows.mapv(f64::from).as_standard_layout().into_owned();
    for (index, mut row) in unit.axis_iter_mut(Axis(0)).enumerate() {
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(index);
        }
        row /= length;
    }
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array3, array};

    use super::*;

    fn words() -> Features {
        let classes = array![[3.0, 4.0], [0.0, 2.0]];
        Features { prompts: BTreeMap::from([(CLASSES.into(), classes)]), ..Features::default() }
    }

    #[test]
    fn a_known_set_given_in_words_alone_is_legal_and_has_no_rows() {
        let words = words();
        words.check().unwrap();
        assert!(words.is_empty());
        assert_eq!(words.classes(), 2);
        let unit = words.unit_prompts(CLASSES).unwrap().unwrap();
        assert_eq!(unit, array![[0.6, 0.8], [0.0, 1.0]]);
        assert_eq!(words.unit_prompts(NEGATIVES).unwrap(), None);
        assert_eq!(words.select(&[]), words);
    }

    #[test]
    fn a_row_of_zeros_is_named_when_its_direction_is_asked_for() {
        let mut words = words();
        words.prompts.insert(NEGATIVES.into(), array![[1.0, 0.0], [0.0, 0.0]]);
        let error = words.unit_prompts(NEGATIVES).unwrap_err().to_string();
        assert_eq!(error, "prompts.negatives has a row of zeros, row 1, which has no direction");
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        let message = |change: &dyn Fn(&mut Features)| {
            let mut words = words();
            change(&mut words);
            words.check().unwrap_err().to_string()
        };
        let three: Array2<f32> = Array2::ones((3, 2));
        let denials = message(&|words| drop(words.prompts.insert(DENIALS.into(), three.clone())));
        assert_eq!(denials, "prompts.denials has shape [3, 2] but prompts.classes has shape [2, 2]");
        let shuffled = message(&|words| drop(words.prompts.insert(SHUFFLED.into(), three.clone())));
        assert_eq!(shuffled, "prompts.shuffled has shape [3, 2] but prompts.classes has shape [2, 2]");
        let negated = message(&|words| drop(words.prompts.insert(NEGATED.into(), three.clone())));
        assert_eq!(negated, "prompts.negated has shape [3, 2] but prompts.classes has shape [2, 2]");
        let wide = message(&|words| drop(words.prompts.insert(AGENTS.into(), Array2::ones((1, 3)))));
        assert_eq!(wide, "prompts.classes has shape [2, 2] but prompts.agents has shape [1, 3]");
        let embedding = message(&|words| words.embedding = Some(Array2::ones((4, 3))));
        assert_eq!(embedding, "embedding has shape [4, 3] but prompts.classes has shape [2, 2]");
        let patches = message(&|words| words.patches = Some(Array3::ones((4, 5, 3))));
        assert_eq!(patches, "patches has shape [4, 5, 3] but prompts.classes has shape [2, 2]");
        let logits = message(&|words| words.logits = Some(Array2::ones((4, 3))));
        assert_eq!(logits, "logits has shape [4, 3] but prompts.classes has shape [2, 2]");
        let names = message(&|words| words.class_names = Some(vec!["cat".into()]));
        assert_eq!(names, "class names has shape [1] but classes has shape [2]");
        let nan = message(&|words| drop(words.prompts.insert(AGENTS.into(), array![[0.0, f32::NAN]])));
        assert_eq!(nan, "prompts.agents holds NaN in row 0, column 1");
        let rows = message(&|words| {
            words.embedding = Some(Array2::ones((4, 2)));
            words.patches = Some(Array3::ones((3, 5, 2)));
        });
        assert_eq!(rows, "embedding has shape [4, 2] but patches has shape [3, 5, 2]");
    }

    #[test]
    fn selecting_rows_keeps_the_words_and_the_patches_of_the_rows() {
        let mut features = words();
        features.embedding = Some(array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]);
        features.patches = Some(Array3::from_shape_fn((3, 2, 2), |(row, patch, d)| (row * 4 + patch * 2 + d) as f32));
        features.check().unwrap();
        let picked = features.select(&[2, 0]);
        assert_eq!(picked.prompts, features.prompts);
        assert_eq!(picked.patches.unwrap(), array![[[8.0, 9.0], [10.0, 11.0]], [[0.0, 1.0], [2.0, 3.0]]]);
    }
}
