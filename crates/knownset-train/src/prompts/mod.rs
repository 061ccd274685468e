//! Learning prompts for a pair of frozen towers: a few vectors that take the place of "a photo of a".

mod chosen;
mod context;
mod run;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt::Debug;

use burn::tensor::{Tensor, TensorData};
use knownset_core::params::ParamError;

pub use chosen::{ChosenPrompts, Learned, Prompting};
pub(crate) use context::Layout;

use crate::optimiser::{Decays, Optimiser};
use crate::recipes::cross_entropy;

/// A way to learn prompts. The type's values are the recipe's parameters.
pub(crate) trait PromptRecipe: Debug + Send + Sync {
    /// Whether the parameters are in range.
    fn check(&self) -> Result<(), ParamError>;

    /// Training images of each class, 0 for all.
    fn shots(&self) -> usize;

    /// What is learned, one after the other; first the classes' prompts, one of each.
    fn stages(&self) -> Vec<Stage>;

    /// Whether the loss reads the images' patches.
    fn reads_patches(&self) -> bool {
        false
    }

    /// The loss of a step of the stage of that number, a single number.
    fn loss(&self, stage: usize, seen: &Seen) -> Tensor<1>;
}

/// Something that is learned, and how the paper does it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name among the prompts of the known set.
    pub name: &'static str,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per batch.
    pub batch: usize,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// The highest learning rate.
    pub lr: f64,
    pub(crate) layout: Layout,
    pub(crate) start: Start,
}

/// Values that vectors begin with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// Normal about 0 with this standard deviation.
    Normal(f64),
    /// Those that the first stage learned, each prompt moved by uniform noise between minus and plus this.
    First(f64),
}

/// CoOp's optimiser.
pub(crate) const SGD: Optimiser =
    Optimiser::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4, decays: Decays::All };

/// What a step sees. Every row has length one.
pub(crate) struct Seen {
    /// `[n, d]`: the images.
    pub(crate) images: Tensor<2>,
    /// `[n, P, d]`: their patches, for a recipe that reads them.
    pub(crate) patches: Option<Tensor<3>>,
    /// The images' classes.
    pub(crate) labels: Vec<usize>,
    /// `[R * K, d]`: the prompts that are being learned, row r * K + k being class k in its r-th.
    pub(crate) prompts: Tensor<2>,
    /// `[K, d]`: the classes' prompts, themselves or as the first stage left them.
    pub(crate) classes: Tensor<2>,
    /// What the towers multiply cosines by.
    pub(crate) scale: f64,
}

impl Seen {
    /// Number of classes K.
    pub(crate) fn count(&self) -> usize {
        self.classes.dims()[0]
    }

    /// `[n, K]`: cosines of the images with the classes.
    pub(crate) fn cosines(&self) -> Tensor<2> {
        self.images.clone().matmul(self.classes.clone().transpose())
    }

    /// The r-th prompt of every class, `[K, d]`.
    pub(crate) fn round(&self, r: usize) -> Tensor<2> {
        let classes = self.count();
        self.prompts.clone().narrow(0, r * classes, classes)
    }

    /// The mean cross-entropy of logits `[n, K]`.
    pub(crate) fn cross_entropy(&self, logits: Tensor<2>) -> Tensor<1> {
        let labels: Vec<i64> = self.labels.iter().map(|&label| label as i64).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [self.labels.len()]), &logits.device());
        cross_entropy::loss(logits, labels)
    }
}

/// The mean over rows of the cosines of rows of length one, a single number.
pub(crate) fn alike(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [n, _] = a.dims();
    (a * b).sum() / n as f64
}
