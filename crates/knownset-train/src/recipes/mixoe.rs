//! MixOE: between a known picture and an outlier, confidence is to fall as the known picture's share does.
//!
//! Zhang et al., *Mixture Outlier Exposure: Towards Out-of-Distribution Detection in Fine-grained Environments*, WACV
//! 2023. Loss: cross-entropy of the known pictures + β · cross-entropy of one mixture a picture with an outlier, whose
//! target is λ at the label plus (1 − λ) / K everywhere. λ ~ Beta(α, α), one a step; `cutmix` pastes a patch of the
//! outlier into the picture (Yun et al. 2019) and corrects λ to what it covers, `mixup` adds them up. α is 0.1 and β 1,
//! as in OpenOOD's settings.
//!
//! Deviations: OpenOOD draws λ from Beta(α, β), which makes nearly all mixtures outliers; the authors' code draws from
//! Beta(α, α), as done here. Both fine-tune a trained network; here training is from scratch.

use burn::tensor::{Device, Int, Tensor};
use knownset_core::params::{ParamError, require};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::mix::{Patch, beta};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "mixoe",
    title: "MixOE",
    year: 2023,
    paper: "https://arxiv.org/abs/2106.03917",
    loss: "-log p_y - β Σ_c (λ 1[c = y] + (1 - λ) / K) log p_c at a mixture λ x + (1 - λ) x'",
    outliers: Outliers::Required,
    params: &[
        ParamDoc { name: "mode", doc: "cutmix or mixup" },
        ParamDoc { name: "alpha", doc: "α, λ is drawn from Beta(α, α); above 0" },
        ParamDoc { name: "weight", doc: "β, weight of the mixtures' loss, at least 0" },
    ],
    kind: classifier::<MixOe>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MixOe {
    mode: Mode,
    alpha: f64,
    weight: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Cutmix,
    Mixup,
}

impl Default for MixOe {
    fn default() -> Self {
        Self { mode: Mode::Cutmix, alpha: 0.1, weight: 1.0 }
    }
}

impl Recipe for MixOe {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.alpha > 0.0, "alpha", self.alpha, "above 0")?;
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
    }

    fn outliers_per_picture(&self) -> f64 {
        1.0
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, moment: &Moment) -> Step {
        let images = batch.images();
        let logits = network.trunk.classify(network.embed(images.clone()));
        let targets = batch.targets(&logits.device());
        let loss = cross_entropy::loss(logits.clone(), targets.clone());
        let outliers = batch.outliers[0].clone().narrow(0, 0, batch.len());
        let (mixed, lambda) = self.mixed(images, outliers, &mut moment.random());
        let mixed = network.trunk.classify(network.embed(mixed));
        let soft = cross_entropy::soft_loss(mixed, towards_uniform(targets, batch.classes, lambda));
        Step::new(loss + soft * self.weight, &logits, &batch.labels)
    }
}

impl MixOe {
    /// Pictures `[n, 3, side, side]` mixed with as many outliers, and the pictures' share λ.
    fn mixed(&self, images: Tensor<4>, outliers: Tensor<4>, rng: &mut ChaCha8Rng) -> (Tensor<4>, f64) {
        let lambda = beta(rng, self.alpha, self.alpha);
        match self.mode {
            Mode::Mixup => (images * lambda + outliers * (1.0 - lambda), lambda),
            Mode::Cutmix => {
                let [n, channels, side, _] = images.dims();
                let patch = Patch::draw(rng, side, lambda);
                let place = [0..n, 0..channels, patch.y0..patch.y1, patch.x0..patch.x1];
                let lambda = patch.lambda(side);
                // A patch may be empty, and there is nothing to paste then.
                let mixed =
                    if lambda < 1.0 { images.slice_assign(place.clone(), outliers.slice(place)) } else { images };
                (mixed, lambda)
            }
        }
    }
}

/// Targets `[n, K]`: λ at the label plus (1 − λ) / K everywhere.
fn towards_uniform(labels: Tensor<1, Int>, classes: usize, lambda: f64) -> Tensor<2> {
    labels.one_hot::<2>(classes).float() * lambda + (1.0 - lambda) / classes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::stream;
    use crate::queue::values;
    use crate::testing::{golden, gradients_agree, number, rows};

    fn labels(labels: [i64; 2]) -> Tensor<1, Int> {
        Tensor::from_ints(labels, &Device::flex().autodiff())
    }

    /// λ = 0.4 over two classes: 0.7 at the label.
    #[test]
    fn targets_and_loss_by_hand() {
        let targets = towards_uniform(labels([0, 1]), 2, 0.4);
        let expected = [0.7, 0.3, 0.3, 0.7];
        assert!(values(targets.clone()).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
        let loss = number(&cross_entropy::soft_loss(rows(&[&[1.0, 0.0], &[0.0, 0.0]]), targets.clone()));
        let (e, log2) = (1.0_f64.exp(), 2.0_f64.ln());
        let first = -0.7 * (e / (1.0 + e)).ln() + 0.3 * (1.0 + e).ln();
        assert!((loss - f64::midpoint(first, log2)).abs() < 1e-6, "{loss}");
        gradients_agree(rows(&[&[1.0, 0.3], &[0.2, -0.4]]), |z| cross_entropy::soft_loss(z, targets.clone()));
        let ten = |lambda| towards_uniform(Tensor::from_ints([3, 1, 0, 3], &Device::flex().autodiff()), 4, lambda);
        golden("outliers").agrees("mixoe", ["logits"], |[logits]| cross_entropy::soft_loss(logits, ten(0.35)));
    }

    #[test]
    fn both_modes_mix_by_the_share_they_say() {
        let device = Device::flex().autodiff();
        let (known, outliers) = (Tensor::<4>::ones([2, 3, 8, 8], &device), Tensor::<4>::zeros([2, 3, 8, 8], &device));
        let mut partly = 0;
        for mode in [Mode::Cutmix, Mode::Mixup] {
            let recipe = MixOe { mode, alpha: 1.0, ..MixOe::default() };
            for draw in 0..40 {
                let rng = &mut stream(5, 0, draw);
                let (mixed, lambda) = recipe.mixed(known.clone(), outliers.clone(), rng);
                for channel in values(mixed).chunks(64) {
                    let share = channel.iter().sum::<f32>() / 64.0;
                    assert!((f64::from(share) - lambda).abs() < 1e-6, "{mode:?}: {share} {lambda}");
                    let pasted = channel.iter().all(|&pixel| pixel == 0.0 || pixel == 1.0);
                    assert!(pasted || matches!(mode, Mode::Mixup));
                }
                partly += usize::from(lambda > 0.0 && lambda < 1.0);
            }
        }
        assert!(partly > 50, "{partly}");
    }

    /// Beta(α, α) has the mean 1/2; OpenOOD's Beta(0.1, 1) has 0.09.
    #[test]
    fn mixtures_are_not_nearly_all_outliers() {
        let device = Device::flex().autodiff();
        let recipe = MixOe { mode: Mode::Mixup, ..MixOe::default() };
        let picture = Tensor::<4>::ones([1, 3, 1, 1], &device);
        let draws = (0..2000).map(|draw| recipe.mixed(picture.clone(), picture.clone(), &mut stream(1, 0, draw)).1);
        let mean = draws.sum::<f64>() / 2000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }
}
