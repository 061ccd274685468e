//! LoCoOp: CoOp whose prompts must not know what stands in the background.
//!
//! Miyai et al., *LoCoOp: Few-Shot Out-of-Distribution Detection via Prompt Learning*, NeurIPS 2023. A patch whose most
//! likely classes lack the image's own shows something else; there the softmax shall be flat. Loss: CoOp's −
//! λ · mean_{patches J} H(softmax(scale · cos(patch, prompts))), H the entropy, J the patches of the batch for which as
//! many classes as `top` of K are likelier than the label; nothing if there is no such patch. λ is 0.25; 50 epochs, else as
//! CoOp. Reference: the authors' `trainers/locoop.py`; its score is `gl-mcm`.
//!
//! Deviations: the paper's 200 of ImageNet's 1,000 classes is the share 0.2 here, at least one class, so that there is a
//! background where classes are fewer than 200; the reference adds 1e-5 inside the logarithm, this has none to add.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::coop::{CLASS_SPECIFIC, CoOp, SHOTS, TOKENS};
use super::{Outliers, ParamDoc, RecipeEntry, prompts};
use crate::prompts::{PromptRecipe, Seen, Stage};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "locoop",
    title: "LoCoOp",
    year: 2023,
    paper: "https://arxiv.org/abs/2306.01293",
    loss: "coop - lambda mean H(softmax(scale cos(patch, prompts))) over patches whose top classes lack y",
    outliers: Outliers::None,
    params: &[
        SHOTS,
        TOKENS,
        CLASS_SPECIFIC,
        ParamDoc { name: "lambda", doc: "weight of the background's entropy, 0 or more" },
        ParamDoc {
            name: "top",
            doc: "share of the classes that must lack the label for a patch to be background, 0..1",
        },
    ],
    kind: prompts::<LoCoOp>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct LoCoOp {
    shots: usize,
    tokens: usize,
    class_specific: bool,
    lambda: f64,
    top: f64,
}

impl Default for LoCoOp {
    fn default() -> Self {
        let CoOp { shots, tokens, class_specific } = CoOp::default();
        Self { shots, tokens, class_specific, lambda: 0.25, top: 0.2 }
    }
}

impl PromptRecipe for LoCoOp {
    fn check(&self) -> Result<(), ParamError> {
        require(self.lambda >= 0.0 && self.lambda.is_finite(), "lambda", self.lambda, "0 or more")?;
        require(self.top > 0.0 && self.top <= 1.0, "top", self.top, "above 0 and at most 1")?;
        self.coop().check()
    }

    fn shots(&self) -> usize {
        self.shots
    }

    fn stages(&self) -> Vec<Stage> {
        vec![self.coop().stage(50, 0.002)]
    }

    fn reads_patches(&self) -> bool {
        true
    }

    fn loss(&self, stage: usize, seen: &Seen) -> Tensor<1> {
        let loss = self.coop().loss(stage, seen);
        let Some(patches) = &seen.patches else { return loss };
        let [n, count, d] = patches.dims();
        let logits = patches.clone().reshape([n * count, d]).matmul(seen.classes.clone().transpose()) * seen.scale;
        let top = ((self.top * seen.count() as f64).round() as usize).max(1);
        match background_entropy(logits, &seen.labels, top) {
            None => loss,
            Some(entropy) => loss - entropy * self.lambda,
        }
    }
}

impl LoCoOp {
    fn coop(&self) -> CoOp {
        CoOp { shots: self.shots, tokens: self.tokens, class_specific: self.class_specific }
    }
}

/// The mean entropy of the rows of `[n * P, K]` logits, P to an image, in which at least `top` classes have a larger logit
/// than the image's label; nothing if there is no such row.
fn background_entropy(logits: Tensor<2>, labels: &[usize], top: usize) -> Option<Tensor<1>> {
    let [rows, classes] = logits.dims();
    let per_image = rows / labels.len().max(1);
    let values: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
    let background = |(row, logits): (usize, &[f32])| {
        let own = logits[labels[row / per_image]];
        logits.iter().filter(|&&logit| logit > own).count() >= top
    };
    let chosen: Vec<bool> = values.chunks_exact(classes).enumerate().map(background).collect();
    let count = chosen.iter().filter(|&&chosen| chosen).count();
    if count == 0 {
        return None;
    }
    let weights: Vec<f32> = chosen.into_iter().map(f32::from).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, 1]), &logits.device());
    let log = log_softmax(logits, 1);
    Some(-(log.clone().exp() * log * weights).sum() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::testing::agrees_with_golden;
    use crate::testing::{gradients_agree, number, rows};

    /// One image of class 0 with three patches: the label is first, second and third of three classes.
    #[test]
    fn patches_are_background_by_the_rank_of_the_label() {
        let logits = rows(&[&[3.0, 1.0, 0.0], &[1.0, 2.0, 0.0], &[0.0, 1.0, 1.0]]);
        let entropy = |row: [f64; 3]| {
            let sum: f64 = row.iter().map(|z| z.exp()).sum();
            row.iter().map(|z| -(z.exp() / sum) * (z - sum.ln())).sum::<f64>()
        };
        let (second, third) = (entropy([1.0, 2.0, 0.0]), entropy([0.0, 1.0, 1.0]));
        for (top, expected) in [(1, f64::midpoint(second, third)), (2, third)] {
            let found = number(&background_entropy(logits.clone(), &[0], top).unwrap());
            assert!((found - expected).abs() < 1e-6, "{top}: {found} {expected}");
        }
        assert!(background_entropy(logits.clone(), &[0], 3).is_none());
        gradients_agree(logits, |logits| background_entropy(logits, &[0], 1).unwrap());
    }

    #[test]
    fn loss_and_gradient_are_those_of_pytorch_on_a_tiny_clip() {
        agrees_with_golden(&LoCoOp::default(), 0, "locoop");
    }
}
