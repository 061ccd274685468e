//! Simplified Hopfield energy.
//!
//! Zhang et al., *Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern
//! Hopfield Energy*, ICLR 2023. Score: ⟨f, m_ŷ⟩, m_c the mean embedding of the training images of class c that are
//! classified rightly and ŷ the predicted class. Reference: OpenOOD v1.5 `she_postprocessor.py`, inner product.
//!
//! Deviation: a class without a rightly classified training image is an error, as in pytorch-ood.

use knownset_core::state::{State, StateError};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{argmax, map_pairs};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct She {}

impl Spec for She {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let (embedding, correct) = (input.embedding()?, input.correct_rows()?);
        let mut patterns = Array2::zeros((correct.len(), embedding.ncols()));
        for (class, rows) in correct.iter().enumerate() {
            if rows.is_empty() {
                return Err(FitError::TooFewInClass { class: input.class_name(class), found: 0, needed: 1 });
            }
            let mut sum = patterns.row_mut(class);
            for &row in rows {
                sum.zip_mut_with(&embedding.row(row), |sum, &value| *sum += f64::from(value));
            }
            sum /= rows.len() as f64;
        }
        Ok(Box::new(Patterns { patterns }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let patterns = shaped("patterns", state.f64("patterns")?, &[widths.logits, widths.embedding])?;
        Ok(Box::new(Patterns { patterns }))
    }
}

#[derive(Debug)]
struct Patterns {
    /// `[K, d]` m.
    patterns: Array2<f64>,
}

impl Scorer for Patterns {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_pairs(batch, |logits, embedding| {
            let pattern = self.patterns.row(argmax(logits));
            embedding.iter().zip(pattern).map(|(&value, pattern)| f64::from(value) * pattern).sum()
        })
    }

    fn state(&self) -> State {
        State::new().with("patterns", self.patterns.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "she",
        title: "SHE",
        aliases: &["Hopfield energy"],
        year: 2023,
        paper: "https://openreview.net/forum?id=KkazG4lgKL",
        formula: "<f, m_yhat>, m_c the mean embedding of class c's correctly classified training images",
        needs: Needs { logits: true, embedding: true, labels: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<She>,
};

#[cfg(test)]
mod tests {
    use knownset_core::Features;
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Row 1 is misclassified and does not count: m_0 = (1, 2), m_1 = (0, 4).
        let train = Features {
            logits: Some(array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
            embedding: Some(array![[1.0, 2.0], [50.0, 50.0], [0.0, 4.0]]),
            labels: Some(array![0, 0, 1]),
            ..Features::default()
        };
        let scorer = She {}.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let (logits, rows) = (array![[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]], array![[3.0, 1.0], [3.0, 1.0], [-1.0, 0.0]]);
        assert_eq!(scores(&*scorer, &logits, &rows), [5.0, 4.0, -1.0]);
    }

    #[test]
    fn a_class_without_a_correct_image_is_named() {
        let train = Features {
            logits: Some(array![[1.0, 0.0]]),
            embedding: Some(array![[1.0]]),
            labels: Some(array![0]),
            class_names: Some(vec!["cat".into(), "dog".into()]),
            ..Features::default()
        };
        let error = She {}.fit(&FitInput::new(&train, None).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "class 1 (dog) has 0 correctly classified training image(s), at least 1 are needed");
    }
}
