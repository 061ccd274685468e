//! CoOp: the words around a class name are vectors that are learned, the towers stay as they are.
//!
//! Zhou et al., *Learning to Prompt for Vision-Language Models*, IJCV 2022. A prompt is `tokens` vectors, the class name
//! and a full stop; the vectors are the same for every class, or each class has its own (`class-specific`), and begin as
//! N(0, 0.02). Loss: the mean of −log softmax(scale · cos(image, prompts))_y, the scale being the towers'. Training:
//! `shots` images of each class, 200 epochs of batches of 32, SGD with momentum 0.9 and weight decay 5e-4, rate 0.002 after
//! an epoch at 1e-5, half a cosine; images are changed by `resized-crop,flip` before they pass the frozen tower. Reference:
//! the authors' `trainers/coop.py` and Dassl.
//!
//! Deviations: the rate moves every step, not every epoch; a class with fewer images than `shots` gives all of them; the
//! name stands at the end only; crops are taken of images already at the tower's size, and enlarged bilinearly.

use burn::tensor::Tensor;
use knownset_core::params::{ParamError, require};
use knownset_core::prompts::CLASSES;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, prompts};
use crate::prompts::{Layout, PromptRecipe, SGD, Seen, Stage, Start};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "coop",
    title: "CoOp",
    year: 2022,
    paper: "https://arxiv.org/abs/2109.01134",
    loss: "-log softmax(scale cos(image, [V]..[V] class.))_y, the vectors [V] learned",
    outliers: Outliers::None,
    params: &[SHOTS, TOKENS, CLASS_SPECIFIC],
    kind: prompts::<CoOp>(),
};

pub(super) const SHOTS: ParamDoc =
    ParamDoc { name: "shots", doc: "training images of each class, drawn by the run's seed; 0 for all" };
pub(super) const TOKENS: ParamDoc = ParamDoc { name: "tokens", doc: "learned vectors of a prompt, at least 1" };
pub(super) const CLASS_SPECIFIC: ParamDoc =
    ParamDoc { name: "class-specific", doc: "whether each class has vectors of its own" };

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CoOp {
    pub(super) shots: usize,
    pub(super) tokens: usize,
    pub(super) class_specific: bool,
}

impl Default for CoOp {
    fn default() -> Self {
        Self { shots: 16, tokens: 16, class_specific: false }
    }
}

impl PromptRecipe for CoOp {
    fn check(&self) -> Result<(), ParamError> {
        require(self.tokens > 0, "tokens", 0.0, "at least 1")
    }

    fn shots(&self) -> usize {
        self.shots
    }

    fn stages(&self) -> Vec<Stage> {
        vec![self.stage(200, 0.002)]
    }

    fn loss(&self, _: usize, seen: &Seen) -> Tensor<1> {
        seen.cross_entropy(seen.cosines() * seen.scale)
    }
}

impl CoOp {
    /// The classes' prompts, in so many epochs and at that rate.
    pub(super) fn stage(&self, epochs: usize, lr: f64) -> Stage {
        let layout = Layout { prompts: 1, tokens: self.tokens, class_specific: self.class_specific };
        Stage { name: CLASSES, epochs, batch: 32, optimiser: SGD, lr, layout, start: Start::Normal(0.02) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::testing::{agrees_with_golden, seen};
    use crate::testing::number;

    /// Cosines (1, 0) of an image of class 0 and (0.6, 0.8) of one of class 1, times 2.
    #[test]
    fn two_images_by_hand() {
        let seen = seen(&[&[1.0, 0.0], &[0.6, 0.8]], &[0, 1], &[&[1.0, 0.0], &[0.0, 1.0]], 2.0);
        let expected = f64::midpoint((1.0 + (-2.0_f64).exp()).ln(), (1.0 + (-0.4_f64).exp()).ln());
        assert!((number(&CoOp::default().loss(0, &seen)) - expected).abs() < 1e-6);
    }

    #[test]
    fn logits_loss_and_gradient_are_those_of_pytorch_on_a_tiny_clip() {
        agrees_with_golden(&CoOp::default(), 0, "coop");
        agrees_with_golden(&CoOp { class_specific: true, ..CoOp::default() }, 0, "coop-class-specific");
    }
}
