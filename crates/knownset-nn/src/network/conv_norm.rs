//! A convolution and the batch normalisation after it.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};

/// Convolution without bias, then batch normalisation. [`ConvNorm::fold`] makes it one convolution with bias.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

impl ConvNorm {
    /// A square kernel with padding `kernel / 2`.
    pub fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let padding = kernel / 2;
        let conv = Conv2dConfig::new(channels, [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
            .with_bias(false)
            .init(device);
        Self { conv, norm: Some(BatchNormConfig::new(channels[1]).init(device)) }
    }

    /// `[n, c, h, w]` → `[n, c', h', w']`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let output = self.conv.forward(input);
        match &self.norm {
            Some(norm) => norm.forward(output),
            None => output,
        }
    }

    /// The same function in evaluation mode as one convolution: W' = W·γ/√(σ²+ε), b' = β − μ·γ/√(σ²+ε), in f64.
    #[must_use]
    pub fn fold(mut self) -> Self {
        let Some(norm) = self.norm.take() else { return self };
        let values = |tensor: Tensor<1>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
        let (gamma, beta) = (values(norm.gamma.val()), values(norm.beta.val()));
        let (mean, variance) = (values(norm.running_mean.value()), values(norm.running_var.value()));
        let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + norm.epsilon).sqrt()).collect();
        let bias = (0..scale.len()).map(|c| (beta[c] - mean[c] * scale[c]) as f32).collect::<Vec<_>>();

        let weight = self.conv.weight.val();
        let (device, shape) = (weight.device(), weight.dims());
        let per_channel = shape[1] * shape[2] * shape[3];
        let weight = weight.into_data();
        let folded = weight.iter::<f64>().enumerate().map(|(i, w)| (w * scale[i / per_channel]) as f32);
        let folded = folded.collect::<Vec<_>>();
        let channels = bias.len();
        self.conv.weight = Param::from_data(TensorData::new(folded, shape), &device);
        self.conv.bias = Some(Param::from_data(TensorData::new(bias, [channels]), &device));
        self
    }
}
