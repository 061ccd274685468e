//! What both networks are built from: residual blocks, and the convolutions that halve and double a side.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use super::layout::Maps;

/// How channels are normalised: in groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Norm {
    /// Number of groups; they divide the channels.
    pub(super) groups: usize,
    /// Epsilon.
    pub(super) epsilon: f64,
}

impl Norm {
    pub(super) fn init(self, channels: usize, device: &Device) -> GroupNorm {
        GroupNormConfig::new(self.groups, channels).with_epsilon(self.epsilon).init(device)
    }
}

/// A convolution that keeps the sides, `kernel` being odd.
pub(super) fn conv(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Conv2d {
    let border = kernel / 2;
    Conv2dConfig::new([inputs, outputs], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(border, border, border, border))
        .init(device)
}

/// Two normalised convolutions beside the identity, or beside a 1x1 convolution where the number of channels changes.
#[derive(Module, Debug)]
pub(super) struct Residual {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl Residual {
    /// `time` is the length of the vector that says the time, if there is one.
    pub(super) fn new(inputs: usize, outputs: usize, time: Option<usize>, norm: Norm, device: &Device) -> Self {
        Self {
            norm1: norm.init(inputs, device),
            conv1: conv(inputs, outputs, 3, device),
            time_emb_proj: time.map(|length| LinearConfig::new(length, outputs).init(device)),
            norm2: norm.init(outputs, device),
            conv2: conv(outputs, outputs, 3, device),
            conv_shortcut: (inputs != outputs).then(|| conv(inputs, outputs, 1, device)),
        }
    }

    /// Maps and the activated vectors of the times `[n, t]` → maps of as many channels as the block gives.
    pub(super) fn forward(&self, input: Maps, time: Option<&Tensor<2>>) -> Maps {
        let mut hidden = input.clone().activated(&self.norm1).convolved(&self.conv1);
        if let (Some(projection), Some(time)) = (&self.time_emb_proj, time) {
            hidden = hidden.plus_vectors(projection.forward(time.clone()));
        }
        let hidden = hidden.activated(&self.norm2).convolved(&self.conv2);
        match &self.conv_shortcut {
            Some(shortcut) => input.convolved(shortcut).plus(hidden),
            None => input.plus(hidden),
        }
    }
}

/// Sides halved by a convolution.
#[derive(Module, Debug)]
pub(super) struct Downsample {
    conv: Conv2d,
}

impl Downsample {
    /// With a border of zeros all around, as the UNet has it.
    pub(super) fn centred(channels: usize, device: &Device) -> Self {
        Self::new(channels, PaddingConfig2d::Explicit(1, 1, 1, 1), device)
    }

    /// With zeros only below and on the right, as the autoencoder has it.
    pub(super) fn cornered(channels: usize, device: &Device) -> Self {
        Self::new(channels, PaddingConfig2d::Explicit(0, 0, 1, 1), device)
    }

    fn new(channels: usize, padding: PaddingConfig2d, device: &Device) -> Self {
        let config = Conv2dConfig::new([channels, channels], [3, 3]).with_stride([2, 2]).with_padding(padding);
        Self { conv: config.init(device) }
    }

    pub(super) fn forward(&self, input: Maps) -> Maps {
        input.convolved(&self.conv)
    }
}

/// Each pixel repeated, then a convolution.
#[derive(Module, Debug)]
pub(super) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: conv(channels, channels, 3, device) }
    }

    /// To maps of these sides.
    pub(super) fn forward(&self, input: Maps, sides: [usize; 2]) -> Maps {
        input.enlarged(sides).convolved(&self.conv)
    }
}
