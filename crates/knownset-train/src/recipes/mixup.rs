//! Mixup: mixtures of two pictures in place of the pictures.
//!
//! Zhang et al., *mixup: Beyond Empirical Risk Minimization*, ICLR 2018. Loss: cross-entropy of mixtures λ x + (1 − λ) x'
//! with the target λ at y and 1 − λ at y'; x' is another picture of the batch, λ ~ Beta(α, α), one a step. α is 0.2, as
//! in OpenOOD's settings and among the paper's for ImageNet (for CIFAR it has 1). Accuracy while training is told at
//! mixtures, by the label with the larger share. No deviation.

use burn::tensor::Device;
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::reg_mixup::{Mixture, of_mixtures};
use super::{Outliers, ParamDoc, RecipeEntry, classifier};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "mixup",
    title: "Mixup",
    year: 2018,
    paper: "https://arxiv.org/abs/1710.09412",
    loss: "-λ log p_y - (1 - λ) log p_y' at λ x + (1 - λ) x'",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "alpha", doc: "α, λ is drawn from Beta(α, α); above 0" }],
    kind: classifier::<Mixup>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Mixup {
    alpha: f64,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { alpha: 0.2 }
    }
}

impl Recipe for Mixup {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.alpha > 0.0, "alpha", self.alpha, "above 0")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, moment: &Moment) -> Step {
        let Mixture { pictures, partners, lambda } = Mixture::draw(batch, moment, self.alpha);
        let logits = network.trunk.classify(network.embed(pictures));
        let loss = of_mixtures(logits.clone(), batch.targets(&logits.device()), partners.clone(), lambda);
        if lambda >= 0.5 {
            return Step::new(loss, &logits, &batch.labels);
        }
        let larger = partners.into_data().iter::<i64>().map(|other| batch.labels[other as usize]).collect::<Vec<_>>();
        Step::new(loss, &logits, &larger)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, Tensor, TensorData};

    use super::super::reg_mixup::{mixtures, partners};
    use super::*;
    use crate::mix::beta;
    use crate::queue::values;
    use crate::recipe::hits;
    use crate::testing::{MOMENT, gradients_agree, has_targets_of_mixtures, labels, network, number, rows};

    /// λ = 0.75: pictures filled with 1, 2 and 4, whose partners are filled with 2, 4 and 1. p = (3/4, 1/4) at the first
    /// of two labels and (1/2, 1/2) at the second. (The loss has its golden in `reg_mixup.rs`.)
    #[test]
    fn mixtures_and_their_loss_by_hand() {
        let filled = [1.0_f32, 2.0, 4.0].into_iter().flat_map(|value| [value; 12]).collect();
        let device = Device::flex().autodiff();
        let images = Tensor::<4>::from_data(TensorData::new(filled, [3, 3, 2, 2]), &device);
        let mixed = values(mixtures(images, Tensor::<1, Int>::from_ints([1, 2, 0], &device), 0.75));
        let expected = [1.25, 2.5, 3.25];
        assert!(mixed.chunks(12).zip(expected).all(|(picture, value)| picture.iter().all(|&pixel| pixel == value)));

        let of = |logits| of_mixtures(logits, labels(&[0, 1]), labels(&[1, 0]), 0.75);
        let logits = || rows(&[&[3.0_f32.ln(), 0.0], &[0.0, 0.0]]);
        let expected = f64::midpoint(0.75 * (4.0_f64 / 3.0).ln() + 0.25 * 4.0_f64.ln(), 2.0_f64.ln());
        assert!((number(&of(logits())) - expected).abs() < 1e-6);
        gradients_agree(logits(), of);
    }

    /// λ is told from the pixels: that of a picture and its partner are never equal. Hits count the label with the larger
    /// share.
    #[test]
    fn a_label_has_the_share_of_its_picture() {
        let recipe = Mixup { alpha: 1.0 };
        let plane = 3 * 8 * 8;
        let mut sides = [0; 2];
        for step in 0..12 {
            let moment = Moment { step, ..MOMENT };
            let mut network = network(&recipe);
            let batch = crate::testing::batch();
            let learned = recipe.step(&mut network, &batch, &moment);

            let random = &mut moment.random();
            let lambda = beta(random, 1.0, 1.0);
            let others = partners(4, random, &batch.images().device());
            let mixed = mixtures(batch.images(), others.clone(), lambda);
            let others: Vec<usize> = others.into_data().iter::<i64>().map(|other| other as usize).collect();
            let (before, after) = (values(batch.images()), values(mixed.clone()));
            for (place, &other) in others.iter().enumerate().filter(|&(place, &other)| place != other) {
                for pixel in 0..plane {
                    let [own, its, mixed] =
                        [before[place * plane + pixel], before[other * plane + pixel], after[place * plane + pixel]];
                    assert!((f64::from((mixed - its) / (own - its)) - lambda).abs() < 1e-3, "{own} {its} {mixed}");
                }
            }
            has_targets_of_mixtures(&learned, &network, mixed.clone(), &others, lambda);
            let larger = |place: usize| if lambda < 0.5 { others[place] } else { place };
            let larger: Vec<usize> = (0..4).map(larger).collect();
            assert_eq!(learned.hits, hits(&network.trunk.classify(network.embed(mixed)), &larger));
            sides[usize::from(lambda < 0.5)] += 1;
        }
        assert!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
    }
}
