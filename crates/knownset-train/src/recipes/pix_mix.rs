//! PixMix: cross-entropy on pictures mixed with pictures of fractals.
//!
//! Hendrycks et al., *PixMix: Dreamlike Pictures Comprehensively Improve Safety Measures*, CVPR 2022. Loss:
//! cross-entropy of the pictures after the usual crop and flip and up to k rounds of mixing, as the augmentation
//! `pix-mix` makes them. k is 4 and β 3, as in the paper. Deviation: the mixing set is the project's own fractals,
//! drawn when they are needed, without the paper's feature visualisations.

use burn::tensor::Device;
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::augment::Augment;
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step, Views};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "pix-mix",
    title: "PixMix",
    year: 2022,
    paper: "https://arxiv.org/abs/2112.05135",
    loss: "-log p_y at a picture mixed with fractals",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "k", doc: "the most rounds of mixing, at most 32" },
        ParamDoc { name: "beta", doc: "β, weight of what is there against what comes in, 0.1 to 100" },
        ParamDoc { name: "severity", doc: "strength of the augmentations, 0.1 to 10" },
    ],
    kind: classifier::<PixMix>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PixMix {
    k: u32,
    beta: f64,
    severity: f64,
}

impl Default for PixMix {
    fn default() -> Self {
        Self { k: 4, beta: 3.0, severity: 3.0 }
    }
}

impl Recipe for PixMix {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.k <= 32, "k", self.k.into(), "at most 32")?;
        require((0.1..=100.0).contains(&self.beta), "beta", self.beta, "from 0.1 to 100")?;
        require((0.1..=10.0).contains(&self.severity), "severity", self.severity, "from 0.1 to 10")
    }

    fn views(&self, standard: &Augment) -> Views {
        let changes: Augment = format!("pix-mix:k={}:beta={}:severity={}", self.k, self.beta, self.severity)
            .parse()
            .expect("checked parameters");
        Views::one(standard.then(&changes))
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        cross_entropy::step(network, batch, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_changed_after_the_usual_augmentation() {
        let views = PixMix::default().views(&Augment::crop_and_flip(4));
        let text = views.once.to_string();
        assert!(text.starts_with("crop:pad=4,flip,pix-mix:"), "{text}");
        assert_eq!(views.each, [Augment::default()]);
    }
}
