//! LSN: negative prompts of every class.
//!
//! Nie et al., *Out-of-Distribution Detection with Negative Prompts*, ICLR 2024. Each class has R negative prompts of its
//! own (`prompts.negated`, row r K + k class k in the r-th; learned by the recipe `lsn`), which its images are unlike:
//!
//! max_j softmax(s)_j + mean_r max_j softmax((1 − n_r) / T)_j,
//!
//! with s the cosines of the image and the classes, n_r those with the r-th negative prompts; R is 3 and T is 5. Reference:
//! the authors' `main_feature_100_upload.py`. No deviation.

use knownset_core::prompts::{CLASSES, NEGATED};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::mean;
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse};
use crate::words::{Words, max_softmax, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lsn {
    temperature: f64,
}

impl Default for Lsn {
    fn default() -> Self {
        Self { temperature: 5.0 }
    }
}

impl Spec for Lsn {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let words = Words::fit(input, &[CLASSES, NEGATED])?;
        if words.count(1) == 0 {
            return Err(FitError::EmptyPrompts { name: NEGATED });
        }
        Ok(Box::new(YesAndNo { words, temperature: self.temperature }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, NEGATED], widths.embedding)?;
        let (classes, rows) = (words.count(0), words.count(1));
        if rows == 0 || !rows.is_multiple_of(classes) {
            let (name, shape) = (NEGATED.into(), vec![rows, widths.embedding]);
            return Err(StateError::Shape { name, shape, expected: format!("a multiple of {classes} rows") });
        }
        Ok(Box::new(YesAndNo { words, temperature: self.temperature }))
    }
}

#[derive(Debug)]
struct YesAndNo {
    words: Words,
    temperature: f64,
}

impl Scorer for YesAndNo {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let classes = self.words.count(0);
        self.words.score(batch.embedding, |cosines| {
            let (known, negated) = cosines.split_at(classes);
            let no = |cosines: &[f64]| {
                let unlike: Vec<f64> = cosines.iter().map(|s| 1.0 - s).collect();
                max_softmax(&unlike, self.temperature)
            };
            let no: Vec<f64> = negated.chunks_exact(classes).map(no).collect();
            max_softmax(known, 1.0) + mean(&no)
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "lsn",
        title: "LSN",
        aliases: &[],
        year: 2024,
        paper: "https://openreview.net/forum?id=nanyAujl6e",
        formula: "max_j softmax(s)_j + mean_r max_j softmax((1 - n_r) / T)_j, n_r the cosines with the r-th negative prompts",
        needs: Needs { embedding: true, prompts: &[CLASSES, NEGATED], ..Needs::NONE },
        information: Information::FewShot,
        params: &[ParamDoc {
            name: "temperature",
            doc: "what 1 - cosine with negative prompts is divided by, positive",
        }],
    },
    spec: parse::<Lsn>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand_with_two_negative_prompts() {
        // Cosines of the image: classes (1, 0); first negatives (0, 1), so 1 - n is (1, 0); second (0, 0), so (1, 1).
        let classes = array![[1.0, 0.0], [0.0, 1.0]];
        let negated = array![[0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]];
        let known = known(&[(CLASSES, classes), (NEGATED, negated)]);
        let share = |difference: f64| 1.0 / (1.0 + (-difference).exp());
        let expected = share(1.0) + f64::midpoint(share(1.0 / 5.0), 0.5);
        let scores = score(&Lsn::default(), &known, &array![[7.0, 0.0]]);
        assert!((scores[0] - expected).abs() < 1e-12, "{scores:?}");
    }

    #[test]
    fn without_negative_prompts_it_is_refused() {
        let known = known(&[(CLASSES, array![[1.0, 0.0]]), (NEGATED, ndarray::Array2::zeros((0, 2)))]);
        let input = FitInput::new(&known, None).unwrap();
        assert!(matches!(Lsn::default().fit(&input), Err(FitError::EmptyPrompts { name: "negated" })));
    }
}
