//! Linear layers with a rectifier between each two.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub(super) struct Perceptron {
    layers: Vec<Linear>,
}

impl Perceptron {
    /// Widths of the input, of what lies between the layers, and of the output.
    pub(super) fn new(widths: &[usize], device: &Device) -> Self {
        let layers = widths.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device));
        Self { layers: layers.collect() }
    }

    pub(super) fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(input, |hidden, (place, layer)| {
            let output = layer.forward(hidden);
            if place < last { relu(output) } else { output }
        })
    }
}
