//! The autoencoder: images to distributions of latents, latents to images.

use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, FloatDType, Tensor};

use super::attention::PixelAttention;
use super::layout::Maps;
use super::residual::{Downsample, Norm, Residual, Upsample, conv};
use crate::network::parameters::Named;

/// An autoencoder's architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoencoderSpec {
    /// Channels of an image.
    pub image: usize,
    /// Channels of its latents.
    pub latents: usize,
    /// Channels of each level, from the image's own sides down; each level halves those of the one before.
    pub levels: Vec<usize>,
    /// Residual blocks of each level of the encoder; the decoder has one more.
    pub layers: usize,
    /// Groups of every group normalisation; they divide each level's channels.
    pub groups: usize,
    /// What latents are multiplied by to become a diffusion model's samples.
    pub scale: f64,
}

impl AutoencoderSpec {
    /// The architecture of Stable Diffusion 1.x: 84 million parameters.
    pub fn stable_diffusion() -> Self {
        Self { image: 3, latents: 4, levels: vec![128, 256, 512, 512], layers: 2, groups: 32, scale: 0.182_15 }
    }

    /// Pixels of an image's side for one of the latents'.
    pub fn factor(&self) -> usize {
        1 << self.levels.len().saturating_sub(1)
    }

    fn norm(&self) -> Norm {
        Norm { groups: self.groups, epsilon: 1e-6 }
    }

    fn residuals(&self, inputs: usize, outputs: usize, count: usize, device: &Device) -> Vec<Residual> {
        let residual =
            |index| Residual::new(if index == 0 { inputs } else { outputs }, outputs, None, self.norm(), device);
        (0..count).map(residual).collect()
    }

    fn middle(&self, channels: usize, device: &Device) -> Middle {
        Middle {
            attentions: vec![PixelAttention::new(channels, self.norm(), device)],
            resnets: self.residuals(channels, channels, 2, device),
        }
    }
}

#[derive(Module, Debug)]
struct Down {
    resnets: Vec<Residual>,
    /// One, but for the last level.
    downsamplers: Vec<Downsample>,
}

#[derive(Module, Debug)]
struct Middle {
    attentions: Vec<PixelAttention>,
    resnets: Vec<Residual>,
}

impl Middle {
    fn forward(&self, mut hidden: Maps) -> Maps {
        for (index, resnet) in self.resnets.iter().enumerate() {
            hidden = resnet.forward(hidden, None);
            if let Some(attention) = self.attentions.get(index) {
                hidden = attention.forward(hidden);
            }
        }
        hidden
    }
}

#[derive(Module, Debug)]
struct Up {
    resnets: Vec<Residual>,
    /// One, but for the last on the way up.
    upsamplers: Vec<Upsample>,
}

#[derive(Module, Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<Down>,
    mid_block: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(spec: &AutoencoderSpec, device: &Device) -> Self {
        let first = spec.levels.first().copied().unwrap_or(0);
        let mut channels = first;
        let mut down_blocks = Vec::new();
        for (index, &outputs) in spec.levels.iter().enumerate() {
            let halves = index + 1 < spec.levels.len();
            down_blocks.push(Down {
                resnets: spec.residuals(channels, outputs, spec.layers, device),
                downsamplers: halves.then(|| Downsample::cornered(outputs, device)).into_iter().collect(),
            });
            channels = outputs;
        }
        Self {
            conv_in: conv(spec.image, first, 3, device),
            down_blocks,
            mid_block: spec.middle(channels, device),
            conv_norm_out: spec.norm().init(channels, device),
            conv_out: conv(channels, 2 * spec.latents, 3, device),
        }
    }

    fn forward(&self, images: Maps) -> Maps {
        let mut hidden = images.convolved(&self.conv_in);
        for block in &self.down_blocks {
            hidden = block.resnets.iter().fold(hidden, |hidden, resnet| resnet.forward(hidden, None));
            hidden = block.downsamplers.iter().fold(hidden, |hidden, downsampler| downsampler.forward(hidden));
        }
        self.mid_block.forward(hidden).activated(&self.conv_norm_out).convolved(&self.conv_out)
    }
}

#[derive(Module, Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: Middle,
    up_blocks: Vec<Up>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(spec: &AutoencoderSpec, device: &Device) -> Self {
        let last = spec.levels.last().copied().unwrap_or(0);
        let mut channels = last;
        let mut up_blocks = Vec::new();
        for (index, &outputs) in spec.levels.iter().enumerate().rev() {
            up_blocks.push(Up {
                resnets: spec.residuals(channels, outputs, spec.layers + 1, device),
                upsamplers: (index > 0).then(|| Upsample::new(outputs, device)).into_iter().collect(),
            });
            channels = outputs;
        }
        Self {
            conv_in: conv(spec.latents, last, 3, device),
            mid_block: spec.middle(last, device),
            up_blocks,
            conv_norm_out: spec.norm().init(channels, device),
            conv_out: conv(channels, spec.image, 3, device),
        }
    }

    fn forward(&self, latents: Maps) -> Maps {
        let mut hidden = self.mid_block.forward(latents.convolved(&self.conv_in));
        for block in &self.up_blocks {
            hidden = block.resnets.iter().fold(hidden, |hidden, resnet| resnet.forward(hidden, None));
            for upsampler in &block.upsamplers {
                let [height, width] = hidden.sides();
                hidden = upsampler.forward(hidden, [2 * height, 2 * width]);
            }
        }
        hidden.activated(&self.conv_norm_out).convolved(&self.conv_out)
    }
}

/// `AutoencoderKL` of diffusers: pixels in −1..1, latents of a normal distribution.
#[derive(Module, Debug)]
pub struct Autoencoder {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Conv2d,
    post_quant_conv: Conv2d,
    #[module(skip)]
    spec: AutoencoderSpec,
}

impl Autoencoder {
    /// A network with weights yet to be set, by [`load`](crate::network::load) or
    /// [`initialise`](crate::network::initialise).
    pub fn new(spec: &AutoencoderSpec, device: &Device) -> Self {
        Self {
            encoder: Encoder::new(spec, device),
            decoder: Decoder::new(spec, device),
            quant_conv: conv(2 * spec.latents, 2 * spec.latents, 1, device),
            post_quant_conv: conv(spec.latents, spec.latents, 1, device),
            spec: spec.clone(),
        }
    }

    /// Its architecture.
    pub fn spec(&self) -> &AutoencoderSpec {
        &self.spec
    }

    /// The same network with another [`AutoencoderSpec::scale`], which is no weight of it.
    #[must_use]
    pub fn with_scale(self, scale: f64) -> Self {
        Self { spec: AutoencoderSpec { scale, ..self.spec }, ..self }
    }

    /// Images `[n, i, H, W]` in −1..1 → mean and logarithm of the variance of their latents, each `[n, l, h, w]` in f32,
    /// not yet multiplied by [`AutoencoderSpec::scale`].
    ///
    /// # Panics
    /// If a side is no multiple of [`AutoencoderSpec::factor`].
    pub fn encode(&self, images: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [_, _, height, width] = images.dims();
        let factor = self.spec.factor();
        assert!(height.is_multiple_of(factor) && width.is_multiple_of(factor), "sides are multiples of {factor}");
        let precision = self.quant_conv.weight.val().dtype();
        let maps = Maps::new(images.cast(precision), self.spec.levels.iter().copied());
        let moments = self.encoder.forward(maps).convolved(&self.quant_conv).images().cast(FloatDType::F32);
        let latents = self.spec.latents;
        (moments.clone().narrow(1, 0, latents), moments.narrow(1, latents, latents).clamp(-30.0, 20.0))
    }

    /// Latents `[n, l, h, w]`, divided by [`AutoencoderSpec::scale`] → images `[n, i, H, W]` about −1..1, in f32.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let precision = self.post_quant_conv.weight.val().dtype();
        // What counts is the size of the images that come of it.
        let [_, _, height, width] = latents.dims();
        let sides = [height, width].map(|side| side * self.spec.factor());
        let maps = Maps::sized(latents.cast(precision), sides, self.spec.levels.iter().copied());
        self.decoder.forward(maps.convolved(&self.post_quant_conv)).images().cast(FloatDType::F32)
    }
}

impl Named for Autoencoder {
    fn checkpoint_name(&self, path: &[String]) -> String {
        super::name(path)
    }
}
