//! What detectors are fitted on: the known set's features, and the statistics of them that detectors share.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use knownset_core::linalg::{Eigen, NoConvergence, least_norm_solution, symmetric_eigen, whitening};
use knownset_core::moments::Moments;
use knownset_core::neighbours::Bank;
use knownset_core::{Features, FeaturesError, Head};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

/// Training features, optional in-distribution validation features, and their statistics, each computed when
/// first asked for and then shared by every detector.
///
/// Rows labelled as no known class are left out of everything: they are not part of the known set. A known set given
/// in words alone, without rows, is accepted; detectors that read images then name the array they miss.
#[derive(Debug)]
pub struct FitInput<'a> {
    train: Cow<'a, Features>,
    val: Option<Cow<'a, Features>>,
    moments: OnceLock<Moments>,
    within: OnceLock<Result<Array2<f64>, NoConvergence>>,
    global: OnceLock<Result<Array2<f64>, NoConvergence>>,
    blind: OnceLock<Result<BlindSpot, NoConvergence>>,
    bank: OnceLock<Arc<Bank>>,
    correct: OnceLock<Vec<Vec<usize>>>,
}

/// The point that the head maps nearest to the zero logits, and the principal axes of the training features
/// about it.
#[derive(Debug)]
pub(crate) struct BlindSpot {
    /// `[d]`, u = −W⁺b.
    pub(crate) origin: Array1<f64>,
    /// Of the second moment about the origin, divided by n.
    pub(crate) axes: Eigen,
}

/// A detector that cannot be fitted on these features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// An array it needs is not there.
    #[error("needs `{array}`, which the {set} features do not have")]
    Missing {
        /// The array.
        array: &'static str,
        /// "training" or "validation".
        set: &'static str,
    },
    /// Text features it needs are not there.
    #[error("needs `prompts.{name}`, which the training features do not have")]
    NoPrompts {
        /// Their name.
        name: &'static str,
    },
    /// What comes of a recipe is not there.
    #[error("needs `{array}`, which only networks trained with `--recipe {recipe}` have; the training features do not")]
    NotOfRecipe {
        /// The array.
        array: String,
        /// The recipe.
        recipe: &'static str,
    },
    /// A part of a shape that does not fit the other arrays.
    #[error("`parts.{name}` has shape {shape:?}, expected {expected}")]
    PartShape {
        /// Its name.
        name: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// A part that holds a number without a meaning.
    #[error("`parts.{name}` holds {value}, expected {expected}")]
    PartValue {
        /// Its name.
        name: &'static str,
        /// The number.
        value: f32,
        /// What was expected.
        expected: String,
    },
    /// Text features without a row, where at least one is needed.
    #[error("`prompts.{name}` has no row")]
    EmptyPrompts {
        /// Their name.
        name: &'static str,
    },
    /// Features that contradict themselves.
    #[error("the {set} features are unusable")]
    Features {
        /// "training" or "validation".
        set: &'static str,
        /// What is wrong.
        source: FeaturesError,
    },
    /// No row of a known class.
    #[error("the {set} features hold no image of a known class")]
    Empty {
        /// "training" or "validation".
        set: &'static str,
    },
    /// Training and validation features of different widths.
    #[error("`{array}` has {train} columns in the training features but {val} in the validation features")]
    Width {
        /// The array.
        array: &'static str,
        /// Columns in the training features.
        train: usize,
        /// Columns in the validation features.
        val: usize,
    },
    /// A class with fewer usable images than the detector can work with.
    #[error("class {class} has {found} correctly classified training image(s), at least {needed} are needed")]
    TooFewInClass {
        /// Its name, or its number where it has none.
        class: String,
        /// Images it has.
        found: usize,
        /// Images it needs.
        needed: usize,
    },
    /// Fewer training images than neighbours to look for.
    #[error("k = {k} neighbours were asked for, but there are only {rows} training images")]
    TooFewRows {
        /// Neighbours.
        k: usize,
        /// Training images.
        rows: usize,
    },
    /// A subspace as large as the space.
    #[error("dim = {dim} leaves no residual of an embedding of width {width}: choose a smaller dim")]
    NoResidual {
        /// Dimension of the principal subspace.
        dim: usize,
        /// Width of the embedding.
        width: usize,
    },
    /// Training images that all lie in the principal subspace.
    #[error(
        "the {rows} training embeddings of width {width} have no residual outside dim = {dim} directions: choose a smaller dim"
    )]
    FlatResidual {
        /// Training images.
        rows: usize,
        /// Width of the embedding.
        width: usize,
        /// Dimension of the principal subspace.
        dim: usize,
    },
    /// Images of a class that all lie equally far from their mean.
    #[error("the {found} farthest training images of class {class} are equally far from its mean: no tail to fit")]
    NoTail {
        /// Its name, or its number where it has none.
        class: String,
        /// Images looked at.
        found: usize,
    },
    /// A decomposition that failed.
    #[error(transparent)]
    NoConvergence(#[from] NoConvergence),
}

impl<'a> FitInput<'a> {
    /// Checks the features: shapes, labels, finite numbers, at least one row or words alone.
    ///
    /// `val` are in-distribution images not used in training the backbone. Temperature scaling, KL matching and
    /// ReAct are fitted on them, as in their papers; without them, on the training features.
    pub fn new(train: &'a Features, val: Option<&'a Features>) -> Result<Self, FitError> {
        let train = known(train, "training")?;
        let val = val.map(|val| known(val, "validation")).transpose()?;
        if let Some(val) = &val {
            for (array, train, val) in
                [("logits", &train.logits, &val.logits), ("embedding", &train.embedding, &val.embedding)]
            {
                if let (Some(train), Some(val)) = (train, val)
                    && train.ncols() != val.ncols()
                {
                    return Err(FitError::Width { array, train: train.ncols(), val: val.ncols() });
                }
            }
        }
        Ok(Self {
            train,
            val,
            moments: OnceLock::new(),
            within: OnceLock::new(),
            global: OnceLock::new(),
            blind: OnceLock::new(),
            bank: OnceLock::new(),
            correct: OnceLock::new(),
        })
    }

    /// The training features, without rows of no known class.
    pub fn train(&self) -> &Features {
        &self.train
    }

    /// The in-distribution features that the network was not trained on: validation, else training.
    fn held_out(&self) -> (&Features, &'static str) {
        self.val.as_deref().map_or((&*self.train, "training"), |val| (val, "validation"))
    }

    /// `[n, K]` logits of the training images.
    pub fn logits(&self) -> Result<ArrayView2<'_, f32>, FitError> {
        matrix(self.train.logits.as_ref(), "logits", "training")
    }

    /// `[n, d]` embeddings of the training images.
    pub fn embedding(&self) -> Result<ArrayView2<'_, f32>, FitError> {
        matrix(self.train.embedding.as_ref(), "embedding", "training")
    }

    /// `[n]` labels of the training images, all in 0…K−1.
    pub fn labels(&self) -> Result<ArrayView1<'_, i64>, FitError> {
        let labels = self.train.labels.as_ref().map(|labels| labels.view());
        labels.ok_or(FitError::Missing { array: "labels", set: "training" })
    }

    /// The classifier's last layer.
    pub fn head(&self) -> Result<&Head, FitError> {
        self.train.head.as_ref().ok_or(FitError::Missing { array: "head", set: "training" })
    }

    /// `[rows, d]` text features of that name, as they were given.
    pub fn prompts(&self, name: &'static str) -> Result<&Array2<f32>, FitError> {
        self.train.prompts.get(name).ok_or(FitError::NoPrompts { name })
    }

    /// What a recipe trained under that name: so many rows, any number from one up where that is not settled, and columns.
    pub(crate) fn part(
        &self,
        name: &'static str,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<&Array2<f32>, FitError> {
        let part = self.train.parts.get(name).ok_or(FitError::Missing { array: name, set: "training" })?;
        if part.dim() == (rows.unwrap_or(part.nrows().max(1)), columns) {
            return Ok(part);
        }
        let rows = rows.map_or_else(|| "1 or more".to_owned(), |rows| rows.to_string());
        Err(FitError::PartShape { name, shape: part.shape().to_vec(), expected: format!("[{rows}, {columns}]") })
    }

    /// The single number under that name.
    pub(crate) fn number(&self, name: &'static str) -> Result<f32, FitError> {
        Ok(self.part(name, Some(1), 1)?[(0, 0)])
    }

    /// d, the number of columns of the embeddings of images that the words are compared with.
    pub(crate) fn prompt_width(&self, names: &[&'static str]) -> Result<usize, FitError> {
        names.iter().try_fold(0, |_, name| Ok(self.prompts(name)?.ncols()))
    }

    /// `[m, K]` logits of the validation images, or of the training images where there are none.
    pub fn val_logits(&self) -> Result<ArrayView2<'_, f32>, FitError> {
        let (features, set) = self.held_out();
        matrix(features.logits.as_ref(), "logits", set)
    }

    /// `[m, d]` embeddings of the validation images, or of the training images where there are none.
    pub fn val_embedding(&self) -> Result<ArrayView2<'_, f32>, FitError> {
        let (features, set) = self.held_out();
        matrix(features.embedding.as_ref(), "embedding", set)
    }

    /// `[m]` labels that belong to [`Self::val_logits`].
    pub fn val_labels(&self) -> Result<ArrayView1<'_, i64>, FitError> {
        let (features, set) = self.held_out();
        features.labels.as_ref().map(|labels| labels.view()).ok_or(FitError::Missing { array: "labels", set })
    }

    /// What to call a class in a message.
    pub fn class_name(&self, class: usize) -> String {
        let name = self.train.class_names.as_ref().and_then(|names| names.get(class));
        name.map_or_else(|| class.to_string(), |name| format!("{class} ({name})"))
    }

    /// Means and scatter of the training embeddings; per class where there are labels.
    pub fn moments(&self) -> Result<&Moments, FitError> {
        let rows = self.embedding()?;
        Ok(self.moments.get_or_init(|| {
            let none = Array1::from_elem(rows.nrows(), -1);
            let labels = self.train.labels.as_ref().unwrap_or(&none);
            Moments::of(rows, labels.view(), self.train.classes())
        }))
    }

    /// `[d, r]` whitening of the covariance about the class means.
    pub fn within_whitening(&self) -> Result<&Array2<f64>, FitError> {
        self.labels()?;
        let moments = self.moments()?;
        remember(&self.within, || whitening(&moments.within_class_covariance()))
    }

    /// `[d, r]` whitening of the covariance about the mean of all.
    pub fn global_whitening(&self) -> Result<&Array2<f64>, FitError> {
        let moments = self.moments()?;
        remember(&self.global, || whitening(&moments.covariance()))
    }

    /// The principal axes about the point the head cannot see.
    pub(crate) fn blind_spot(&self) -> Result<&BlindSpot, FitError> {
        let (moments, head) = (self.moments()?, self.head()?);
        remember(&self.blind, || {
            let origin = -least_norm_solution(head.weight.view(), head.bias.view())?;
            let axes = symmetric_eigen(&moments.second_moment_about(origin.view()))?;
            Ok(BlindSpot { origin, axes })
        })
    }

    /// The training embeddings on the unit sphere.
    pub fn bank(&self) -> Result<&Arc<Bank>, FitError> {
        let rows = self.embedding()?;
        Ok(self.bank.get_or_init(|| Arc::new(Bank::new(rows))))
    }

    /// The training rows of each class whose largest logit is that of their class.
    pub fn correct_rows(&self) -> Result<&[Vec<usize>], FitError> {
        let (logits, labels) = (self.logits()?, self.labels()?);
        Ok(self.correct.get_or_init(|| {
            let mut rows = vec![Vec::new(); logits.ncols()];
            let predictions = self.train.predictions().unwrap_or_default();
            for (row, (&label, prediction)) in labels.iter().zip(predictions).enumerate() {
                if label == prediction as i64 {
                    rows[prediction].push(row);
                }
            }
            rows
        }))
    }
}

fn known<'a>(features: &'a Features, set: &'static str) -> Result<Cow<'a, Features>, FitError> {
    features.check().map_err(|source| FitError::Features { set, source })?;
    let labels = features.labels.as_ref();
    let features = match labels {
        Some(labels) if labels.iter().any(|&label| label < 0) => {
            let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] >= 0).collect();
            Cow::Owned(features.select(&rows))
        }
        _ => Cow::Borrowed(features),
    };
    let in_words = features.logits.is_none() && features.embedding.is_none();
    if features.is_empty() && !in_words { Err(FitError::Empty { set }) } else { Ok(features) }
}

fn matrix<'a>(
    array: Option<&'a Array2<f32>>,
    name: &'static str,
    set: &'static str,
) -> Result<ArrayView2<'a, f32>, FitError> {
    array.map(|array| array.view()).ok_or(FitError::Missing { array: name, set })
}

fn remember<T>(
    cell: &OnceLock<Result<T, NoConvergence>>,
    compute: impl FnOnce() -> Result<T, NoConvergence>,
) -> Result<&T, FitError> {
    cell.get_or_init(compute).as_ref().map_err(|error| error.clone().into())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::fitted::Fitted;
    use crate::registry::select;

    fn features(embedding: Array2<f32>, labels: Array1<i64>) -> Features {
        let head = Some(Head { weight: array![[1.0, 0.0], [0.0, 1.0]], bias: array![0.0, 0.0] });
        Features {
            logits: Some(embedding.clone()),
            embedding: Some(embedding),
            labels: Some(labels),
            head,
            ..Features::default()
        }
    }

    #[test]
    fn validation_images_are_used_where_there_are_some() {
        let train = features(array![[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]], array![0, 1, UNKNOWN]);
        let val = features(array![[5.0, 0.0], [0.0, 7.0], [0.0, 7.0]], array![0, 1, 0]);
        let alone = FitInput::new(&train, None).unwrap();
        assert_eq!(alone.val_logits().unwrap(), array![[1.0, 0.0], [0.0, 1.0]]);
        let both = FitInput::new(&train, Some(&val)).unwrap();
        assert_eq!(both.val_labels().unwrap(), array![0, 1, 0]);
        for detector in ["temp-scale", "klm", "react"] {
            let chosen = &select(detector).unwrap()[0];
            let score = |input| Fitted::fit(chosen, input).unwrap().score(&val).unwrap();
            assert_ne!(score(&alone), score(&both), "{detector}");
        }
    }

    const UNKNOWN: i64 = knownset_core::UNKNOWN_LABEL;

    #[test]
    fn unusable_input_is_refused_with_its_numbers() {
        let train = features(array![[1.0, 0.0]], array![0]);
        let narrow = Features { logits: Some(array![[1.0]]), ..Features::default() };
        let error = FitInput::new(&train, Some(&narrow)).unwrap_err().to_string();
        assert_eq!(error, "`logits` has 2 columns in the training features but 1 in the validation features");
        let nobody = features(array![[1.0, 0.0]], array![UNKNOWN]);
        assert!(matches!(FitInput::new(&nobody, None), Err(FitError::Empty { set: "training" })));
        let input = FitInput::new(&train, None).unwrap();
        let message = |text: &str| Fitted::fit(&select(text).unwrap()[0], &input).unwrap_err().to_string();
        assert_eq!(message("knn"), "k = 50 neighbours were asked for, but there are only 1 training images");
        assert_eq!(message("openmax"), "class 0 has 1 correctly classified training image(s), at least 3 are needed");
        assert_eq!(message("vim:dim=2"), "dim = 2 leaves no residual of an embedding of width 2: choose a smaller dim");
    }
}
