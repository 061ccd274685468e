//! What a detector is: a description, parameters that can be fitted, and a fitted scorer.

use std::fmt::Debug;

use knownset_core::Features;
pub use knownset_core::params::ParamError;
pub(crate) use knownset_core::params::require;
use knownset_core::state::{State, StateError};
use ndarray::{Array, ArrayView2, ArrayView3, Dimension};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::input::{FitError, FitInput};

/// One detector of the registry.
#[derive(Debug)]
pub struct Entry {
    /// What it is and what it needs.
    pub info: Info,
    /// Reads its parameters; [`parse`] of the detector's own type.
    pub(crate) spec: fn(&Value) -> Result<Parsed, ParamError>,
}

/// Checked parameters, as an object that can be fitted and as JSON with every default filled in.
pub(crate) type Parsed = (Box<dyn Spec>, Value);

/// A detector's description.
#[derive(Debug, Serialize)]
pub struct Info {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// Its name as people write it.
    pub title: &'static str,
    /// Names it has elsewhere; accepted wherever `name` is.
    pub aliases: &'static [&'static str],
    /// Year of the paper.
    pub year: u16,
    /// Where the paper is.
    pub paper: &'static str,
    /// The score in one line: z logits, p softmax, ŷ argmax, f embedding, W and b the head, s cosines of f with the
    /// texts of the classes, T temperature.
    pub formula: &'static str,
    /// What it reads.
    pub needs: Needs,
    /// What it was told beyond the images it scores; a table that compares detectors should show it.
    pub information: Information,
    /// Its parameters, in the order of their JSON object.
    pub params: &'static [ParamDoc],
}

/// What a detector knows beyond the image in front of it. Scores of detectors that know different things do not
/// compare as equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Information {
    /// Images of the known set: a classifier trained on them, statistics of their features, or both.
    TrainingImages,
    /// The names of the classes, and words chosen without a look at any image.
    Static,
    /// The other images of the test stream, unlabelled.
    TestStream,
    /// A few labelled images of each class.
    FewShot,
    /// Which kind of thing the unknown images will show.
    OodHint,
    /// Weights trained for the purpose, beside those of the backbone.
    OtherWeights,
}

/// What a detector reads of the known set; `logits`, `embedding`, `patches` and `rotations` also of what it scores.
///
/// One that reads `prompts` takes the known set from words: it is fitted without any image, and `embedding` and
/// `patches` are read only of what it scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a set of arrays, read by name")]
pub struct Needs {
    /// Classifier outputs.
    pub logits: bool,
    /// Penultimate features, or the image features of a network with a text tower.
    pub embedding: bool,
    /// The last layer's weight and bias.
    pub head: bool,
    /// Class labels.
    pub labels: bool,
    /// Projected features of every patch.
    pub patches: bool,
    /// Text features, by their names in [`knownset_core::prompts`].
    pub prompts: &'static [&'static str],
    /// What a recipe trained beside the head, by their names in [`knownset_core::parts`].
    pub parts: &'static [&'static str],
    /// What a rotation head says of the image and its turned copies.
    pub rotations: bool,
    /// The recipe whose networks it is for; any network will do where none is named.
    pub recipe: Option<&'static str>,
}

impl Needs {
    /// No array.
    pub const NONE: Self = Self {
        logits: false,
        embedding: false,
        head: false,
        labels: false,
        patches: false,
        prompts: &[],
        parts: &[],
        rotations: false,
        recipe: None,
    };

    /// Whether it reads what only networks of its recipe say.
    pub(crate) fn reads_recipe(&self) -> bool {
        !self.parts.is_empty() || self.rotations
    }

    /// The first array of those that come of a recipe which the features do not have, as files call it.
    pub(crate) fn absent(&self, features: &Features) -> Option<String> {
        let part = self.parts.iter().find(|&&name| !features.parts.contains_key(name));
        let rotations = self.rotations && features.rotations.is_none();
        part.map(|name| format!("parts.{name}")).or_else(|| rotations.then(|| "rotations".into()))
    }
}

/// One parameter.
#[derive(Debug, Serialize)]
pub struct ParamDoc {
    /// Its key.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// Parameters of a detector, ready to be fitted.
pub trait Spec: Debug + Send + Sync {
    /// Whether the parameters are in range.
    fn check(&self) -> Result<(), ParamError> {
        Ok(())
    }

    /// Fits on the known set.
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError>;

    /// The scorer that [`Scorer::state`] described, for rows of the given widths.
    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError>;
}

/// A fitted detector.
pub trait Scorer: Debug + Send + Sync {
    /// One score per row, **higher = more in-distribution**; a row's bits do not depend on the number of threads,
    /// nor on the other rows.
    ///
    /// A detector that learns from the [test stream](Information::TestStream) is the exception: it starts with an
    /// empty memory at every call and takes the rows in the order given.
    fn score(&self, batch: &Batch<'_>) -> Vec<f64>;

    /// Everything that [`Spec::load`] needs beside the parameters.
    fn state(&self) -> State;
}

/// The number of columns of the arrays a detector reads, 0 for those it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Widths {
    /// K, the number of classes.
    pub logits: usize,
    /// d.
    pub embedding: usize,
}

/// Rows to score, finite and in standard layout; an array the detector does not need has no columns.
#[derive(Debug)]
pub struct Batch<'a> {
    /// `[n, K]`.
    pub logits: ArrayView2<'a, f32>,
    /// `[n, d]`.
    pub embedding: ArrayView2<'a, f32>,
    /// `[n, P, d]`, P at least 1 where the detector needs them.
    pub patches: ArrayView3<'a, f32>,
    /// `[n, 4, 4]`: logits by turn.
    pub rotations: ArrayView3<'a, f32>,
}

/// Reads and checks the parameters of a detector; `null` stands for the defaults.
pub(crate) fn parse<P: Spec + Serialize + DeserializeOwned + 'static>(params: &Value) -> Result<Parsed, ParamError> {
    let empty = Value::Object(serde_json::Map::new());
    let params = if params.is_null() { &empty } else { params };
    let spec = P::deserialize(params)?;
    spec.check()?;
    let params = serde_json::to_value(&spec)?;
    Ok((Box::new(spec), params))
}

/// Refuses a state array whose shape is not the one the widths ask for.
pub(crate) fn shaped<T, D: Dimension>(
    name: &str,
    array: Array<T, D>,
    expected: &[usize],
) -> Result<Array<T, D>, StateError> {
    if array.shape() == expected {
        return Ok(array);
    }
    Err(StateError::Shape { name: name.into(), shape: array.shape().to_vec(), expected: format!("{expected:?}") })
}

/// Scores of rows, for the detectors' own tests.
#[cfg(test)]
pub(crate) fn scores(scorer: &dyn Scorer, logits: &ndarray::Array2<f32>, embedding: &ndarray::Array2<f32>) -> Vec<f64> {
    let none = ndarray::Array3::zeros((embedding.nrows(), 0, 0));
    let (patches, rotations) = (none.view(), none.view());
    scorer.score(&Batch { logits: logits.view(), embedding: embedding.view(), patches, rotations })
}
