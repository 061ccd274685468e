//! CLIPN.
//!
//! Wang et al., *CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No*, ICCV 2023. A second text encoder, trained
//! to say what an image does not show, gives every class a denial (`prompts.denials`). With p = softmax(100 s) and
//! y_j = e^(100 s_j) / (e^(100 s_j) + e^(100 s^no_j)): Σ_j p_j y_j (rule `atd`, agreeing to differ), or y of the likeliest
//! class (rule `ctw`, competing to win). Reference: the authors' `src/`. No deviation.
//!
//! Its weights start from an OpenCLIP network trained on LAION-2B, so it is not matched with methods on OpenAI's CLIP.

use knownset_core::prompts::{CLASSES, DENIALS};
use knownset_core::state::{State, StateError};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, shaped};
use crate::words::{Words, index_of_largest, largest, require_positive};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    Atd,
    Ctw,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Clipn {
    rule: Rule,
    scale: f64,
}

impl Default for Clipn {
    fn default() -> Self {
        Self { rule: Rule::Atd, scale: 100.0 }
    }
}

impl Spec for Clipn {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("scale", self.scale)
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(YesAndNo { words: Words::fit(input, &[CLASSES, DENIALS])?, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES, DENIALS], widths.embedding)?;
        shaped(DENIALS, state.f32::<ndarray::Ix2>(DENIALS)?, &[words.count(0), widths.embedding])?;
        Ok(Box::new(YesAndNo { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct YesAndNo {
    words: Words,
    params: Clipn,
}

impl Scorer for YesAndNo {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let (classes, scale) = (self.words.count(0), self.params.scale);
        self.words.score(batch.embedding, |cosines| {
            let (yes, no) = cosines.split_at(classes);
            let affirmed = |class: usize| 1.0 / (1.0 + (scale * (no[class] - yes[class])).exp());
            match self.params.rule {
                Rule::Ctw => affirmed(index_of_largest(yes)),
                Rule::Atd => {
                    let highest = largest(yes);
                    let parts = yes.iter().map(|s| (scale * (s - highest)).exp()).enumerate();
                    let (share, sum) = parts
                        .fold((0.0, 0.0), |(share, sum), (class, part)| (share + part * affirmed(class), sum + part));
                    share / sum
                }
            }
        })
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "clipn",
        title: "CLIPN",
        aliases: &[],
        year: 2023,
        paper: "https://arxiv.org/abs/2308.12213",
        formula: "sum_j p_j y_j, p = softmax(100 s), y_j = sigmoid(100 (s_j - s_j^no)), s^no the cosines with denials",
        needs: Needs { embedding: true, prompts: &[CLASSES, DENIALS], ..Needs::NONE },
        information: Information::OtherWeights,
        params: &[
            ParamDoc { name: "rule", doc: "atd: the sum over classes; ctw: y of the likeliest class" },
            ParamDoc { name: "scale", doc: "what cosines are multiplied by, positive" },
        ],
    },
    spec: parse::<Clipn>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand() {
        // Cosines: yes 1 and 0, no 0 and 1.
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]]), (DENIALS, array![[0.0, 1.0], [1.0, 0.0]])]);
        let image = array![[2.0, 0.0]];
        let e = 1.0_f64.exp();
        let (p, y) = (e / (e + 1.0), e / (e + 1.0));
        for (rule, expected) in [(Rule::Ctw, y), (Rule::Atd, p * y + (1.0 - p) * (1.0 - y))] {
            let scores = score(&Clipn { rule, scale: 1.0 }, &known, &image);
            assert!((scores[0] - expected).abs() < 1e-12, "{rule:?}");
        }
    }
}
