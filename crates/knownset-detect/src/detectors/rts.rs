//! Random temperature scaling.
//!
//! Shang et al., *Improving Training and Inference of Face Recognition Models via Random Temperature Scaling*, AAAI 2023.
//! The recipe `rts` trains a layer that gives, per image, the logarithms of m variances; the temperature of the softmax
//! is drawn with them, so that a large variance says "uncertain". Score: −log(mean variance). Reference: OpenOOD v1.5
//! `rts_net.py`, `rts_postprocessor.py`.
//!
//! Deviations: the logarithm, which ranks alike and does not overflow, and the sign: OpenOOD returns the mean variance
//! itself as the confidence, though the loss gives large variances to what cannot be told apart. On a network trained by
//! the recipe on Sprite World (`sprite-resnet`, six epochs of AdamW at 0.003) the mean AUROC over five sets is 55.6 this way
//! round, and so 44.4 the other.

use knownset_core::parts::{RTS_BIAS, RTS_WEIGHT};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::rows::log_sum_exp;
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rts {}

impl Spec for Rts {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Variance { logarithms: Linear::of_parts(input, [RTS_WEIGHT, RTS_BIAS], None)? }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let logarithms = Linear::load(state, widths.embedding)?;
        if logarithms.bias.is_empty() {
            return Err(StateError::Missing("bias".into()));
        }
        Ok(Box::new(Variance { logarithms }))
    }
}

#[derive(Debug)]
struct Variance {
    logarithms: Linear,
}

impl Scorer for Variance {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        self.logarithms.score(batch.embedding, |logs| (logs.len() as f64).ln() - log_sum_exp(logs.iter().copied()))
    }

    fn state(&self) -> State {
        self.logarithms.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "rts",
        title: "RTS",
        aliases: &[],
        year: 2023,
        paper: "https://arxiv.org/abs/2212.01015",
        formula: "-log mean(variances), the variances exp(V f + a) of the random temperature",
        needs: Needs { embedding: true, parts: &[RTS_WEIGHT, RTS_BIAS], recipe: Some("rts"), ..Needs::NONE },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<Rts>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        // Variances (1, 1), (e, 1/e), and one that overflows.
        let logarithms = Linear::from_f64(array![[1.0, -1.0]], array![0.0, 0.0]);
        let rows = array![[0.0], [1.0], [2000.0]];
        let scores = scores(&Variance { logarithms }, &Array2::zeros((3, 0)), &rows);
        for (score, expected) in scores.iter().zip([0.0, -1_f64.cosh().ln(), 2_f64.ln() - 2000.0]) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
    }
}
