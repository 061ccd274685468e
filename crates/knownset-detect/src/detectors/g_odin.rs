//! Generalised ODIN.
//!
//! Hsu et al., *Generalized ODIN: Detecting Out-of-distribution Image without Learning from Out-of-distribution Data*,
//! CVPR 2020. The recipe `g-odin` trains logits h_c(f) / g(f); score: max_c h_c(f), where h_c is w_c · f + b_c (inner),
//! the cosine of w_c and f, or −‖f − w_c‖² (Euclidean), as the network was trained. Reference: OpenOOD v1.5
//! `godin_net.py`, `godin_postprocessor.py`.
//!
//! Deviations: no input perturbation: scores are of the image as it is. OpenOOD then takes the largest softmax of the
//! h_c, not the largest h_c as the paper; it adds 1e-4 to the lengths under a cosine, where here a zero embedding has
//! cosine 0; and its Euclidean h is a mean over dimensions where the paper's is a sum, which ranks alike.

use knownset_core::parts::{GODIN_BIAS, GODIN_KIND, GODIN_WEIGHT};
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::rows::{map_rows, norm};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GOdin {}

/// How h compares an embedding with a class.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Inner,
    Cosine,
    Euclidean,
}

impl Kind {
    fn of(number: f64) -> Option<Self> {
        [Self::Inner, Self::Cosine, Self::Euclidean].into_iter().find(|kind| f64::from(*kind as u8) == number)
    }
}

impl Spec for GOdin {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let number = input.number(GODIN_KIND)?;
        let kind = Kind::of(number.into());
        let expected = || "0 (inner), 1 (cosine) or 2 (Euclidean)".to_owned();
        let kind = kind.ok_or_else(|| FitError::PartValue { name: GODIN_KIND, value: number, expected: expected() })?;
        let weight = input.part(GODIN_WEIGHT, None, input.embedding()?.ncols())?;
        let bias = input.part(GODIN_BIAS, Some(1), weight.nrows())?.row(0);
        Ok(Box::new(Numerator::new(kind, weight.clone(), bias.to_owned())))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let number = state.number("kind")?;
        let kind = Kind::of(number).ok_or_else(|| StateError::NotFinite("kind".into()))?;
        let bias: Array1<f32> = state.f32("bias")?;
        let weight = shaped("weight", state.f32("weight")?, &[bias.len().max(1), widths.embedding])?;
        Ok(Box::new(Numerator::new(kind, weight, bias)))
    }
}

#[derive(Debug)]
struct Numerator {
    kind: Kind,
    /// `[K, d]`, as trained.
    weight: Array2<f32>,
    /// `[K]`; of inner products alone.
    bias: Array1<f32>,
    /// `[K]` lengths of the rows of `weight`.
    lengths: Vec<f64>,
}

impl Numerator {
    fn new(kind: Kind, weight: Array2<f32>, bias: Array1<f32>) -> Self {
        let length = |row: ndarray::ArrayView1<'_, f32>| norm(row.iter().map(|&value| f64::from(value)));
        let lengths = weight.outer_iter().map(length).collect();
        Self { kind, weight, bias, lengths }
    }

    /// max_c h_c
    fn largest(&self, embedding: &[f32]) -> f64 {
        let own = norm(embedding.iter().map(|&value| f64::from(value)));
        let h = |(class, row): (usize, ndarray::ArrayView1<'_, f32>)| {
            let pairs = row.into_iter().zip(embedding).map(|(&w, &f)| (f64::from(w), f64::from(f)));
            match self.kind {
                Kind::Inner => pairs.map(|(w, f)| w * f).sum::<f64>() + f64::from(self.bias[class]),
                Kind::Cosine if own * self.lengths[class] > 0.0 => {
                    pairs.map(|(w, f)| w * f).sum::<f64>() / (own * self.lengths[class])
                }
                Kind::Cosine => 0.0,
                Kind::Euclidean => -pairs.map(|(w, f)| (f - w).powi(2)).sum::<f64>(),
            }
        };
        self.weight.outer_iter().enumerate().map(h).fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Scorer for Numerator {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_rows(batch.embedding, |row| self.largest(row))
    }

    fn state(&self) -> State {
        let state = State::new().with_number("kind", f64::from(self.kind as u8));
        state.with("weight", self.weight.clone()).with("bias", self.bias.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "g-odin",
        title: "G-ODIN",
        aliases: &["Generalized ODIN"],
        year: 2020,
        paper: "https://arxiv.org/abs/2002.11297",
        formula: "max_c h_c(f): w_c f + b_c, the cosine of w_c and f, or -||f - w_c||^2, as trained",
        needs: Needs {
            embedding: true,
            parts: &[GODIN_KIND, GODIN_WEIGHT, GODIN_BIAS],
            recipe: Some("g-odin"),
            ..Needs::NONE
        },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<GOdin>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let rows = array![[3.0, 4.0], [-2.0, 0.0], [0.0, 0.0]];
        for (kind, expected) in
            [(Kind::Inner, [4.0, 4.0, 2.0]), (Kind::Cosine, [0.8, 1.0, 0.0]), (Kind::Euclidean, [-18.0, -1.0, -1.0])]
        {
            let numerator = Numerator::new(kind, array![[-1.0, 0.0], [0.0, 1.0]], array![2.0, 0.0]);
            for (score, expected) in scores(&numerator, &Array2::zeros((3, 0)), &rows).iter().zip(expected) {
                assert!((score - expected).abs() < 1e-12, "{kind:?}: {score} {expected}");
            }
        }
    }

    #[test]
    fn a_kind_is_one_of_three_numbers() {
        assert_eq!([0.0, 1.0, 2.0].map(Kind::of), [Some(Kind::Inner), Some(Kind::Cosine), Some(Kind::Euclidean)]);
        assert_eq!([-1.0, 0.5, 3.0].map(Kind::of), [None; 3]);
    }
}
