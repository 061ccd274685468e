//! The linear layer of BERT's and Swin's blocks.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// A linear layer that the checkpoints keep under a name of its own.
#[derive(Module, Debug)]
pub(super) struct Dense {
    dense: Linear,
}

impl Dense {
    pub(super) fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self { dense: LinearConfig::new(inputs, outputs).init(device) }
    }

    pub(super) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.dense.forward(input)
    }
}
