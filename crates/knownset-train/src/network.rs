//! The network a recipe trains: a backbone, and whatever the recipe adds.

use burn::module::{Module, ModuleDisplay, Param};
use burn::tensor::Tensor;
use knownset_nn::Precision;
use knownset_nn::network::{Named, Trunk};

/// A backbone with a recipe's own parts.
///
/// In weights files the backbone's tensors have their checkpoint's names and the others `recipe.` before theirs.
#[derive(Module, Debug)]
pub(crate) struct Network<P: Module + ModuleDisplay> {
    pub(crate) trunk: Trunk,
    pub(crate) parts: P,
    /// What the backbone computes in.
    #[module(skip)]
    pub(crate) precision: Precision,
}

impl<P: Module + ModuleDisplay> Network<P> {
    /// `[n, 3, side, side]` → `[n, d]`.
    pub(crate) fn embed(&self, images: Tensor<4>) -> Tensor<2> {
        self.trunk.embed(images.cast(self.precision.float()))
    }
}

impl<P: Module + ModuleDisplay> Named for Network<P> {
    fn checkpoint_name(&self, path: &[String]) -> String {
        match path.split_first() {
            Some((first, rest)) if first == "trunk" => self.trunk.checkpoint_name(rest),
            Some((_, rest)) => format!("recipe.{}", rest.join(".")),
            None => String::new(),
        }
    }
}

/// No parts.
#[derive(Module, Debug)]
pub(crate) struct NoParts {}

/// A tensor that a recipe keeps and changes itself, as a class's centre: saved with the weights, out of the optimiser's
/// reach as long as it is read through [`kept`].
pub(crate) type Kept<const D: usize> = Param<Tensor<D>>;

/// The value of a kept tensor, without a gradient.
pub(crate) fn kept<const D: usize>(tensor: &Kept<D>) -> Tensor<D> {
    tensor.val().detach()
}

/// Changes a kept tensor.
pub(crate) fn keep<const D: usize>(tensor: &mut Kept<D>, value: Tensor<D>) {
    *tensor = Param::initialized(tensor.id, value.detach().require_grad());
}
