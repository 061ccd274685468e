//! A branch that learns how far to trust the classifier, by paying for hints.
//!
//! DeVries & Taylor, *Learning Confidence for Out-of-Distribution Detection in Neural Networks*, 2018
//! (<https://arxiv.org/abs/1802.04865>). c = sigmoid(w·f + b). Loss: mean of −log p'_y plus λ times the mean of −log c,
//! where p' = c p + (1 − c) onehot(y) for the half of the pictures, by chance, that get hints and p' = p for the
//! others. After each step λ is divided by 1.01 if the mean of −log c was below the budget β = 0.3 and by 0.99 if not;
//! it begins at 0.1. Exported parts: `confidence.weight` `[1, d]`, `confidence.bias` `[1, 1]`.
//!
//! Deviation: the authors' code cuts probabilities at 1e-12, whereupon a picture that is told entirely wrong without a
//! hint teaches nothing; here everything stays in logarithms and nothing is cut.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_sigmoid, log_softmax, softplus};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::Rule;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier};
use crate::network::{Kept, Network, keep, kept};
use crate::recipe::{Batch, Moment, Recipe, Step, constant};
use crate::tensors::{row, take};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "conf-branch",
    title: "Confidence branch",
    year: 2018,
    paper: "https://arxiv.org/abs/1802.04865",
    loss: "-log(c p_y + 1 - c) - lambda log c, c = sigmoid(w f + b); half of the pictures with c = 1 in the first term",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "budget", doc: "β, what -log c is to be on average; λ is moved towards it, above 0" },
        ParamDoc { name: "lambda", doc: "λ at the beginning, the price of a hint, above 0" },
    ],
    kind: classifier::<ConfBranch>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfBranch {
    budget: f64,
    lambda: f64,
}

impl Default for ConfBranch {
    fn default() -> Self {
        Self { budget: 0.3, lambda: 0.1 }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    confidence: Linear,
    /// λ as it is.
    lambda: Kept<1>,
}

impl Recipe for ConfBranch {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.budget > 0.0 && self.budget.is_finite(), "budget", self.budget, "above 0")?;
        require(self.lambda > 0.0 && self.lambda.is_finite(), "lambda", self.lambda, "above 0")
    }

    fn parts(&self, width: usize, _: usize, device: &Device) -> Parts {
        Parts {
            confidence: LinearConfig::new(width, 1).init(device),
            lambda: Param::from_tensor(Tensor::zeros([1], device)),
        }
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        if name == "recipe.lambda" { constant(self.lambda as f32) } else { Rule::ByShape }
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, moment: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let confidence = network.parts.confidence.forward(embedding.clone());
        let logits = network.trunk.classify(embedding);
        let device = logits.device();
        let mut random = moment.random();
        let hinted = batch.labels.iter().map(|_| f32::from(u8::from(random.random::<bool>()))).collect();
        let hinted = Tensor::from_data(TensorData::new(hinted, [batch.len(), 1]), &device);

        let (task, price) = losses(logits.clone(), confidence, batch.targets(&device), hinted);
        let lambda = kept(&network.parts.lambda);
        let spent = price.clone().detach().into_data().iter::<f64>().next().unwrap_or_default();
        keep(&mut network.parts.lambda, lambda.clone() / divisor(spent, self.budget));
        Step::new(task + price * lambda, &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        take(tensors, "recipe.lambda");
        let bias = take(tensors, "recipe.confidence.bias");
        tensors.insert("recipe.confidence.bias".into(), row(bias.values));
    }
}

/// The mean of −log p'_y and the mean of −log c, for logits `[n, K]`, the confidence before its sigmoid `[n, 1]`,
/// labels `[n]`, and ones for pictures that get hints, zeros for the others, `[n, 1]`.
fn losses(
    logits: Tensor<2>,
    confidence: Tensor<2>,
    labels: Tensor<1, Int>,
    hinted: Tensor<2>,
) -> (Tensor<1>, Tensor<1>) {
    let alone = log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
    // log(c p + 1 − c) = log(1 − c) + log(1 + c / (1 − c) p), and c / (1 − c) is exp of the confidence.
    let helped = log_sigmoid(-confidence.clone()) + softplus(alone.clone() + confidence.clone(), 1.0);
    let told = helped * hinted.clone() + alone * (-hinted + 1.0);
    (-told.mean(), -log_sigmoid(confidence).mean())
}

/// What λ is divided by when hints cost `spent` on average.
fn divisor(spent: f64, budget: f64) -> f64 {
    if spent < budget { 1.01 } else { 0.99 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows, step, values};

    /// p = (1/4, 3/4) and c = 1/2: with a hint p'_0 = 1/2 · 1/4 + 1/2 = 5/8, without one 1/4; −log c = log 2.
    #[test]
    fn by_hand() {
        let (logits, confidence) = ([0.0, 3.0_f32.ln()], [0.0]);
        let (task, price) = losses(
            rows(&[&logits, &logits]),
            rows(&[&confidence, &confidence]),
            labels(&[0, 0]),
            rows(&[&[1.0], &[0.0]]),
        );
        assert!((number(&task) + f64::midpoint(0.625_f64.ln(), 0.25_f64.ln())).abs() < 1e-6);
        assert!((number(&price) - 2.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn gradients() {
        let hinted = || rows(&[&[1.0], &[0.0], &[1.0]]);
        let total = |z: Tensor<2>, s: Tensor<2>| {
            let (task, price) = losses(z, s, labels(&[0, 2, 1]), hinted());
            task + price * 0.4
        };
        let z = rows(&[&[1.0, 2.0, -1.0], &[0.5, -1.0, 0.1], &[0.0, 0.3, 1.0]]);
        let s = rows(&[&[0.5], &[-1.0], &[2.0]]);
        gradients_agree(z.clone(), |z| total(z, s.clone()));
        gradients_agree(s, |s| total(z.clone(), s));
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let (z, s) = (golden.rows("z"), golden.rows("s"));
        let (task, price) = losses(z.clone(), s.clone(), golden.targets("labels"), golden.rows("hinted"));
        golden.holds("conf-branch", &(task + price * 0.1), &[("z", z), ("s", s)]);
    }

    /// The softmax is e⁻⁴⁰ at the label, far below where the authors' code cuts it.
    #[test]
    fn what_is_told_entirely_wrong_still_teaches() {
        let z = rows(&[&[0.0, 40.0]]).require_grad();
        let (task, _) = losses(z.clone(), rows(&[&[0.0]]), labels(&[0]), rows(&[&[0.0]]));
        assert_eq!(number(&task), 40.0);
        assert_eq!(values(&z.grad(&task.backward()).unwrap()), [-1.0, 1.0]);
        // And certainty either way is a number.
        for confidence in [-200.0, 200.0] {
            let s = rows(&[&[confidence]]).require_grad();
            let (task, price) = losses(z.clone().detach(), s.clone(), labels(&[0]), rows(&[&[1.0]]));
            let total = task + price;
            assert!(number(&total).is_finite());
            assert!(values(&s.grad(&total.backward()).unwrap())[0].is_finite());
        }
    }

    #[test]
    fn the_budget_moves_lambda() {
        assert_eq!((divisor(0.29, 0.3), divisor(0.3, 0.3)), (1.01, 0.99));
        let cheap = ConfBranch { budget: 1e9, ..ConfBranch::default() };
        let dear = ConfBranch { budget: 1e-9, ..ConfBranch::default() };
        for (recipe, expected) in [(cheap, 0.1 / 1.01), (dear, 0.1 / 0.99)] {
            let (network, _) = step(&recipe);
            let lambda = number(&kept(&network.parts.lambda));
            assert!((lambda - expected).abs() < 1e-8, "{lambda}");
        }
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        let tensors = export_keeps_the_choice(&ConfBranch::default());
        let shapes: Vec<_> = tensors.iter().filter(|(name, _)| name.starts_with("recipe.")).collect();
        assert_eq!(shapes.len(), 2);
        assert_eq!(tensors["recipe.confidence.bias"].shape, [1, 1]);
        assert_eq!(tensors["recipe.confidence.weight"].shape[0], 1);
    }
}
