//! Intermediate tensor shaping: the last layer's weight learns from the largest activations, made larger.
//!
//! Xu et al., *Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement*, ICLR 2024
//! (<https://arxiv.org/abs/2310.00227>). Loss and every other gradient are plain cross-entropy's; in the gradient of the
//! last layer's weight each embedding f is replaced by exp(s1 / s2) times its largest (100 − percentile) % of entries,
//! zeros elsewhere, s1 and s2 being the sums of f and of those entries. The percentile is 85, as in the authors' code
//! (`minksample_expscale`, parameter 0.85): 15 % of the entries stay.
//!
//! Deviations: an embedding of zeros teaches the weight nothing, where 0 / 0 makes the authors' gradient NaN; at least
//! one entry stays, where rounding of 1 − 0.9 can leave theirs without any; entries are ranked and summed by absolute
//! value and keep their sign, where theirs lose it (the same for activations that passed a ReLU). The authors train the
//! last layer with a tenth of the others' weight decay; here it has the same.

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "ish",
    title: "ISH",
    year: 2024,
    paper: "https://arxiv.org/abs/2310.00227",
    loss: "-log p_y; the weight's gradient sees exp(s1 / s2) times the largest entries of f",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "percentile", doc: "share of the entries left out of the gradient, 0 to 99" }],
    kind: classifier::<Ish>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ish {
    percentile: f64,
}

impl Default for Ish {
    fn default() -> Self {
        Self { percentile: 85.0 }
    }
}

impl Recipe for Ish {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require((0.0..=99.0).contains(&self.percentile), "percentile", self.percentile, "between 0 and 99")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let (weight, bias) = network.trunk.head();
        let logits = logits(embedding, weight, bias.unsqueeze(), self.percentile);
        let targets = batch.targets(&logits.device());
        Step::new(cross_entropy::loss(logits.clone(), targets), &logits, &batch.labels)
    }
}

/// W f + b `[n, K]` of embeddings `[n, d]`, a weight `[K, d]` and a bias `[1, K]`, whose gradient by W is that of W
/// times the shaped embeddings.
fn logits(embedding: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>, percentile: f64) -> Tensor<2> {
    let shaped = shaped(&embedding, percentile);
    let value = embedding.matmul(weight.clone().detach().transpose()) + bias;
    let slope = shaped.matmul(weight.transpose());
    // Adds zero, to the bit, and the slope's gradient.
    value + (slope.clone() - slope.detach())
}

/// Each row's largest entries by absolute value times exp(s1 / s2), zeros elsewhere; without a gradient.
fn shaped(embedding: &Tensor<2>, percentile: f64) -> Tensor<2> {
    let [n, width] = embedding.dims();
    let kept = kept(width, percentile);
    let mut values: Vec<f32> = embedding.clone().detach().into_data().iter::<f32>().collect();
    for row in values.chunks_exact_mut(width) {
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|&a, &b| row[b].abs().total_cmp(&row[a].abs()));
        let sum = |places: &[usize]| places.iter().map(|&place| f64::from(row[place].abs())).sum::<f64>();
        let (all, largest) = (sum(&order), sum(&order[..kept]));
        let factor = if largest > 0.0 { (all / largest).exp() } else { 0.0 };
        order[..kept].iter().for_each(|&place| row[place] = (f64::from(row[place]) * factor) as f32);
        order[kept..].iter().for_each(|&place| row[place] = 0.0);
    }
    Tensor::from_data(TensorData::new(values, [n, width]), &embedding.device())
}

/// ⌊d (100 − percentile) / 100⌋, at least one; a product that should be whole is.
fn kept(width: usize, percentile: f64) -> usize {
    ((width as f64 * (100.0 - percentile) / 100.0 + 1e-9).floor() as usize).clamp(1, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, rows, values};

    /// (1, 4, 2, 1) at 50 %: 4 and 2 stay, s1 = 8, s2 = 6. A sign survives, zeros stay zeros.
    #[test]
    fn shapes_by_hand() {
        let found = values(&shaped(&rows(&[&[1.0, 4.0, 2.0, 1.0], &[1.0, -4.0, 2.0, 1.0], &[0.0; 4]]), 50.0));
        let e = (8.0_f64 / 6.0).exp();
        let expected = [[0.0, 4.0 * e, 2.0 * e, 0.0], [0.0, -4.0 * e, 2.0 * e, 0.0], [0.0; 4]].concat();
        assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn as_many_as_the_authors_keep_and_never_none() {
        assert_eq!([kept(512, 85.0), kept(2048, 85.0), kept(20, 85.0)], [76, 307, 3]);
        assert_eq!([kept(10, 90.0), kept(3, 99.0), kept(4, 0.0)], [1, 1, 4]);
    }

    /// Two equal logits: dL/dz = (−1/2, 1/2). The weight sees the shaped embedding, all else the embedding itself.
    #[test]
    fn gradients_by_hand() {
        let f = rows(&[&[1.0, 3.0]]).require_grad();
        let w = rows(&[&[3.0, 1.0], &[3.0, 1.0]]).require_grad();
        let b = rows(&[&[0.0, 0.0]]).require_grad();
        let z = logits(f.clone(), w.clone(), b.clone(), 50.0);
        assert_eq!(values(&z), [6.0, 6.0]);
        let gradients = cross_entropy::loss(z, labels(&[0])).backward();
        let of = |tensor: &Tensor<2>| values(&tensor.grad(&gradients).unwrap());
        let large = 1.5 * (4.0_f64 / 3.0).exp();
        assert!(of(&w).iter().zip([0.0, -large, 0.0, large]).all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", of(&w));
        assert_eq!((of(&b), of(&f)), (vec![-0.5, 0.5], vec![0.0, 0.0]));
    }

    #[test]
    fn every_other_gradient_is_that_of_cross_entropy() {
        let w = rows(&[&[0.5, -1.0, 0.2], &[1.0, 0.3, -0.4]]);
        let b = rows(&[&[0.1, -0.2]]);
        let f = rows(&[&[1.0, 0.2, 0.5], &[0.3, 0.9, 0.4]]);
        gradients_agree(f.clone(), |f| cross_entropy::loss(logits(f, w.clone(), b.clone(), 60.0), labels(&[0, 1])));
        gradients_agree(b.clone(), |b| cross_entropy::loss(logits(f.clone(), w.clone(), b, 60.0), labels(&[0, 1])));
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let [f, w, b] = ["rectified", "w", "b"].map(|name| golden.rows(name));
        let loss = cross_entropy::loss(logits(f.clone(), w.clone(), b.clone(), 85.0), golden.targets("labels"));
        golden.holds("ish", &loss, &[("rectified", f), ("w", w), ("b", b)]);
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        export_keeps_the_choice(&Ish::default());
    }
}
