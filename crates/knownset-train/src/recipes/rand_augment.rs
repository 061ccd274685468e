//! RandAugment: cross-entropy on pictures changed by operations drawn by chance.
//!
//! Cubuk et al., *RandAugment: Practical Automated Data Augmentation with a Reduced Search Space*, CVPR workshops 2020.
//! Loss: cross-entropy of the pictures after the usual crop and flip and n operations of magnitude m of 30, as the
//! augmentation `rand-augment` makes them. n is 1 and m is 14, as in OpenOOD's settings. No deviation.

use burn::tensor::Device;
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::augment::Augment;
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step, Views};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "rand-augment",
    title: "RandAugment",
    year: 2020,
    paper: "https://arxiv.org/abs/1909.13719",
    loss: "-log p_y at a picture changed by chance",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "n", doc: "operations on a picture, 1 to 16" },
        ParamDoc { name: "m", doc: "their magnitude, 0 to 30" },
    ],
    kind: classifier::<RandAugment>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RandAugment {
    n: u32,
    m: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        Self { n: 1, m: 14 }
    }
}

impl Recipe for RandAugment {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require((1..=16).contains(&self.n), "n", self.n.into(), "from 1 to 16")?;
        require(self.m <= 30, "m", self.m.into(), "from 0 to 30")
    }

    fn views(&self, standard: &Augment) -> Views {
        let changes: Augment = format!("rand-augment:n={}:m={}", self.n, self.m).parse().expect("checked parameters");
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
        let views = RandAugment::default().views(&Augment::crop_and_flip(4));
        let text = views.once.to_string();
        assert!(text.starts_with("crop:pad=4,flip,rand-augment:"), "{text}");
        assert_eq!(views.each, [Augment::default()]);
    }
}
