//! Generalised ODIN: logits that are a quotient, what the class says over what the picture as such says.
//!
//! Hsu et al., *Generalized ODIN: Detecting Out-of-distribution Image without Learning from Out-of-distribution Data*,
//! CVPR 2020 (<https://arxiv.org/abs/2002.11297>). Loss: cross-entropy of h_c(f) / g(f), where g is the sigmoid of a
//! linear layer with batch normalisation and h_c is cos(w_c, f), w_c·f + b_c or −‖f − w_c‖². Weight decay spares h.
//! Training has no input perturbation; that belongs to the paper's score. h alone decides and is what is exported, as
//! a linear layer with the same choice: unit vectors without bias for the cosine (h_c = z_c / ‖f‖), 2 w_c and −‖w_c‖²
//! for the distance (h_c = z_c − ‖f‖²). Exported parts: `godin.kind` `[1, 1]` (0 inner, 1 cosine, 2 Euclidean),
//! `godin.weight` `[K, d]` and `godin.bias` `[1, K]`.
//!
//! Deviations from the public codes, none from the paper: the distance is a sum over dimensions, not their mean; cosines
//! have no 1e-4 added to lengths; and h's learning rate falls as everybody's, where OpenOOD's trainer leaves it as it
//! begins, its second schedule being tied to the first optimiser.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use knownset_nn::HostTensor;
use knownset_nn::network::{Init, Rule};
use serde::{Deserialize, Serialize};

use super::{Outliers, ParamDoc, RecipeEntry, classifier, cross_entropy};
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step};
use crate::tensors::{LinearNorm, row, take, unit_rows};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "g-odin",
    title: "G-ODIN",
    year: 2020,
    paper: "https://arxiv.org/abs/2002.11297",
    loss: "-log p_y with z_c = h_c(f) / g(f), g = sigmoid(BN(v f))",
    outliers: Outliers::None,
    params: &[ParamDoc { name: "h", doc: "how f is compared with a class: cosine, inner or euclidean" }],
    kind: classifier::<GOdin>(),
};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GOdin {
    h: Comparison,
}

/// How an embedding is compared with a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Comparison {
    #[default]
    Cosine,
    Inner,
    Euclidean,
}

impl Comparison {
    /// h `[n, K]` of embeddings `[n, d]`, with classes `[K, d]` and a bias `[1, K]`, of which only the inner product
    /// has use.
    fn apply(self, embedding: Tensor<2>, classes: Tensor<2>, bias: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Cosine => unit_rows(embedding).matmul(unit_rows(classes).transpose()),
            Self::Inner => embedding.matmul(classes.transpose()) + bias,
            Self::Euclidean => {
                let squares = embedding.clone().square().sum_dim(1);
                let class_squares = classes.clone().square().sum_dim(1).transpose();
                embedding.matmul(classes.transpose()) * 2.0 - squares - class_squares
            }
        }
    }

    /// How the part `godin.kind` says it.
    fn code(self) -> f32 {
        match self {
            Self::Inner => 0.0,
            Self::Cosine => 1.0,
            Self::Euclidean => 2.0,
        }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    /// Classes and bias; the backbone's own linear layer is not used.
    h: Linear,
    g: LinearNorm,
}

impl GOdin {
    fn h(&self, parts: &Parts, embedding: Tensor<2>) -> Tensor<2> {
        let weight = parts.h.weight.val().transpose();
        let [classes, _] = weight.dims();
        let bias = parts.h.bias.as_ref().map(|bias| bias.val().unsqueeze());
        let bias = bias.unwrap_or_else(|| Tensor::zeros([1, classes], &weight.device()));
        self.h.apply(embedding, weight, bias)
    }
}

impl Recipe for GOdin {
    type Parts = Parts;

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Parts {
        let h = LinearConfig::new(width, classes).with_bias(self.h == Comparison::Inner).init(device);
        Parts { h, g: LinearNorm::new(width, 1, device) }
    }

    /// He et al.'s normal distribution for h, as in the public codes.
    fn init(&self, name: &str, shape: &[usize]) -> Rule {
        match (name, shape) {
            ("recipe.h.weight", &[_, width]) => Rule::Set(Init::Normal((2.0 / width as f64).sqrt())),
            _ => Rule::ByShape,
        }
    }

    fn spared(&self) -> &'static [&'static str] {
        &["parts.h."]
    }

    fn logits(&self, network: &Network<Parts>, embedding: Tensor<2>) -> Tensor<2> {
        self.h(&network.parts, embedding)
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, _: &Moment) -> Step {
        let embedding = network.embed(batch.images());
        let g = network.parts.g.forward(embedding.clone());
        let logits = quotients(self.h(&network.parts, embedding), g);
        let targets = batch.targets(&logits.device());
        Step::new(cross_entropy::loss(logits.clone(), targets), &logits, &batch.labels)
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, head: &str) {
        let mut classes = take(tensors, "recipe.h.weight");
        let [count, width] = [classes.shape[0], classes.shape[1]];
        let (weight, bias) = match self.h {
            Comparison::Cosine => {
                classes.values.chunks_exact_mut(width).for_each(scale_to_one);
                (classes.values.clone(), vec![0.0; count])
            }
            Comparison::Inner => (classes.values.clone(), take(tensors, "recipe.h.bias").values),
            Comparison::Euclidean => {
                let doubled = classes.values.iter().map(|value| 2.0 * value).collect();
                (doubled, classes.values.chunks_exact(width).map(|row| -squares(row) as f32).collect())
            }
        };
        tensors.retain(|name, _| !name.starts_with("recipe.g."));
        let part_bias = if self.h == Comparison::Inner { bias.clone() } else { vec![0.0; count] };
        tensors.insert(format!("{head}.weight"), HostTensor { shape: vec![count, width], values: weight });
        tensors.insert(format!("{head}.bias"), HostTensor { shape: vec![count], values: bias });
        tensors.insert("recipe.godin.kind".into(), row(vec![self.h.code()]));
        tensors.insert("recipe.godin.weight".into(), classes);
        tensors.insert("recipe.godin.bias".into(), row(part_bias));
    }
}

/// h `[n, K]` over the sigmoid of what g's layer gives, `[n, 1]`.
fn quotients(h: Tensor<2>, g: Tensor<2>) -> Tensor<2> {
    h * ((-g).exp() + 1.0)
}

fn squares(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// Divides a row, unless it is zero, by its length.
fn scale_to_one(row: &mut [f32]) {
    let length = squares(row).sqrt();
    if length > 0.0 {
        for value in row {
            *value = (f64::from(*value) / length) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;

    use super::*;
    use crate::optimiser::{Decays, Optimiser};
    use crate::testing::{export_keeps_the_choice, golden, gradients_agree, labels, network, number, rows, values};

    const KINDS: [(Comparison, &str); 3] =
        [(Comparison::Cosine, "cosine"), (Comparison::Inner, "inner"), (Comparison::Euclidean, "euclidean")];

    /// f = (3, 4) against (0, 2) and (1, 1) with biases 1 and 0.
    #[test]
    fn comparisons_by_hand() {
        for (kind, expected) in [
            (Comparison::Cosine, [0.8, 7.0 / (5.0 * 2.0_f64.sqrt())]),
            (Comparison::Inner, [9.0, 7.0]),
            (Comparison::Euclidean, [-13.0, -13.0]),
        ] {
            let h = kind.apply(rows(&[&[3.0, 4.0]]), rows(&[&[0.0, 2.0], &[1.0, 1.0]]), rows(&[&[1.0, 0.0]]));
            let h = values(&h);
            assert!(h.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{kind:?} {h:?}");
        }
    }

    /// sigmoid(log 3) = 3/4, so h = (3, 0) becomes (4, 0).
    #[test]
    fn quotients_by_hand() {
        let logits = quotients(rows(&[&[3.0, 0.0]]), rows(&[&[3.0_f32.ln()]]));
        assert!((number(&cross_entropy::loss(logits, labels(&[1]))) - (4.0 + (-4.0_f64).exp().ln_1p())).abs() < 1e-5);
    }

    #[test]
    fn gradients() {
        let w = rows(&[&[0.5, -1.0, 0.2], &[1.0, 0.3, -0.4]]);
        let f = rows(&[&[1.0, 0.2, -0.5], &[0.3, 0.9, 0.4]]);
        let g = rows(&[&[0.4], &[-0.3]]);
        for (kind, _) in KINDS {
            let loss = |f: Tensor<2>, w: Tensor<2>, g: Tensor<2>| {
                let logits = quotients(kind.apply(f, w, rows(&[&[0.1, -0.2]])), g);
                cross_entropy::loss(logits, labels(&[0, 1]))
            };
            gradients_agree(f.clone(), |f| loss(f, w.clone(), g.clone()));
            gradients_agree(w.clone(), |w| loss(f.clone(), w, g.clone()));
            gradients_agree(g.clone(), |g| loss(f.clone(), w.clone(), g));
        }
    }

    #[test]
    fn as_pytorch() {
        let golden = golden("heads");
        for (kind, name) in KINDS {
            let [f, w, b, s] = ["f", "w", "b", "s"].map(|name| golden.rows(name));
            let logits = quotients(kind.apply(f.clone(), w.clone(), b.clone()), s.clone());
            let loss = cross_entropy::loss(logits, golden.targets("labels"));
            let mut inputs = vec![("f", f), ("w", w), ("s", s)];
            if kind == Comparison::Inner {
                inputs.push(("b", b));
            }
            golden.holds(&format!("g-odin-{name}"), &loss, &inputs);
        }
    }

    /// A step whose gradients are zero leaves nothing but weight decay: lr · decay = 1/2 is taken from g, not from h.
    #[test]
    fn weight_decay_spares_h_alone() {
        let recipe = GOdin::default();
        let network = network(&recipe);
        let sgd = Optimiser::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.5, decays: Decays::All };
        let weights = |network: &Network<Parts>| knownset_nn::network::to_weights(network).into_tensors();
        let before = weights(&network);
        let nothing = recipe.h(&network.parts, Tensor::zeros([1, network.trunk.width()], &Device::flex().autodiff()));
        let g = network.parts.g.forward(Tensor::zeros([2, network.trunk.width()], &nothing.device()));
        let gradients = GradientsParams::from_grads((nothing.sum() * 0.0 + g.sum() * 0.0).backward(), &network);
        let after = weights(&sgd.init(recipe.spared()).step(1.0, network, gradients));
        let of = |name: &str| (before[name].values[0], after[name].values[0]);
        let (h, g) = (of("recipe.h.weight"), of("recipe.g.linear.weight"));
        assert_eq!(h.0, h.1);
        assert!((g.1 - g.0 / 2.0).abs() < 1e-6 && g.0 != 0.0, "{g:?}");
    }

    #[test]
    fn the_exported_head_chooses_as_the_recipe() {
        for (h, code) in KINDS.map(|(kind, _)| (kind, kind.code())) {
            let tensors = export_keeps_the_choice(&GOdin { h });
            assert_eq!(tensors["recipe.godin.kind"], row(vec![code]));
            let parts = tensors.keys().filter(|name| name.starts_with("recipe."));
            assert_eq!(parts.count(), 3);
            if h == Comparison::Cosine {
                let width = tensors["fc.weight"].shape[1];
                for class in tensors["fc.weight"].values.chunks(width) {
                    assert!((squares(class) - 1.0).abs() < 1e-6);
                }
                assert_eq!(tensors["fc.weight"], tensors["recipe.godin.weight"]);
            }
        }
    }
}
