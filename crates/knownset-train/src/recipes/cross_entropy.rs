//! Plain classification: the baseline every recipe is held against.
//!
//! He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, for the schedule. Loss: the mean of
//! −Σ_c q_c log p_c, p the softmax of the logits, q = 1 − ε at the label plus ε / K everywhere (Szegedy et al. 2016,
//! <https://arxiv.org/abs/1512.00567>, section 7); ε is 0 by default. No deviation.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "cross-entropy",
    title: "Cross-entropy",
    year: 2016,
    paper: "https://arxiv.org/abs/1512.03385",
    loss: "-log p_y",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "label-smoothing", doc: "ε, the share of the target spread over all classes, 0..1" }],
    kind: classifier::<CrossEntropy>(),
};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CrossEntropy {
    label_smoothing: f64,
}

impl Recipe for CrossEntropy {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        let share = self.label_smoothing;
        require((0.0..1.0).contains(&share), "label-smoothing", share, "at least 0 and below 1")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        step(network, batch, self.label_smoothing)
    }
}

/// A step on the first view, of any recipe whose loss is this one.
pub(super) fn step(network: &Network<NoParts>, batch: &Batch, smoothing: f64) -> Step {
    let logits = network.trunk.classify(network.embed(batch.images()));
    let targets = batch.targets(&logits.device());
    Step::new(smoothed(logits.clone(), targets, smoothing), &logits, &batch.labels)
}

/// The loss of logits `[n, K]` for labels `[n]`, a single number.
pub(crate) fn loss(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let chosen = log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
    -chosen.mean()
}

/// The loss of logits `[n, K]` for targets `[n, K]` whose rows are distributions, a single number.
pub(crate) fn soft_loss(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    -(log_softmax(logits, 1) * targets).sum_dim(1).mean()
}

/// The loss of logits `[n, K]` for labels `[n]` with this share of the target spread over all classes.
pub(crate) fn smoothed(logits: Tensor<2>, labels: Tensor<1, Int>, share: f64) -> Tensor<1> {
    if share == 0.0 {
        return loss(logits, labels);
    }
    let [_, classes] = logits.dims();
    let all = -log_softmax(logits.clone(), 1).sum_dim(1).mean() / classes as f64;
    loss(logits, labels) * (1.0 - share) + all * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gradients_agree, number, rows};

    /// −log(e¹ / (e¹ + e²)) = log(1 + e) and −log(1/2) = log 2, averaged; the gradient is (p − onehot) / n.
    #[test]
    fn two_rows_by_hand_and_their_gradient() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0], [0.0, 0.0]], &device).require_grad();
        let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
        let loss = loss(logits.clone(), labels);
        let e = 1.0_f64.exp();
        assert!((number(&loss) - f64::midpoint((1.0 + e).ln(), 2.0_f64.ln())).abs() < 1e-6);
        let gradients = loss.backward();
        let gradient: Vec<f64> = logits.grad(&gradients).unwrap().into_data().iter::<f64>().collect();
        let p = e / (1.0 + e);
        for (found, expected) in gradient.iter().zip([-p / 2.0, p / 2.0, 0.25, -0.25]) {
            assert!((found - expected).abs() < 1e-6, "{gradient:?}");
        }
    }

    /// p = (2/5, 1/5, 1/5, 1/5), ε = 0.4: 0.6 + 0.1 at the label and 0.1 at the three others.
    #[test]
    fn smoothing_by_hand() {
        let logits = rows(&[&[2.0_f32.ln(), 0.0, 0.0, 0.0]]);
        let at = |label: i64| {
            let labels = Tensor::<1, Int>::from_ints([label], &logits.device());
            number(&smoothed(logits.clone(), labels, 0.4))
        };
        let (half, fifth) = (2.5_f64.ln(), 5.0_f64.ln());
        assert!((at(0) - (0.7 * half + 0.3 * fifth)).abs() < 1e-6, "{}", at(0));
        assert!((at(2) - (0.1 * half + 0.9 * fifth)).abs() < 1e-6, "{}", at(2));
    }

    /// ε = 0.2 over two classes: 0.9 at the label and 0.1 at the other.
    #[test]
    fn smoothing_is_a_soft_target() {
        let logits = rows(&[&[1.0, 2.0], &[0.5, -1.0]]);
        let labels = Tensor::<1, Int>::from_ints([0, 1], &logits.device());
        let soft = soft_loss(logits.clone(), rows(&[&[0.9, 0.1], &[0.1, 0.9]]));
        assert!((number(&smoothed(logits.clone(), labels, 0.2)) - number(&soft)).abs() < 1e-6);
        gradients_agree(logits, |logits| {
            let labels = Tensor::<1, Int>::from_ints([0, 1], &logits.device());
            smoothed(logits, labels, 0.2)
        });
    }
}
