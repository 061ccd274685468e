//! The small convolutional network for MNIST of Hendrycks et al. 2019, *Deep Anomaly Detection with Outlier Exposure*
//! (<https://arxiv.org/abs/1812.04606>, code <https://github.com/hendrycks/outlier-exposure>, `MNIST/models/convnet.py`).
//!
//! Two 5x5 convolutions without padding (10 and 20 channels), each followed by 2x2 max-pooling and then the activation
//! x·σ(1.702 x), a linear layer of 50 with the same activation, and the classifier. Where we differ: the original drops
//! half of the second convolution's channels while training; here nothing is dropped.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::sigmoid;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::mixed::rounded;
use super::parameters::Named;

/// Shares of red, green and blue in grey (ITU-R 601), as in PIL's conversion to mode `L`, by which the authors turn
/// coloured images grey.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// The network. Its image is one grey 28x28 channel; it takes three, of which it makes the grey that PIL's
/// `convert("L")` makes of colours, unrounded; grey images stay as they are.
#[derive(Module, Debug)]
pub struct ConvNet {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

impl ConvNet {
    /// Side of the image in pixels.
    pub const SIDE: usize = 28;

    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(classes: usize, device: &Device) -> Self {
        let conv = |inputs, outputs| Conv2dConfig::new([inputs, outputs], [5, 5]).init(device);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        // 28 → 24 → 12 → 8 → 4 pixels a side.
        Self { conv1: conv(1, 10), conv2: conv(10, 20), fc1: linear(20 * 4 * 4, 50), fc2: linear(50, classes) }
    }

    /// `[n, 3, 28, 28]` → the `[n, 50]` that the last layer reads.
    pub fn embed(&self, input: Tensor<4>) -> Tensor<2> {
        let precision = input.dtype();
        let luma = Tensor::<1>::from_floats(LUMA, &input.device()).reshape([1, 3, 1, 1]);
        let grey = (input * luma.cast(precision)).sum_dim(1);
        let hidden = activation(halved(rounded(&self.conv1, precision).forward(grey)));
        let hidden = activation(halved(rounded(&self.conv2, precision).forward(hidden)));
        activation(rounded(&self.fc1, precision).forward(hidden.flatten(1, 3)))
    }

    /// The last layer.
    pub(super) fn head(&self) -> &Linear {
        &self.fc2
    }

    /// `[n, 50]` embedding → `[n, K]` logits.
    pub fn classify(&self, embedding: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(embedding)
    }

    /// `[n, 3, 28, 28]` → `[n, K]` logits.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.classify(self.embed(input))
    }
}

/// The sigmoid's approximation of GELU.
fn activation<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    sigmoid(input.clone() * 1.702) * input
}

fn halved(input: Tensor<4>) -> Tensor<4> {
    max_pool2d(input, MaxPoolOptions::new([2, 2]).with_stride([2, 2]))
}

impl Named for ConvNet {
    fn checkpoint_name(&self, path: &[String]) -> String {
        path.join(".")
    }
}
