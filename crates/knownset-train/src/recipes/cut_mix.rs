//! CutMix: pictures with a patch of another one.
//!
//! Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features*, ICCV 2019.
//! Loss: cross-entropy with the target λ at y and 1 − λ at y', where a patch of the share 1 − λ of x is that of x',
//! another picture of the batch; λ ~ Beta(β, β), corrected to what the patch covers, one patch a step. β is 1 and every
//! batch is mixed, as in OpenOOD's settings (the paper mixes half of CIFAR's batches: `probability` 0.5). No deviation.

use burn::tensor::Device;
use knownset_core::params::{ParamError, require};
use rand::RngExt;
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
        let mut images = batch.images();
        let (n, device) = (batch.len(), images.device());
        let [_, channels, side, _] = images.dims();
        let (others, mut lambda) = (partners(n, random, &device), 1.0);
        if random.random::<f64>() < self.probability {
            let share = beta(random, self.beta, self.beta);
            let patch = Patch::draw(random, side, share);
            lambda = patch.lambda(side);
            // A patch may be empty, and there is nothing to paste then.
            if lambda < 1.0 {
                let place = [0..n, 0..channels, patch.y0..patch.y1, patch.x0..patch.x1];
                let pasted = images.clone().select(0, others.clone()).slice(place.clone());
                images = images.slice_assign(place, pasted);
            }
        }
        let logits = network.trunk.classify(network.embed(images));
        let loss = of_mixtures(logits.clone(), batch.targets(&device), others, lambda);
        Step::new(loss, &logits, &batch.labels)
    }
}
