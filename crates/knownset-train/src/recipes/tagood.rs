//! TagOOD: a small transformer over an image's tokens learns classes and their centres.
//!
//! Li et al., *TagOOD: A Novel Approach to Out-of-Distribution Detection via Vision-Language Representations and Class
//! Center Learning*, ACM MM 2024. A frozen network gives an image's tokens; a head of two transformer blocks turns them
//! into an embedding f (its class token) and logits z. f is split into G groups g of w/G dimensions, and so are the
//! centres C of the classes. Loss, clamped to 1e-5..1e3:
//!
//! 0.1 · mean Σ_g ‖f_g − C_y,g‖² G/w − mean log softmax(z)_y,
//!
//! C held still; then C_y ← 0.999 C_y + 0.001 f. Groups divide the loss by a constant only; they matter to the score, the
//! detector `tagood`: the mean over groups of cosines with the nearest centre. 100 epochs of batches of 256, AdamW with
//! decay 5e-4 at the rate 0.01, half a cosine down to 1e-5. Reference: the authors' `classifier_training_ema.py` and
//! `models/classifier.py`.
//!
//! Deviations: **where a class has several images in a batch**, the code moves its centre towards one of them, whichever
//! was written last; this moves it once, towards their mean. One forward pass gives both terms, not two with different
//! dropout. **All tokens are used, of known and unknown images alike**: the authors keep, in training, those that RAM
//! attends to for a known tag, and recommend all of them for the test; their code treats images differently by the set
//! they come from, which tells the answer. The score has no tag's probability for the same reason. The code's run ends one
//! epoch short of its schedule. Centres begin with normal numbers, as there; where a run has few steps, these wear off
//! only with a lower momentum.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::params::{ParamError, read, require};
use knownset_core::parts::{CENTRES, GROUPS};
use knownset_nn::HostTensor;
use knownset_nn::network::{Init, Named, Rule, TokenHead, TokenHeadSpec, token_head_init};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Kind, Outliers, ParamDoc, RecipeEntry, cross_entropy};
use crate::network::{Kept, keep, kept};
use crate::optimiser::{Decays, Optimiser};
use crate::recipe::{Moment, Step};
use crate::tensors::row;

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "tagood",
    title: "TagOOD",
    year: 2024,
    paper: "https://arxiv.org/abs/2408.15566",
    loss: "-log softmax(z)_y + weight · sum_g |f_g - C_yg|^2 G/w, f from a frozen tower's patches, C centres of classes",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "width", doc: "w, length of f; 0 for that of the patches' features" },
        ParamDoc { name: "depth", doc: "transformer blocks, at least 1" },
        ParamDoc { name: "heads", doc: "attention heads, which divide the width" },
        ParamDoc { name: "groups", doc: "G, groups of f's dimensions, which divide the width" },
        ParamDoc { name: "dropout", doc: "share of values that a step leaves out, at least 0 and below 1" },
        ParamDoc { name: "weight", doc: "of the distance to the centres, 0 or more" },
        ParamDoc { name: "momentum", doc: "how much of a centre stays in a step, at least 0 and below 1" },
    ],
    kind: Kind::Tokens(|params| {
        let recipe: TagOod = read(params)?;
        recipe.check()?;
        let params = serde_json::to_value(&recipe)?;
        Ok((recipe, params))
    }),
};

/// Passes over the training images.
pub(crate) const EPOCHS: usize = 100;
/// Images per batch.
pub(crate) const BATCH: usize = 256;
/// The first learning rate and the last.
pub(crate) const RATES: (f64, f64) = (0.01, 1e-5);
/// PyTorch's AdamW with the paper's decay.
pub(crate) const ADAM: Optimiser =
    Optimiser::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 5e-4, decays: Decays::All };
/// What the loss is clamped to.
const CLAMP: (f64, f64) = (1e-5, 1e3);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct TagOod {
    width: usize,
    depth: usize,
    heads: usize,
    groups: usize,
    dropout: f64,
    weight: f64,
    momentum: f64,
}

impl Default for TagOod {
    fn default() -> Self {
        Self { width: 0, depth: 2, heads: 8, groups: 4, dropout: 0.1, weight: 0.1, momentum: 0.999 }
    }
}

/// The head and the centres `[K, w]` of its classes.
#[derive(Module, Debug)]
pub(crate) struct Centred {
    pub(crate) head: TokenHead,
    centres: Kept<2>,
}

impl Named for Centred {
    fn checkpoint_name(&self, path: &[String]) -> String {
        match path.split_first() {
            Some((first, rest)) if first == "head" => self.head.checkpoint_name(rest),
            _ => format!("recipe.{}", path.join(".")),
        }
    }
}

impl TagOod {
    fn check(&self) -> Result<(), ParamError> {
        require(self.depth >= 1, "depth", self.depth as f64, "at least 1")?;
        require(self.heads >= 1, "heads", self.heads as f64, "at least 1")?;
        require(self.groups >= 1, "groups", self.groups as f64, "at least 1")?;
        require((0.0..1.0).contains(&self.dropout), "dropout", self.dropout, "at least 0 and below 1")?;
        require(self.weight >= 0.0 && self.weight.is_finite(), "weight", self.weight, "0 or more")?;
        require((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "at least 0 and below 1")
    }

    /// The head for `tokens` tokens of length `inputs`.
    ///
    /// # Errors
    /// Heads or groups that do not divide its width.
    pub(crate) fn spec(&self, tokens: usize, inputs: usize, classes: usize) -> Result<TokenHeadSpec, ParamError> {
        let width = if self.width == 0 { inputs } else { self.width };
        let divides = |count: usize| width.is_multiple_of(count);
        require(divides(self.heads), "heads", self.heads as f64, "a divisor of the width")?;
        require(divides(self.groups), "groups", self.groups as f64, "a divisor of the width")?;
        Ok(TokenHeadSpec { inputs, tokens, width, depth: self.depth, heads: self.heads, classes })
    }

    /// A head of these sizes, and centres, with values yet to be set.
    pub(crate) fn network(spec: &TokenHeadSpec, device: &Device) -> Centred {
        let centres = Param::from_tensor(Tensor::zeros([spec.classes, spec.width], device));
        Centred { head: TokenHead::new(spec, device), centres }
    }

    /// How a tensor begins.
    pub(crate) fn init(name: &str, shape: &[usize]) -> Rule {
        if name.strip_prefix("recipe.") == Some(CENTRES) {
            return Rule::Set(Init::Normal(1.0));
        }
        token_head_init(name, shape)
    }

    /// The loss of tokens `[n, P, inputs]`, and a move of the centres.
    pub(crate) fn step(&self, network: &mut Centred, tokens: Tensor<3>, labels: &[usize], moment: &Moment) -> Step {
        let mut random = moment.random();
        let stays = (1.0 / (1.0 - self.dropout)) as f32;
        let mut factors = |count: usize| -> Vec<f32> {
            (0..count).map(|_| if random.random::<f32>() < self.dropout as f32 { 0.0 } else { stays }).collect()
        };
        let embedding = if self.dropout > 0.0 {
            network.head.embed_dropping(tokens, &mut factors)
        } else {
            network.head.embed(tokens)
        };
        let logits = network.head.classify(embedding.clone());
        let centres = kept(&network.centres);
        let loss = self.loss(embedding.clone(), logits.clone(), &centres, labels);
        keep(&mut network.centres, moved(centres, &embedding.detach(), labels, self.momentum));
        Step::new(loss, &logits, labels)
    }

    /// The loss of embeddings `[n, w]` and logits `[n, K]`; centres `[K, w]`.
    fn loss(&self, embedding: Tensor<2>, logits: Tensor<2>, centres: &Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let targets: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
        let targets = Tensor::from_data(TensorData::new(targets, [labels.len()]), &logits.device());
        let own = centres.clone().select(0, targets.clone());
        let loss = distance(embedding, own, self.groups) * self.weight + cross_entropy::loss(logits, targets);
        loss.clamp(CLAMP.0, CLAMP.1)
    }

    /// What the file holds beside the trained tensors.
    pub(crate) fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, tower: Option<&str>) {
        tensors.insert(format!("recipe.{GROUPS}"), row(vec![self.groups as f32]));
        tensors.extend(knownset_nn::token_head_facts(self.heads, tower));
    }
}

/// The mean over rows of the squared distances of `[n, w]` and `[n, w]`, each group's divided by its dimensions.
fn distance(embedding: Tensor<2>, own: Tensor<2>, groups: usize) -> Tensor<1> {
    let [n, width] = embedding.dims();
    (embedding - own).square().sum() * (groups as f64 / (n * width) as f64)
}

/// Centres `[K, w]` after embeddings `[n, w]` of these classes: each is `momentum` of itself and for the rest the mean of
/// its class's rows; one without a row stays.
fn moved(centres: Tensor<2>, embedding: &Tensor<2>, labels: &[usize], momentum: f64) -> Tensor<2> {
    let [classes, _] = centres.dims();
    let mut counts = vec![0_usize; classes];
    for &label in labels {
        counts[label] += 1;
    }
    // Column b of row c: the share of image b in the mean of class c, times what a step takes of it.
    let mut shares = vec![0.0_f32; classes * labels.len()];
    for (image, &label) in labels.iter().enumerate() {
        shares[label * labels.len() + image] = ((1.0 - momentum) / counts[label] as f64) as f32;
    }
    let stays: Vec<f32> = counts.iter().map(|&count| if count == 0 { 1.0 } else { momentum as f32 }).collect();
    let device = centres.device();
    let shares: Tensor<2> = Tensor::from_data(TensorData::new(shares, [classes, labels.len()]), &device);
    let stays: Tensor<2> = Tensor::from_data(TensorData::new(stays, [classes, 1]), &device);
    centres * stays + shares.matmul(embedding.clone())
}

#[cfg(test)]
mod tests {
    use knownset_nn::network::initialise_with;

    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows, values};

    /// Two groups of two dimensions: differences (1, 2 | 0, 2) and (0, 0 | 0, 4) of two images, so
    /// ((1 + 4) / 2 + 4 / 2 + 16 / 2) / 2 = 6.25; as one group ((1 + 4 + 4) / 4 + 16 / 4) / 2 = 3.125.
    #[test]
    fn distances_by_hand() {
        let embedding = rows(&[&[2.0, 2.0, 1.0, 3.0], &[1.0, 0.0, 1.0, 5.0]]);
        let own = rows(&[&[1.0, 0.0, 1.0, 1.0], &[1.0, 0.0, 1.0, 1.0]]);
        for (groups, expected) in [(2, 6.25), (1, 3.125)] {
            let found = number(&distance(embedding.clone(), own.clone(), groups));
            assert!((found - expected).abs() < 1e-6, "{groups}: {found}");
        }
    }

    /// Momentum 0.75. Class 0 has two images, (4, 0) and (8, 2), their mean (6, 1): 0.75 (2, 2) + 0.25 (6, 1). Class 1 has
    /// none. Class 2 has one: 0.75 (0, −4) + 0.25 (1, 1).
    #[test]
    fn a_centre_moves_once_towards_the_mean_of_its_images() {
        let centres = rows(&[&[2.0, 2.0], &[5.0, 5.0], &[0.0, -4.0]]);
        let images = rows(&[&[4.0, 0.0], &[1.0, 1.0], &[8.0, 2.0]]);
        let after = values(&moved(centres.clone(), &images, &[0, 2, 0], 0.75));
        for (found, expected) in after.iter().zip([3.0, 1.75, 5.0, 5.0, 0.25, -2.75]) {
            assert!((found - expected).abs() < 1e-6, "{after:?}");
        }
        let swapped = rows(&[&[8.0, 2.0], &[1.0, 1.0], &[4.0, 0.0]]);
        assert_eq!(after, values(&moved(centres, &swapped, &[0, 2, 0], 0.75)), "no image is the last one");
    }

    #[test]
    fn the_loss_is_clamped() {
        let recipe = TagOod { groups: 1, ..TagOod::default() };
        let (far, near) = (rows(&[&[1e3, 0.0]]), rows(&[&[0.0, 0.0]]));
        let loss =
            |embedding, logits| number(&recipe.loss(embedding, logits, &rows(&[&[0.0, 0.0], &[0.0, 0.0]]), &[0]));
        assert_eq!(loss(far, rows(&[&[0.0, 0.0]])), 1e3);
        assert!((loss(near.clone(), rows(&[&[90.0, -90.0]])) - 1e-5).abs() < 1e-12);
        assert!((loss(near, rows(&[&[0.0, 0.0]])) - 2.0_f64.ln()).abs() < 1e-6);
    }

    const CENTRE_ROWS: [&[f32]; 3] = [&[0.5, -0.2, 0.1, 1.0], &[1.0, 0.0, -1.0, 0.3], &[0.2, 0.2, 0.4, 0.0]];

    #[test]
    fn gradients() {
        let recipe = TagOod { groups: 2, weight: 0.7, ..TagOod::default() };
        let centres = rows(&CENTRE_ROWS);
        let at = rows(&[&[1.0, -0.5, 0.3, 0.8], &[0.2, 2.0, -0.4, 0.1]]);
        // Logits that depend on the embedding as a classifier's do.
        let classifier = rows(&CENTRE_ROWS).transpose();
        gradients_agree(at, |embedding| {
            let logits = embedding.clone().matmul(classifier.clone());
            recipe.loss(embedding, logits, &centres, &[2, 0])
        });
    }

    /// The authors' loss of a batch in PyTorch, and their centres after it where no class comes twice.
    #[test]
    fn the_reference_agrees() {
        let golden = golden("tagood");
        let labels = golden.labels("tagood.labels");
        let centres = golden.tensor::<2>("tagood.centres");
        let recipe = TagOod::default();
        golden.agrees("tagood", ["embedding", "logits"], |[embedding, logits]| {
            recipe.loss(embedding, logits, &centres, &labels)
        });
        let (once, twice) = (golden.labels("tagood.once"), &labels);
        assert!((1..labels.len()).any(|image| labels[..image].contains(&labels[image])), "a class comes twice");
        for (labels, expected) in [(&once, "tagood.after-once"), (twice, "tagood.after-twice")] {
            let found = values(&moved(centres.clone(), &golden.tensor("tagood.embedding"), labels, 0.999));
            let expected = values(&golden.tensor::<2>(expected));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn a_step_moves_the_centres_and_drops_by_the_moment_alone() {
        let device = Device::flex().autodiff();
        let recipe = TagOod { dropout: 0.5, momentum: 0.5, ..TagOod::default() };
        let spec = recipe.spec(3, 16, 2).unwrap();
        let tokens: Vec<f32> = (0..2 * 3 * 16).map(|place| (place * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let tokens: Tensor<3> = Tensor::from_data(TensorData::new(tokens, [2, 3, 16]), &device);
        let run = |step: usize, dropout: f64| {
            let mut network = initialise_with(TagOod::network(&spec, &device), 1, TagOod::init);
            let before = values(&kept(&network.centres));
            let recipe = TagOod { dropout, ..recipe.clone() };
            let moment = Moment { epoch: 1, epochs: 2, step, seed: 7 };
            let loss = recipe.step(&mut network, tokens.clone(), &[1, 1], &moment).loss;
            let gradients = loss.backward();
            assert!(network.centres.val().grad(&gradients).is_none(), "no optimiser moves the centres");
            let after = values(&kept(&network.centres));
            assert_eq!(before[..16], after[..16], "the class without an image");
            assert!(before[16..].iter().zip(&after[16..]).all(|(before, after)| before != after));
            number(&loss)
        };
        assert_eq!(run(0, 0.5).to_bits(), run(0, 0.5).to_bits());
        assert_ne!(run(0, 0.5).to_bits(), run(1, 0.5).to_bits(), "another step, other masks");
        assert_eq!(run(0, 0.0).to_bits(), run(1, 0.0).to_bits(), "nothing else is by chance");
        assert_ne!(run(0, 0.5).to_bits(), run(0, 0.0).to_bits());
    }

    #[test]
    fn sizes_follow_the_tokens_and_must_divide() {
        let spec = TagOod::default().spec(64, 128, 10).unwrap();
        assert_eq!((spec.width, spec.inputs, spec.tokens), (128, 128, 64));
        assert_eq!(TagOod { width: 512, ..TagOod::default() }.spec(64, 128, 10).unwrap().width, 512);
        let error = TagOod::default().spec(64, 100, 10).unwrap_err().to_string();
        assert_eq!(error, "`heads` must be a divisor of the width, but is 8");
        let error = TagOod { heads: 1, groups: 3, ..TagOod::default() }.spec(64, 100, 10).unwrap_err().to_string();
        assert_eq!(error, "`groups` must be a divisor of the width, but is 3");
    }
}
