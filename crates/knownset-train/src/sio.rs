//! SIO: synthetic pictures of the known classes beside the real ones, around any recipe.
//!
//! Yang et al., *SIO: Synthetic In-Distribution Data Benefits Out-of-Distribution Detection*, 2023
//! (<https://arxiv.org/abs/2303.14531>). Loss: α · mean over real pictures + (1 − α) · mean over synthetic ones, of
//! whatever loss the recipe has. As in the paper's code the weights come from the batch's composition: ⌊αB⌋ real
//! pictures and B − ⌊αB⌋ synthetic ones, ⌈real / B⌉ steps an epoch, so that compute is that of the recipe alone.
//! Deviation: a pool of synthetic pictures that runs out is shuffled anew, where the paper's code goes on with smaller
//! batches of real pictures only.

use knownset_core::params::{ParamError, require};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use crate::recipes::{Kind, Outliers, ParamDoc, RecipeEntry};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "sio",
    title: "SIO",
    year: 2023,
    paper: "https://arxiv.org/abs/2303.14531",
    loss: "alpha · mean over real images + (1 - alpha) · mean over synthetic ones, of the loss of NAME in sio+NAME",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "alpha", doc: "share of the real images, 0 to 1; the controls 1 and 0 take one kind alone" },
        ParamDoc {
            name: "weighting",
            doc: "composition, of batches, as published; or explicit, factors of each kind's own loss, which the controls \
                  of `second` do not have",
        },
        ParamDoc {
            name: "second",
            doc: "synthetic (--synthetic), or a control in their place: redrawn, real images a second time; none, smaller \
                  batches",
        },
        ParamDoc { name: "exhaust", doc: "cycle, synthetic images that run out are seen again, or error" },
    ],
    kind: Kind::Wrapper,
};

/// How synthetic pictures are mixed in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sio {
    /// Share α of the real pictures, 0..1.
    pub alpha: f64,
    /// How α acts.
    pub weighting: Weighting,
    /// What the other pictures are; all but the first are controls.
    pub second: Second,
    /// What happens when the synthetic pictures do not last for an epoch.
    pub exhaust: Exhaust,
}

/// How α acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// By the batch's composition; the loss is its plain mean.
    Composition,
    /// As a factor of each source's own loss. The two sources pass the network apart, each with its own batch
    /// statistics.
    Explicit,
}

/// What the 1 − α of a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Second {
    /// Synthetic pictures.
    Synthetic,
    /// Real pictures drawn a second time: whatever this gains is not the pictures' merit.
    Redrawn,
    /// Nothing: smaller batches of real pictures.
    None,
}

/// What happens when the synthetic pictures do not last for an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exhaust {
    /// They are shuffled and seen again.
    Cycle,
    /// The run is refused.
    Error,
}

impl Default for Sio {
    /// The paper's α for CIFAR.
    fn default() -> Self {
        Self { alpha: 0.8, weighting: Weighting::Composition, second: Second::Synthetic, exhaust: Exhaust::Cycle }
    }
}

impl Sio {
    pub(crate) fn check(&self) -> Result<(), ParamError> {
        require((0.0..=1.0).contains(&self.alpha), "alpha", self.alpha, "between 0 and 1")?;
        if self.weighting == Weighting::Explicit && self.second != Second::Synthetic {
            let text = "`weighting=explicit` weighs synthetic images against real ones; `second` takes them away";
            return Err(serde_json::Error::custom(text).into());
        }
        Ok(())
    }

    /// Whether there must be synthetic pictures.
    pub(crate) fn wants_synthetic(&self) -> bool {
        self.second == Second::Synthetic && self.alpha < 1.0
    }

    /// Real pictures in a batch of `batch`: ⌊α · batch⌋, where a product that should be whole is.
    pub(crate) fn real(&self, batch: usize) -> usize {
        ((self.alpha * batch as f64 + 1e-9).floor() as usize).min(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_its_own_needs_two_kinds_of_pictures() {
        let explicit = Sio { weighting: Weighting::Explicit, ..Sio::default() };
        assert!(explicit.check().is_ok());
        for second in [Second::Redrawn, Second::None] {
            assert!(Sio { second, ..Sio::default() }.check().is_ok());
            let error = Sio { second, ..explicit }.check().unwrap_err().to_string();
            assert!(error.starts_with("`weighting=explicit` weighs synthetic images"), "{error}");
        }
        assert!(Sio { alpha: 1.1, ..explicit }.check().is_err());
    }
}
