//! LSN: each class has negative prompts of its own, which its images are unlike.
//!
//! Nie et al., *Out-of-Distribution Detection with Negative Prompts*, ICLR 2024. First CoOp's prompts of the classes; then
//! R prompts n_rk of each class k, every one with vectors of its own, with the loss
//!
//! Σ_r mean −log softmax((1 − cos(image, n_r)) · 20)_y + λ · Σ_{r < q} mean_k cos(n_rk, n_qk) / (R − 1).
//!
//! R = 3, λ = 1 (the code's; the paper says 0.1). 50 epochs of batches of 32 at the rate 0.001 for the classes; 100 epochs
//! with Adam at 0.002 for the negatives. Reference: the authors' `main_feature_100_upload.py`; its score is the detector
//! `lsn`.
//!
//! Deviations: **the code hands cross-entropy a softmax, so that it takes one twice; this takes it once**, as the paper
//! writes it (a test holds both against each other). The code learns the R sets in turns, an epoch each, this all at once: a
//! set's own loss is the same. Features of the images are not computed beforehand but from changed images, as in CoOp;
//! the scale of the classes' cosines is the towers', which is the code's 100 for OpenAI's; its batches are of 8.

use burn::tensor::Tensor;
use knownset_core::params::{ParamError, require};
use knownset_core::prompts::NEGATED;
use serde::{Deserialize, Serialize};

use super::coop::{CoOp, SHOTS, TOKENS};
use super::negprompt::likeness;
use super::{Outliers, ParamDoc, RecipeEntry, prompts};
use crate::optimiser::{Decays, Optimiser};
use crate::prompts::{Layout, PromptRecipe, Seen, Stage, Start};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "lsn",
    title: "LSN",
    year: 2024,
    paper: "https://openreview.net/forum?id=nanyAujl6e",
    loss: "coop, then sum_r -log softmax(20 (1 - cos(image, n_r)))_y + lambda sum_{r<q} mean_k cos(n_rk, n_qk) / (R - 1)",
    outliers: Outliers::None,
    params: &[
        SHOTS,
        TOKENS,
        ParamDoc { name: "negatives", doc: "negative prompts R of each class, at least 1" },
        ParamDoc { name: "lambda", doc: "weight of the likeness of a class's negative prompts, 0 or more" },
    ],
    kind: prompts::<Lsn>(),
};

/// What 1 − cos is multiplied by.
const SCALE: f64 = 20.0;
/// PyTorch's defaults.
const ADAM: Optimiser =
    Optimiser::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decays: Decays::All };

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Lsn {
    shots: usize,
    tokens: usize,
    negatives: usize,
    lambda: f64,
}

impl Default for Lsn {
    fn default() -> Self {
        Self { shots: 16, tokens: 16, negatives: 3, lambda: 1.0 }
    }
}

impl PromptRecipe for Lsn {
    fn check(&self) -> Result<(), ParamError> {
        require(self.negatives > 0, "negatives", 0.0, "at least 1")?;
        require(self.lambda >= 0.0 && self.lambda.is_finite(), "lambda", self.lambda, "0 or more")?;
        self.coop().check()
    }

    fn shots(&self) -> usize {
        self.shots
    }

    fn stages(&self) -> Vec<Stage> {
        let layout = Layout { prompts: self.negatives, tokens: self.tokens, class_specific: true };
        let start = Start::Normal(0.02);
        let negated = Stage { name: NEGATED, epochs: 100, batch: 32, optimiser: ADAM, lr: 0.002, layout, start };
        vec![self.coop().stage(50, 0.001), negated]
    }

    fn loss(&self, stage: usize, seen: &Seen) -> Tensor<1> {
        if stage == 0 {
            return self.coop().loss(stage, seen);
        }
        let dissimilarity = (0..self.negatives).map(|r| seen.cross_entropy(unlike(seen, r)));
        let loss = dissimilarity.reduce(|sum, one| sum + one).expect("at least one negative prompt");
        // The mean over R (R − 1) / 2 pairs, times R / 2.
        loss + likeness(seen, self.negatives) * (self.lambda * self.negatives as f64 / 2.0)
    }
}

impl Lsn {
    fn coop(&self) -> CoOp {
        CoOp { shots: self.shots, tokens: self.tokens, class_specific: false }
    }
}

/// `[n, K]`: how unlike the images are to the r-th negative prompts, as logits.
fn unlike(seen: &Seen, r: usize) -> Tensor<2> {
    let cosines = seen.images.clone().matmul(seen.round(r).transpose());
    (-cosines + 1.0) * SCALE
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;

    use super::*;
    use crate::prompts::testing::{agrees_with_golden, differences_agree, negatives};
    use crate::testing::number;

    const CLASSES: &[&[f32]] = &[&[1.0, 0.0], &[0.0, 1.0]];

    /// An image of class 0 along the first axis. First negatives: cosines 0.8 and 1, so 20 (1 − s) is 4 and 0; second:
    /// cosines 1 and 0, so 0 and 20; third: both 0. Of class 0 they are (0.8, 0.6), (1, 0), (0, 1): cosines 0.8, 0.6, 0;
    /// of class 1 (1, 0), (0, 1), (0, −1): cosines 0, 0, −1.
    fn by_hand() -> Seen {
        let prompts: &[&[f32]] = &[&[0.8, 0.6], &[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0], &[0.0, 1.0], &[0.0, -1.0]];
        negatives(&[&[1.0, 0.0]], &[0], CLASSES, prompts, 100.0)
    }

    #[test]
    fn three_negatives_by_hand() {
        let seen = by_hand();
        let log1p = |z: f64| (1.0 + z.exp()).ln();
        let dissimilarity = log1p(-4.0) + log1p(20.0) + 2.0_f64.ln();
        let likeness = f64::midpoint((0.8 + 0.6 + 0.0) / 2.0, (0.0 + 0.0 - 1.0) / 2.0);
        for (lambda, expected) in [(0.0, dissimilarity), (1.0, dissimilarity + likeness)] {
            let found = number(&Lsn { lambda, ..Lsn::default() }.loss(1, &seen));
            assert!((found - expected).abs() < 1e-5, "{lambda}: {found} {expected}");
        }
    }

    /// The code's loss: its softmax goes through another one, which leaves the loss of two classes between
    /// log(1 + 1/e) and log(1 + e) however wrong an image is.
    #[test]
    fn the_softmax_is_taken_once() {
        let seen = by_hand();
        let twice = |r| number(&seen.cross_entropy(softmax(unlike(&seen, r), 1)));
        let once = |r| number(&seen.cross_entropy(unlike(&seen, r)));
        let e = 1.0_f64.exp();
        assert!((twice(1) - (1.0 + e).ln()).abs() < 1e-6 && (once(1) - 20.0).abs() < 1e-6);
        let sum: f64 = (0..3).map(once).sum();
        let found = number(&Lsn { lambda: 0.0, ..Lsn::default() }.loss(1, &seen));
        assert!((found - sum).abs() < 1e-5, "{found} {sum}");
    }

    #[test]
    fn gradients_by_differences() {
        let prompts: &[&[f32]] = &[&[0.3, -0.5, 0.8], &[0.9, 0.2, 0.4], &[-0.2, 0.7, 0.6], &[0.5, 0.5, -0.7]];
        differences_agree(&Lsn { negatives: 2, ..Lsn::default() }, prompts);
    }

    #[test]
    fn loss_and_gradient_are_those_of_pytorch_on_a_tiny_clip() {
        agrees_with_golden(&Lsn { negatives: 2, ..Lsn::default() }, 1, "lsn");
    }
}
