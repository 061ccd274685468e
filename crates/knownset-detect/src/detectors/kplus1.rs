//! The ratio of a known class to a class for everything else.
//!
//! Chen et al., *FodFoM: Fake Outlier Data by Foundation Models Creates Stronger Visual Out-of-Distribution Detector*, ACM
//! MM 2024. The recipe `fodfom` trains K known classes and one more for what is none of them, whose linear layer v · f + a
//! is kept beside the head. Score, as the authors' `Detection/OOD_score_method` for CIFAR: log(max_c≤K p_c / p_K+1) =
//! max_c z_c − (v · f + a). Their energy and MaxLogit leave the last logit out: they are `ebo` and `mls` of such a network.
//!
//! Deviation: the logarithm of the ratio, which ranks alike and does not overflow. The authors' ImageNet script also sums
//! the last logit into the energy, and lowers some scores of OOD sets by a constant; neither is repeated.

use knownset_core::parts::{OUTLIER_BIAS, OUTLIER_WEIGHT};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::linear::Linear;
use crate::rows::{map_rows, max};
use crate::spec::{Batch, Entry, Info, Information, Needs, Scorer, Spec, Widths, parse, shaped};

/// No parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KPlus1 {}

impl Spec for KPlus1 {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        input.logits()?;
        Ok(Box::new(Ratio { outlier: Linear::of_parts(input, [OUTLIER_WEIGHT, OUTLIER_BIAS], Some(1))? }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let Linear { weight, bias } = Linear::load(state, widths.embedding)?;
        Ok(Box::new(Ratio { outlier: Linear { weight, bias: shaped("bias", bias, &[1])? } }))
    }
}

#[derive(Debug)]
struct Ratio {
    outlier: Linear,
}

impl Scorer for Ratio {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let outlier = self.outlier.score(batch.embedding, |outputs| outputs[0]);
        let known = map_rows(batch.logits, max);
        known.into_iter().zip(outlier).map(|(known, outlier)| known - outlier).collect()
    }

    fn state(&self) -> State {
        self.outlier.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "kplus1-msp",
        title: "K+1 MSP",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2412.05293",
        formula: "log(max_c p_c / p_K+1) = max_c z_c - (v f + a), the logit of everything else trained beside the head",
        needs: Needs {
            logits: true,
            embedding: true,
            parts: &[OUTLIER_WEIGHT, OUTLIER_BIAS],
            recipe: Some("fodfom"),
            ..Needs::NONE
        },
        information: Information::TrainingImages,
        params: &[],
    },
    spec: parse::<KPlus1>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::spec::scores;

    #[test]
    fn by_hand() {
        let ratio = Ratio { outlier: Linear::from_f64(array![[2.0], [-1.0]], array![1.0]) };
        let (logits, embedding) = (array![[2.0, 0.0], [0.0, 0.0]], array![[2.0, 0.0], [0.0, 1e4]]);
        assert_eq!(scores(&ratio, &logits, &embedding), [2.0 - 5.0, 1e4 - 1.0]);
    }
}
