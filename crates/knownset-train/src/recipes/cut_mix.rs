//! CutMix: pictures with a patch of another one.
//!
//! Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features*, ICCV 2019.
//! Loss: cross-entropy with the target λ at y and 1 − λ at y', where a patch of the share 1 − λ of x is that of x',
//! another picture of the batch; λ ~ Beta(β, β), corrected to what the patch covers, one patch a step. β is 1 and every
//! batch is mixed, as in OpenOOD's settings (the paper mixes half of CIFAR's batches: `probability` 0.5). No deviation.

use burn::tensor::{Device, Int, Tensor};
use knownset_core::params::{ParamError, require};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::reg_mixup::{of_mixtures, partners};
use super::{Outliers, ParamDoc, RecipeEntry, classifier};
use crate::mix::{Patch, beta};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "cut-mix",
    title: "CutMix",
    year: 2019,
    paper: "https://arxiv.org/abs/1905.04899",
    loss: "-λ log p_y - (1 - λ) log p_y' at x with a patch of x'",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "beta", doc: "β, λ is drawn from Beta(β, β); above 0" },
        ParamDoc { name: "probability", doc: "share of the batches that are mixed, 0..1" },
    ],
    kind: classifier::<CutMix>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CutMix {
    beta: f64,
    probability: f64,
}

impl Default for CutMix {
    fn default() -> Self {
        Self { beta: 1.0, probability: 1.0 }
    }
}

impl Recipe for CutMix {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.beta > 0.0, "beta", self.beta, "above 0")?;
        require((0.0..=1.0).contains(&self.probability), "probability", self.probability, "between 0 and 1")
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, moment: &Moment) -> Step {
        let random = &mut moment.random();
        let images = batch.images();
        let device = images.device();
        let others = partners(batch.len(), random, &device);
        let (mixed, lambda) = self.mixed(images, &others, random);
        let logits = network.trunk.classify(network.embed(mixed));
        let loss = of_mixtures(logits.clone(), batch.targets(&device), others, lambda);
        Step::new(loss, &logits, &batch.labels)
    }
}

impl CutMix {
    /// Pictures `[n, 3, side, side]` with a patch of their partners, and the share λ that is left of each.
    fn mixed(&self, images: Tensor<4>, others: &Tensor<1, Int>, random: &mut ChaCha8Rng) -> (Tensor<4>, f64) {
        let [n, channels, side, _] = images.dims();
        if random.random::<f64>() >= self.probability {
            return (images, 1.0);
        }
        let share = beta(random, self.beta, self.beta);
        let patch = Patch::draw(random, side, share);
        let lambda = patch.lambda(side);
        // A patch may be empty, and there is nothing to paste then.
        if lambda == 1.0 {
            return (images, lambda);
        }
        let place = [0..n, 0..channels, patch.y0..patch.y1, patch.x0..patch.x1];
        let pasted = images.clone().select(0, others.clone()).slice(place.clone());
        (images.slice_assign(place, pasted), lambda)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::values;
    use crate::testing::{MOMENT, batch, has_targets_of_mixtures, network};

    /// The share of a picture's own pixels is λ, its label's share of the target, and that of its partner's 1 − λ.
    #[test]
    fn a_label_has_the_share_of_its_pixels() {
        let recipe = CutMix::default();
        let plane = 3 * 8 * 8;
        let mut lopsided = 0;
        for step in 0..12 {
            let moment = Moment { step, ..MOMENT };
            let mut network = network(&recipe);
            let learned = recipe.step(&mut network, &batch(), &moment);

            let (images, random) = (batch().images(), &mut moment.random());
            let others = partners(4, random, &images.device());
            let (mixed, lambda) = recipe.mixed(images.clone(), &others, random);
            let others: Vec<usize> = others.into_data().iter::<i64>().map(|other| other as usize).collect();
            let (before, after) = (values(images), values(mixed.clone()));
            for (place, &other) in others.iter().enumerate().filter(|&(place, &other)| place != other) {
                let share = |from: usize| {
                    let pixels = after[place * plane..].iter().zip(&before[from * plane..]).take(plane);
                    pixels.filter(|(after, before)| after == before).count() as f64 / plane as f64
                };
                assert!((share(place) - lambda).abs() < 1e-9, "{} {lambda}", share(place));
                assert!((share(other) - (1.0 - lambda)).abs() < 1e-9, "{} {lambda}", share(other));
                lopsided += usize::from((lambda - 0.5).abs() > 0.1);
            }
            has_targets_of_mixtures(&learned, &network, mixed, &others, lambda);
        }
        assert!(lopsided > 8, "shares near a half tell nothing: {lopsided}");
    }

    #[test]
    fn a_share_of_the_batches_stays_as_it_is() {
        let recipe = CutMix { probability: 0.5, ..CutMix::default() };
        let images = batch().images();
        let others = Tensor::<1, Int>::from_ints([1, 2, 3, 0], &images.device());
        let plain = |step| {
            let (mixed, lambda) = recipe.mixed(images.clone(), &others, &mut Moment { step, ..MOMENT }.random());
            assert_eq!(lambda == 1.0, values(mixed) == values(images.clone()));
            lambda == 1.0
        };
        let plain = (0..200).filter(|&step| plain(step)).count();
        assert!((80..150).contains(&plain), "{plain}: half of them, and those with an empty patch");
    }
}
