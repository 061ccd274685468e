//! Random temperature scaling: every picture has its own distribution of temperatures.
//!
//! Shang et al., *Improving Training and Inference of Face Recognition Models via Random Temperature Scaling*, AAAI 2023
//! (<https://arxiv.org/abs/2212.01015>), in OpenOOD's form. A linear layer with batch normalisation gives the logarithms
//! of `dof` variances σ²_j of a picture. Loss: cross-entropy of z / t with the temperature t = Σ_j σ²_j ε²_j / (dof − 2),
//! ε standard normal and drawn anew for every picture in every step, plus `kl` times the mean of (σ² − log σ² − 1) / 2.
//! With σ = 1 the mean of 1 / t is 1. Defaults are OpenOOD's: 32 degrees of freedom, `kl` 0.1; its gradients are cut to
//! a length of 2.5, which is the run's to set and not the recipe's. Exported parts: `rts.weight` `[dof, d]` and
//! `rts.bias` `[1, dof]`, the layer that gives log σ², normalisation included.
//!
//! Deviation: log σ² is what the layer gives, not log(exp(log σ²) + 1e-8).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step};
use crate::tensors::{LinearNorm, normals};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "rts",
    title: "Random temperature scaling",
    year: 2023,
    paper: "https://arxiv.org/abs/2212.01015",
    loss: "-log softmax(z / t)_y + kl mean((s - log s - 1) / 2), t = sum_j s_j e_j^2 / (dof - 2), e normal",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "dof", doc: "variances of a picture, 3 to 4096" },
        ParamDoc { name: "kl", doc: "weight that draws variances towards 1, at least 0" },
    ],
    kind: classifier::<Rts>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rts {
    dof: usize,
    kl: f64,
}

impl Default for Rts {
    fn default() -> Self {
        Self { dof: 32, kl: 0.1 }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    variance: LinearNorm,
}

impl Recipe for Rts {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        require((3..=4096).contains(&self.dof), "dof", self.dof as f64, "between 3 and 4096")?;
        require(self.kl >= 0.0 && self.kl.is_finite(), "kl", self.kl, "at least 0")
    }

    fn parts(&self, width: usize, _: usize, device: &Device) -> Parts {
        Parts { variance: LinearNorm::new(width, self.dof, device) }
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, moment: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let logarithms = network.parts.variance.forward(embedding.clone());
        let logits = network.trunk.classify(embedding);
        let shape = logarithms.dims();
        let noise = normals(&mut moment.random(), shape[0] * shape[1]);
        let noise = Tensor::from_data(TensorData::new(noise, shape), &logits.device());
        let targets = batch.targets(&logits.device());
        Step::new(loss(logits.clone(), logarithms, noise, targets, self.kl), &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        let [weight, bias] = LinearNorm::folded(tensors, "recipe.variance");
        tensors.insert("recipe.rts.weight".into(), weight);
        tensors.insert("recipe.rts.bias".into(), bias);
    }
}

/// The loss of logits `[n, K]` for labels `[n]`, with logarithms of variances and normal noise, both `[n, dof]`.
fn loss(logits: Tensor<2>, logarithms: Tensor<2>, noise: Tensor<2>, labels: Tensor<1, Int>, kl: f64) -> Tensor<1> {
    let [_, dof] = logarithms.dims();
    let variances = logarithms.clone().exp();
    let temperature = (variances.clone() * noise.square()).sum_dim(1) / (dof as f64 - 2.0);
    let divergence = (variances - logarithms - 1.0).mean() / 2.0;
    cross_entropy::loss(logits / temperature, labels) + divergence * kl
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, number, rows, step};

    /// σ² = (1, 2, 3), ε = (2, −1, 0): t = 6 / (3 − 2), and (0, 6) / 6 is (0, 1). The divergence is the mean of
    /// (σ² − log σ² − 1) / 2, (3 − log 6) / 6.
    #[test]
    fn by_hand() {
        let logarithms = [0.0, 2.0_f32.ln(), 3.0_f32.ln()];
        let noise = rows(&[&[2.0, -1.0, 0.0]]);
        let loss = loss(rows(&[&[0.0, 6.0]]), rows(&[&logarithms]), noise, labels(&[0]), 0.5);
        let expected = 1.0_f64.exp().ln_1p() + 0.5 * (3.0 - 6.0_f64.ln()) / 6.0;
        assert!((number(&loss) - expected).abs() < 1e-6);
    }

    #[test]
    fn gradients() {
        let z = rows(&[&[1.0, 2.0, -1.0], &[0.5, -1.0, 0.1]]);
        let l = rows(&[&[0.1, -0.3, 0.2, 0.5], &[0.0, 0.4, -0.6, 0.2]]);
        let noise = rows(&[&[1.0, -0.7, 1.3, 0.4], &[-0.9, 1.1, 0.8, -1.2]]);
        gradients_agree(z.clone(), |z| loss(z, l.clone(), noise.clone(), labels(&[0, 2]), 0.3));
        gradients_agree(l.clone(), |l| loss(z.clone(), l, noise.clone(), labels(&[0, 2]), 0.3));
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        let (z, l) = (golden.rows("z"), golden.rows("logarithms"));
        let loss = loss(z.clone(), l.clone(), golden.rows("noise"), golden.targets("labels"), 0.1);
        golden.holds("rts", &loss, &[("z", z), ("logarithms", l)]);
    }

    #[test]
    fn the_same_step_draws_the_same_temperatures() {
        let losses: Vec<f64> = (0..2).map(|_| number(&step(&Rts::default()).1.loss)).collect();
        assert_eq!(losses[0].to_bits(), losses[1].to_bits());
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        let tensors = export_keeps_the_choice(&Rts { dof: 5, ..Rts::default() });
        assert_eq!(tensors["recipe.rts.weight"].shape[0], 5);
        assert_eq!(tensors["recipe.rts.bias"].shape, [1, 5]);
        assert_eq!(tensors.keys().filter(|name| name.starts_with("recipe.")).count(), 2);
    }
}
