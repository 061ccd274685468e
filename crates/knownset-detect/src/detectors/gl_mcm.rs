//! Global-local maximum concept matching.
//!
//! Miyai et al., *GL-MCM: Global and Local Maximum Concept Matching for Zero-Shot Out-of-Distribution Detection*,
//! IJCV 2025. Score: MCM of the image + λ · max over patches p and classes j of softmax(s_p / T)_j, with s_p the
//! cosines of the projected patch p. Reference: the authors' `utils/detection_util.py`. No deviation.
//!
//! λ is 1 by default, as in the paper and where others report it; the authors' ImageNet script uses 0.5.
//! `temperature` divides raw cosines, as in `mcm`.

use knownset_core::prompts::CLASSES;
use knownset_core::state::{State, StateError};
use ndarray::Axis;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, by_row, largest, max_softmax, require_positive};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GlMcm {
    temperature: f64,
    lambda: f64,
}

impl Default for GlMcm {
    fn default() -> Self {
        Self { temperature: 1.0, lambda: 1.0 }
    }
}

impl Spec for GlMcm {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)?;
        require(self.lambda >= 0.0 && self.lambda.is_finite(), "lambda", self.lambda, "0 or more")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(GlobalLocal { words: Words::fit(input, &[CLASSES])?, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES], widths.embedding)?;
        Ok(Box::new(GlobalLocal { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct GlobalLocal {
    words: Words,
    params: GlMcm,
}

impl Scorer for GlobalLocal {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let matching = |cosines: &[f64]| max_softmax(cosines, self.params.temperature);
        let mut scores = self.words.score(batch.embedding, matching);
        scores.par_iter_mut().enumerate().for_each(|(image, score)| {
            let patches = batch.patches.index_axis(Axis(0), image);
            *score += self.params.lambda * largest(&by_row(&self.words.cosines(patches), matching));
        });
        scores
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "gl-mcm",
        title: "GL-MCM",
        aliases: &[],
        year: 2025,
        paper: "https://arxiv.org/abs/2304.04521",
        formula: "max_j softmax(s / T)_j + lambda max_{p,j} softmax(s_p / T)_j, s_p the cosines of patch p",
        needs: Needs { embedding: true, patches: true, prompts: &[CLASSES], ..Needs::NONE },
        information: Information::Static,
        params: &[
            ParamDoc { name: "temperature", doc: "what raw cosines are divided by, positive" },
            ParamDoc { name: "lambda", doc: "weight of the best patch, 0 or more" },
        ],
    },
    spec: parse::<GlMcm>,
};

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::words::known;

    #[test]
    fn by_hand() {
        // The image lies between the classes; its patches have cosines (0.6, 0.8) and (1, 0).
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]])]);
        let (logits, embedding) = (Array2::zeros((1, 0)), array![[2.0, 2.0]]);
        let patches = array![[[3.0, 4.0], [2.0, 0.0]]];
        let none = Array3::zeros((1, 0, 0));
        let (patches, rotations) = (patches.view(), none.view());
        let batch = Batch { logits: logits.view(), embedding: embedding.view(), patches, rotations };
        let best = 1.0 / (1.0 + (-1.0_f64).exp());
        for (lambda, expected) in [(0.0, 0.5), (1.0, 0.5 + best), (0.5, 0.5 + best / 2.0)] {
            let params = GlMcm { temperature: 1.0, lambda };
            let scorer = params.fit(&FitInput::new(&known, None).unwrap()).unwrap();
            assert!((scorer.score(&batch)[0] - expected).abs() < 1e-12, "{lambda}");
        }
    }
}
