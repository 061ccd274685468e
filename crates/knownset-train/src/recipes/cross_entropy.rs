//! Plain classification: the mean of −log p_y, p the softmax of the logits. The baseline every recipe is held against.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use super::RecipeEntry;

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "cross-entropy",
    doc: "cross-entropy on the known classes with SGD, momentum, a cosine schedule, random crops and flips",
    paper: "https://arxiv.org/abs/1512.03385",
};

/// The loss of logits `[n, K]` for labels `[n]`, a single number.
pub(crate) fn loss(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let chosen = log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
    -chosen.mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// −log(e¹ / (e¹ + e²)) = log(1 + e) and −log(1/2) = log 2, averaged; the gradient is (p − onehot) / n.
    #[test]
    fn two_rows_by_hand_and_their_gradient() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0], [0.0, 0.0]], &device).require_grad();
        let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
        let loss = loss(logits.clone(), labels);
        let value = loss.clone().into_data().iter::<f64>().next().unwrap();
        let e = 1.0_f64.exp();
        assert!((value - f64::midpoint((1.0 + e).ln(), 2.0_f64.ln())).abs() < 1e-6);
        let gradients = loss.backward();
        let gradient: Vec<f64> = logits.grad(&gradients).unwrap().into_data().iter::<f64>().collect();
        let p = e / (1.0 + e);
        for (found, expected) in gradient.iter().zip([-p / 2.0, p / 2.0, 0.25, -0.25]) {
            assert!((found - expected).abs() < 1e-6, "{gradient:?}");
        }
    }
}
