//! Words and images on the unit sphere, as the detectors that read words compare them.

#[cfg(test)]
use knownset_core::Features;
use knownset_core::FeaturesError;
use knownset_core::linalg::project;
use knownset_core::prompts::{CLASSES, unit_rows};
use knownset_core::state::{State, StateError};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate};
use rayon::prelude::*;

use crate::input::{FitError, FitInput};
use crate::rows::norm;
use crate::spec::{ParamError, require, shaped};

/// Images compared at a time; few, because there may be many words.
const BLOCK: usize = 64;

/// Text features of one or more names, in the order they were asked for.
#[derive(Debug)]
pub(crate) struct Words {
    /// As they were given; what is saved.
    given: Vec<(&'static str, Array2<f32>)>,
    /// `[d, rows of all]`, columns of length one.
    columns: Array2<f64>,
}

impl Words {
    /// The known set's words; the classes are at least one.
    pub(crate) fn fit(input: &FitInput<'_>, names: &[&'static str]) -> Result<Self, FitError> {
        let given = names.iter().map(|&name| Ok((name, input.prompts(name)?.clone())));
        let given: Vec<_> = given.collect::<Result<_, FitError>>()?;
        Self::of(given)
    }

    /// From text features, checked as [`Self::fit`] does.
    pub(crate) fn of(given: Vec<(&'static str, Array2<f32>)>) -> Result<Self, FitError> {
        if let Some(&(name, _)) = given.iter().find(|(name, rows)| *name == CLASSES && rows.is_empty()) {
            return Err(FitError::EmptyPrompts { name });
        }
        let zero = |name: &str, row| FeaturesError::ZeroRow { array: format!("prompts.{name}"), row };
        let columns =
            columns(&given).map_err(|(name, row)| FitError::Features { set: "training", source: zero(name, row) })?;
        Ok(Self { given, columns })
    }

    /// The words that [`Self::state`] holds, of width `d`.
    pub(crate) fn load(state: &State, names: &[&'static str], d: usize) -> Result<Self, StateError> {
        let read = |name: &'static str| {
            let rows: Array2<f32> = state.f32(name)?;
            let n = if name == CLASSES { rows.nrows().max(1) } else { rows.nrows() };
            Ok((name, shaped(name, rows, &[n, d])?))
        };
        let given: Vec<_> = names.iter().map(|&name| read(name)).collect::<Result<_, _>>()?;
        let columns = columns(&given).map_err(|(name, _)| StateError::ZeroRow(name.into()))?;
        Ok(Self { given, columns })
    }

    pub(crate) fn state(&self) -> State {
        self.given.iter().fold(State::new(), |state, (name, rows)| state.with(name, rows.clone()))
    }

    /// How many words the `index`-th name has.
    pub(crate) fn count(&self, index: usize) -> usize {
        self.given[index].1.nrows()
    }

    /// d.
    pub(crate) fn width(&self) -> usize {
        self.columns.nrows()
    }

    /// The unit vector of a word.
    pub(crate) fn unit(&self, word: usize) -> Vec<f64> {
        self.columns.column(word).to_vec()
    }

    /// `[n, words]` cosines of images with all words; those of an all-zero image are 0.
    pub(crate) fn cosines(&self, images: ArrayView2<'_, f32>) -> Array2<f64> {
        cosines(images, self.columns.view())
    }

    /// One number per image, from its cosines with all words.
    pub(crate) fn score(&self, images: ArrayView2<'_, f32>, score: impl Fn(&[f64]) -> f64 + Sync + Send) -> Vec<f64> {
        let blocks: Vec<_> = images.axis_chunks_iter(Axis(0), BLOCK).collect();
        let scores: Vec<Vec<f64>> =
            blocks.into_par_iter().map(|images| by_row(&self.cosines(images), &score)).collect();
        scores.concat()
    }
}

/// `[n, columns]` cosines of images with unit columns.
pub(crate) fn cosines(images: ArrayView2<'_, f32>, columns: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut cosines = project(images, columns);
    for (mut row, image) in cosines.outer_iter_mut().zip(images.outer_iter()) {
        let length = norm(image.iter().map(|&value| f64::from(value)));
        if length > 0.0 {
            row /= length;
        }
    }
    cosines
}

/// An image on the unit sphere; an all-zero one stays zero.
pub(crate) fn unit(image: ArrayView1<'_, f32>) -> Vec<f64> {
    let length = norm(image.iter().map(|&value| f64::from(value)));
    image.iter().map(|&value| if length > 0.0 { f64::from(value) / length } else { 0.0 }).collect()
}

/// One number per row.
pub(crate) fn by_row(rows: &Array2<f64>, score: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    rows.outer_iter().map(|row| row.as_slice().map_or_else(|| score(&row.to_vec()), &score)).collect()
}

/// Unit rows of all, as columns; the error names the first row of zeros.
fn columns(given: &[(&'static str, Array2<f32>)]) -> Result<Array2<f64>, (&'static str, usize)> {
    let unit: Vec<Array2<f64>> =
        given.iter().map(|(name, rows)| unit_rows(rows).map_err(|row| (*name, row))).collect::<Result<_, _>>()?;
    let views: Vec<_> = unit.iter().map(|rows| rows.t()).collect();
    let columns = concatenate(Axis(1), &views).unwrap_or_default();
    Ok(columns.as_standard_layout().into_owned())
}

/// max_j softmax(s / T)_j
pub(crate) fn max_softmax(cosines: &[f64], temperature: f64) -> f64 {
    let largest = largest(cosines);
    1.0 / cosines.iter().map(|s| ((s - largest) / temperature).exp()).sum::<f64>()
}

/// The largest of finite numbers.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Index of the largest of finite numbers, the first of equals.
pub(crate) fn index_of_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Refuses what is not a usable temperature or scale.
pub(crate) fn require_positive(name: &'static str, value: f64) -> Result<(), ParamError> {
    require(value > 0.0 && value.is_finite(), name, value, "positive")
}

/// Words of a small known set, for the detectors' own tests.
#[cfg(test)]
pub(crate) fn known(prompts: &[(&'static str, Array2<f32>)]) -> Features {
    let prompts = prompts.iter().map(|(name, rows)| ((*name).to_owned(), rows.clone())).collect();
    Features { prompts, ..Features::default() }
}

/// Scores of images by a detector that reads words, for the detectors' own tests.
#[cfg(test)]
pub(crate) fn score(spec: &dyn crate::spec::Spec, known: &Features, images: &Array2<f32>) -> Vec<f64> {
    let scorer = spec.fit(&FitInput::new(known, None).unwrap()).unwrap();
    crate::spec::scores(&*scorer, &Array2::zeros((images.nrows(), 0)), images)
}
