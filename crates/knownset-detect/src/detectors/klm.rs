//! KL matching.
//!
//! Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings*, ICML 2022. Score:
//! −min_k KL(p ‖ d_k), d_k the mean softmax of the in-distribution validation images predicted as class k
//! (training images where there are none). Reference: OpenOOD v1.5 `kl_matching_postprocessor.py`.
//!
//! Deviations: a class that is never predicted has no d_k, instead of one made up; a d_k that underflows to 0
//! counts as the smallest positive number, so the divergence stays finite.

use knownset_core::linalg::project;
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::detectors::entropy::negative_entropy;
use crate::input::{FitError, FitInput};
use crate::rows::{argmax, map_blocks, softmax};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Klm {}

impl Spec for Klm {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        let logits = input.val_logits()?;
        let classes = logits.ncols();
        let (mut means, mut counts) = (Array2::<f64>::zeros((classes, classes)), vec![0_u32; classes]);
        let mut p = Vec::new();
        for row in logits.outer_iter() {
            let row = row.to_vec();
            softmax(&row, 1.0, &mut p);
            let class = argmax(&row);
            counts[class] += 1;
            means.row_mut(class).iter_mut().zip(&p).for_each(|(mean, p)| *mean += p);
        }
        let predicted: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0).collect();
        for &class in &predicted {
            means.row_mut(class).mapv_inplace(|sum| sum / f64::from(counts[class]));
        }
        let logs = means.select(Axis(0), &predicted).mapv(|mean| mean.max(f64::MIN_POSITIVE).ln());
        Ok(Box::new(NearestTemplate { logs }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let logs: Array2<f64> = state.f64("log_means")?;
        let classes = logs.nrows().max(1);
        Ok(Box::new(NearestTemplate { logs: shaped("log_means", logs, &[classes, widths.logits])? }))
    }
}

#[derive(Debug)]
struct NearestTemplate {
    /// `[C, K]` log d_k of the predicted classes.
    logs: Array2<f64>,
}

impl Scorer for NearestTemplate {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        map_blocks(batch.logits, |rows| {
            let mut softmaxes = Array2::<f64>::zeros(rows.dim());
            let mut p = Vec::new();
            let entropies: Array1<f64> = rows
                .outer_iter()
                .zip(softmaxes.outer_iter_mut())
                .map(|(row, mut out)| {
                    let entropy = negative_entropy(&row.to_vec(), &mut p);
                    out.iter_mut().zip(&p).for_each(|(out, p)| *out = *p);
                    entropy
                })
                .collect();
            let cross = project(softmaxes.view(), self.logs.t());
            let nearest = |row: ndarray::ArrayView1<'_, f64>| row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            cross.outer_iter().zip(&entropies).map(|(row, entropy)| nearest(row) - entropy).collect()
        })
    }

    fn state(&self) -> State {
        State::new().with("log_means", self.logs.clone())
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "klm",
        title: "KL Matching",
        aliases: &["KLMatching"],
        year: 2022,
        paper: "https://arxiv.org/abs/1911.11132",
        formula: "-min_k KL(p || d_k), d_k the mean softmax of images predicted as k",
        needs: Needs { logits: true, ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Klm>,
};

#[cfg(test)]
mod tests {
    use knownset_core::Features;
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Predicted as 0: p = (3/4, 1/4) and (1/2, 1/2), mean (5/8, 3/8); class 1 is never predicted.
        let logits = array![[3_f32.ln(), 0.0], [0.0, 0.0]];
        let train = Features { logits: Some(logits.clone()), ..Features::default() };
        let scorer = Klm {}.fit(&FitInput::new(&train, None).unwrap()).unwrap();
        let rows = array![[5_f32.ln(), 3_f32.ln()], [0.0, 0.0], [0.0, -1e4]];
        let half = 0.5 * (0.8_f64.ln() + (4.0_f64 / 3.0).ln());
        for (score, expected) in
            scores(&*scorer, &rows, &Array2::zeros((3, 0))).iter().zip([0.0, -half, 0.625_f64.ln()])
        {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
    }
}
