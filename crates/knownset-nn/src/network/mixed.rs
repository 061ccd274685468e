//! Mixed precision: a layer computes in the precision of its input, though its parameters are kept in f32.
//!
//! Parameters are rounded on the way, so that their gradients, and an optimiser's steps, are f32.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor};

/// The layer with parameters rounded to the precision of its input.
pub(super) fn rounded<M: Module>(layer: &M, precision: DType) -> M {
    match precision {
        DType::F32 => layer.clone(),
        precision => layer.clone().map(&mut Rounded(precision.into())),
    }
}

/// Rounds every tensor; gradients pass.
pub(crate) struct Rounded(pub(crate) FloatDType);

impl ModuleMapper for Rounded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}
