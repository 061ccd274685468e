//! NegPrompt: prompts that say of any class what it is not.
//!
//! Li et al., *Learning Transferable Negative Prompts for Out-of-Distribution Detection*, CVPR 2024. First CoOp's prompts
//! of the classes, which then stay; then R negative prompts n_rk of each class k, whose vectors all classes share, with
//! the loss NIS + β · NPD + γ · NND:
//!
//! - NIS: the cross-entropy from the uniform distribution to softmax(scale · cos(image, n)) over all R K of them, so that an
//!   image is equally unlike each
//! - NPD: −mean_{r, k} cos(n_rk, class k): they stay near their class
//! - NND: mean_{k, r ≠ q} cos(n_rk, n_qk): they differ among themselves
//!
//! R = 2, β = 0.1, γ = 0.05. The negative vectors begin as the learned ones, moved by uniform noise of 1e-5. Reference: the
//! authors' `core/train_clip.py` and `models/models.py`; its score is the detector `negprompt`.
//!
//! Deviations: where code and paper differ, the paper: the code's NIS runs over positive prompts too, and its default is
//! another loss. Positive vectors begin as CoOp's, not as "a photo of a"; a full stop ends the prompts. Epochs are what
//! the code means (100, then 15); batches, optimiser and rate are CoOp's, the code having SGD without momentum and a cosine
//! that starts again every hundred steps.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use knownset_core::params::{ParamError, require};
use knownset_core::prompts::NEGATED;
use serde::{Deserialize, Serialize};

use super::coop::{CoOp, SHOTS, TOKENS};
use super::{Outliers, ParamDoc, RecipeEntry, prompts};
use crate::prompts::{Layout, PromptRecipe, SGD, Seen, Stage, Start, alike};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "negprompt",
    title: "NegPrompt",
    year: 2024,
    paper: "https://arxiv.org/abs/2404.03248",
    loss: "coop, then H(uniform, softmax(scale cos(image, n))) - beta mean cos(n_rk, class k) + gamma mean cos(n_rk, n_qk)",
    outliers: Outliers::None,
    params: &[
        SHOTS,
        TOKENS,
        ParamDoc { name: "negatives", doc: "negative prompts of each class, at least 1" },
        ParamDoc { name: "beta", doc: "weight of the nearness of negative prompts to their class, 0 or more" },
        ParamDoc { name: "gamma", doc: "weight of the likeness of negative prompts among themselves, 0 or more" },
    ],
    kind: prompts::<NegPrompt>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NegPrompt {
    shots: usize,
    tokens: usize,
    negatives: usize,
    beta: f64,
    gamma: f64,
}

impl Default for NegPrompt {
    fn default() -> Self {
        Self { shots: 16, tokens: 16, negatives: 2, beta: 0.1, gamma: 0.05 }
    }
}

impl PromptRecipe for NegPrompt {
    fn check(&self) -> Result<(), ParamError> {
        require(self.negatives > 0, "negatives", 0.0, "at least 1")?;
        require(self.beta >= 0.0 && self.beta.is_finite(), "beta", self.beta, "0 or more")?;
        require(self.gamma >= 0.0 && self.gamma.is_finite(), "gamma", self.gamma, "0 or more")?;
        self.coop().check()
    }

    fn shots(&self) -> usize {
        self.shots
    }

    fn stages(&self) -> Vec<Stage> {
        let layout = Layout { prompts: self.negatives, tokens: self.tokens, class_specific: false };
        let start = Start::First(1e-5);
        let negated = Stage { name: NEGATED, epochs: 15, batch: 32, optimiser: SGD, lr: 0.002, layout, start };
        vec![self.coop().stage(100, 0.002), negated]
    }

    fn loss(&self, stage: usize, seen: &Seen) -> Tensor<1> {
        if stage == 0 {
            return self.coop().loss(stage, seen);
        }
        separation(seen) - nearness(seen, self.negatives) * self.beta + likeness(seen, self.negatives) * self.gamma
    }
}

impl NegPrompt {
    fn coop(&self) -> CoOp {
        CoOp { shots: self.shots, tokens: self.tokens, class_specific: false }
    }
}

/// NIS.
fn separation(seen: &Seen) -> Tensor<1> {
    let logits = seen.images.clone().matmul(seen.prompts.clone().transpose()) * seen.scale;
    -log_softmax(logits, 1).mean()
}

/// −NPD.
fn nearness(seen: &Seen, negatives: usize) -> Tensor<1> {
    let rounds = (0..negatives).map(|r| alike(seen.round(r), seen.classes.clone()));
    rounds.reduce(|sum, one| sum + one).expect("at least one negative prompt") / negatives as f64
}

/// NND; 0 of a single negative prompt.
pub(super) fn likeness(seen: &Seen, negatives: usize) -> Tensor<1> {
    let pairs = (0..negatives).flat_map(|r| (0..r).map(move |q| (q, r)));
    let likeness = pairs.map(|(q, r)| alike(seen.round(q), seen.round(r))).reduce(|sum, one| sum + one);
    let count = negatives * (negatives - 1) / 2;
    likeness.map_or_else(|| Tensor::zeros([1], &seen.prompts.device()), |sum| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::testing::{agrees_with_golden, differences_agree, negatives};
    use crate::testing::number;

    /// Two classes along the axes, an image along the first; the first negatives are at right angles to the classes, the
    /// second are the classes.
    #[test]
    fn three_losses_by_hand() {
        let classes: &[&[f32]] = &[&[1.0, 0.0], &[0.0, 1.0]];
        let prompts: &[&[f32]] = &[&[0.0, 1.0], &[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]];
        let seen = negatives(&[&[1.0, 0.0]], &[0], classes, prompts, 3.0);
        // Logits 0, 3, 3, 0.
        let expected = (2.0 + 2.0 * 3.0_f64.exp()).ln() - 1.5;
        assert!((number(&separation(&seen)) - expected).abs() < 1e-6);
        assert!((number(&nearness(&seen, 2)) - 0.5).abs() < 1e-6);
        assert!(number(&likeness(&seen, 2)).abs() < 1e-6);
        let total = number(&NegPrompt { beta: 0.2, ..NegPrompt::default() }.loss(1, &seen));
        assert!((total - (expected - 0.1)).abs() < 1e-6, "{total}");
        let alone = negatives(&[&[1.0, 0.0]], &[0], classes, &prompts[2..], 3.0);
        assert_eq!(number(&likeness(&alone, 1)), 0.0);
    }

    #[test]
    fn gradients_by_differences() {
        let prompts: &[&[f32]] = &[&[0.3, -0.5, 0.8], &[0.9, 0.2, 0.4], &[-0.2, 0.7, 0.6], &[0.5, 0.5, -0.7]];
        differences_agree(&NegPrompt { beta: 0.5, gamma: 0.5, ..NegPrompt::default() }, prompts);
    }

    #[test]
    fn loss_and_gradient_are_those_of_pytorch_on_a_tiny_clip() {
        agrees_with_golden(&NegPrompt { gamma: 0.5, ..NegPrompt::default() }, 1, "negprompt");
    }
}
