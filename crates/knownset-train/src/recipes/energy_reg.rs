//! Energy-regularised learning: known pictures are to have an energy below m_in, outliers one above m_out.
//!
//! Liu et al., *Energy-based Out-of-distribution Detection*, NeurIPS 2020. With the energy E = −log Σ_c exp z_c the
//! loss is cross-entropy + λ · (mean over known pictures of max(0, E − m_in)² + mean over outliers of max(0, m_out −
//! E)²). λ is 0.1; the margins −25 and −7 are the defaults of the paper's code; two outliers come with every picture,
//! as in its batches. Deviation: the paper fine-tunes a trained network for ten epochs at a rate of 0.001; here
//! training is from scratch.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use knownset_core::params::{ParamError, require};
use serde::{Deserialize, Serialize};

use super::oe::{both, log_sum_exp};
use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::{Network, NoParts};
use crate::recipe::{Batch, Moment, Recipe, Step};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "energy-reg",
    title: "Energy-regularised learning",
    year: 2020,
    paper: "https://arxiv.org/abs/2010.03759",
    loss: "-log p_y + λ (max(0, E - m_in)² + max(0, m_out - E')²), E = -log Σ exp z",
    outliers: Outliers::Required,
    params: &[
        ParamDoc { name: "m-in", doc: "m_in, the energy known pictures are to stay below" },
        ParamDoc { name: "m-out", doc: "m_out, the energy outliers are to stay above" },
        ParamDoc { name: "weight", doc: "λ, weight of both hinges, at least 0" },
        ParamDoc { name: "ratio", doc: "outliers for every picture, above 0" },
    ],
    kind: classifier::<EnergyReg>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EnergyReg {
    m_in: f64,
    m_out: f64,
    weight: f64,
    ratio: f64,
}

impl Default for EnergyReg {
    fn default() -> Self {
        Self { m_in: -25.0, m_out: -7.0, weight: 0.1, ratio: 2.0 }
    }
}

impl Recipe for EnergyReg {
    type Parts = NoParts;

    fn check(&self) -> Result<(), ParamError> {
        require(self.m_in.is_finite(), "m-in", self.m_in, "a number")?;
        require(self.m_out >= self.m_in, "m-out", self.m_out, "at least m-in")?;
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")?;
        require(self.ratio > 0.0, "ratio", self.ratio, "above 0")
    }

    fn outliers_per_picture(&self) -> f64 {
        self.ratio
    }

    fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
        NoParts {}
    }

    fn step(&self, network: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
        let (known, outliers) = both(network, batch);
        let targets = batch.targets(&known.device());
        let loss = cross_entropy::loss(known.clone(), targets);
        let hinges = hinges(known.clone(), outliers, self.m_in, self.m_out);
        Step::new(loss + hinges * self.weight, &known, &batch.labels)
    }
}

/// Both squared hinges, for logits `[n, K]` of known pictures and `[m, K]` of outliers, a single number.
pub(crate) fn hinges(known: Tensor<2>, outliers: Tensor<2>, m_in: f64, m_out: f64) -> Tensor<1> {
    let above = relu(-log_sum_exp(known) - m_in);
    let below = relu(log_sum_exp(outliers) + m_out);
    above.powi_scalar(2).mean() + below.powi_scalar(2).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows};

    /// Energies −log 2 and −10 − log 2 of known pictures, the second far enough below −5; one outlier at −log 2,
    /// below 1.
    #[test]
    fn by_hand() {
        let loss = hinges(rows(&[&[0.0, 0.0], &[10.0, 10.0]]), rows(&[&[0.0, 0.0]]), -5.0, 1.0);
        let log2 = 2.0_f64.ln();
        let expected = (5.0 - log2).powi(2) / 2.0 + (1.0 + log2).powi(2);
        assert!((number(&loss) - expected).abs() < 1e-5, "{} {expected}", number(&loss));
        let nothing = hinges(rows(&[&[10.0, 10.0]]), rows(&[&[0.0, 0.0]]), -5.0, -2.0);
        assert_eq!(number(&nothing), 0.0);
    }

    #[test]
    fn gradients() {
        let outliers = || rows(&[&[0.5, 0.1, 0.4]]);
        let known = || rows(&[&[1.0, -0.5, 0.3], &[0.2, 2.0, -1.0]]);
        gradients_agree(known(), |known| hinges(known, outliers(), -5.0, 1.0));
        gradients_agree(outliers(), |outliers| hinges(known(), outliers, -5.0, 1.0));
        golden("outliers")
            .agrees("energy-reg", ["known", "outliers"], |[known, outliers]| hinges(known, outliers, -25.0, -7.0));
    }
}
