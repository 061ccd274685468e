//! A convolution and the batch normalisation after it.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, FloatDType, Tensor, activation};

use super::mixed::rounded;
use super::operations::{self, Affine, convolution, normalise, normalise_by_batch};

/// Convolution without bias, then batch normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

/// A convolution with bias.
pub(crate) struct Folded {
    /// Outputs, inputs, kernel height and width.
    pub(crate) shape: [usize; 4],
    pub(crate) stride: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
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
        Self { conv, norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    /// `[n, c, h, w]` → `[n, c', h', w']`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.then(input, None, false)
    }

    /// The same, then ReLU.
    pub fn forward_relu(&self, input: Tensor<4>) -> Tensor<4> {
        self.then(input, None, true)
    }

    /// The same plus another tensor `[n, c', h', w']`, then ReLU.
    pub fn forward_add_relu(&self, input: Tensor<4>, add: Tensor<4>) -> Tensor<4> {
        self.then(input, Some(add), true)
    }

    fn then(&self, input: Tensor<4>, add: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let Self { conv, norm } = self;
        let (by_batch, frozen) = (input.device().is_autodiff(), !norm.training.is_enabled());
        if !operations::usable(&input, conv.weight.dims()[0]) || (by_batch && frozen) {
            let precision = input.dtype();
            let convolved = rounded(conv, precision).forward(input);
            let mut output = norm.forward(convolved.cast(FloatDType::F32)).cast(precision);
            if let Some(add) = add {
                output = output + add;
            }
            return if relu { activation::relu(output) } else { output };
        }
        let convolved = convolution(input, conv.weight.val(), conv.stride[0]);
        let affine = Affine { gamma: norm.gamma.val(), beta: norm.beta.val(), epsilon: norm.epsilon, relu };
        if !by_batch {
            let moments = [norm.running_mean.value(), norm.running_var.value()];
            return normalise(convolved, affine, moments, add);
        }
        let (output, moments) = normalise_by_batch(convolved, affine, add);
        for (running, moment) in [&norm.running_mean, &norm.running_var].into_iter().zip(moments) {
            let kept = running.value_sync().to_device(&moment.device());
            running.update((kept * (1.0 - norm.momentum) + moment * norm.momentum).detach());
        }
        output
    }

    /// The same function in evaluation mode as one convolution: W' = W·γ/√(σ²+ε), b' = β − μ·γ/√(σ²+ε), in f64.
    pub(crate) fn folded(&self) -> Folded {
        let values = |tensor: Tensor<1>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
        let norm = &self.norm;
        let (gamma, beta) = (values(norm.gamma.val()), values(norm.beta.val()));
        let (mean, variance) = (values(norm.running_mean.value()), values(norm.running_var.value()));
        let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + norm.epsilon).sqrt()).collect();

        let weight = self.conv.weight.val();
        let shape = weight.dims();
        let per_channel = shape[1] * shape[2] * shape[3];
        let weight = weight.into_data();
        let weight = weight.iter::<f64>().enumerate().map(|(i, w)| (w * scale[i / per_channel]) as f32);
        Folded {
            shape,
            stride: self.conv.stride[0],
            weight: weight.collect(),
            bias: (0..scale.len()).map(|c| (beta[c] - mean[c] * scale[c]) as f32).collect(),
        }
    }
}
