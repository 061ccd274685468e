//! The UNet: from a noisy sample, its time and a context, what the noise is.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::attention::SpatialTransformer;
use super::layout::Maps;
use super::residual::{Downsample, Norm, Residual, Upsample, conv};
use crate::network::parameters::Named;

/// A UNet's architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct UNetSpec {
    /// Side of the samples it was trained on, where that is known; others do as well.
    pub side: Option<usize>,
    /// Channels of a sample.
    pub inputs: usize,
    /// Channels of the answer.
    pub outputs: usize,
    /// From the sample's own sides down; each level halves those of the one before.
    pub levels: Vec<UNetLevel>,
    /// Residual blocks of each level on the way down; there is one more on the way up.
    pub layers: usize,
    /// Transformer blocks behind each residual block of a level that attends.
    pub transformers: usize,
    /// Length c of the context's vectors.
    pub context: usize,
    /// Groups of every group normalisation; they divide each level's channels.
    pub groups: usize,
    /// Epsilon of the group normalisations outside attention.
    pub epsilon: f64,
    /// Whether a time's cosines come before its sines.
    pub cosines_first: bool,
    /// Taken from the number of frequencies in their exponent; 0 or 1.
    pub frequency_shift: usize,
}

/// One level of a UNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UNetLevel {
    /// Channels.
    pub channels: usize,
    /// Attention heads, of the middle too if this is the last level; they divide `channels`.
    pub heads: usize,
    /// Whether this level attends to the context. The middle always does.
    pub attends: bool,
}

impl UNetSpec {
    /// The architecture of Stable Diffusion 1.x: 860 million parameters.
    pub fn stable_diffusion() -> Self {
        let level = |channels, attends| UNetLevel { channels, heads: 8, attends };
        Self {
            side: Some(64),
            inputs: 4,
            outputs: 4,
            levels: vec![level(320, true), level(640, true), level(1280, true), level(1280, false)],
            layers: 2,
            transformers: 1,
            context: 768,
            groups: 32,
            epsilon: 1e-5,
            cosines_first: true,
            frequency_shift: 0,
        }
    }

    fn norm(&self) -> Norm {
        Norm { groups: self.groups, epsilon: self.epsilon }
    }

    /// Channels of the first level, and as many numbers as a time begins as.
    fn base(&self) -> usize {
        self.levels.first().map_or(0, |level| level.channels)
    }

    fn residual(&self, inputs: usize, outputs: usize, device: &Device) -> Residual {
        Residual::new(inputs, outputs, Some(4 * self.base()), self.norm(), device)
    }

    fn transformer(&self, level: UNetLevel, device: &Device) -> SpatialTransformer {
        SpatialTransformer::new(level.channels, self.context, level.heads, self.transformers, self.groups, device)
    }

    /// As many transformers as residual blocks, or none.
    fn attentions(&self, level: UNetLevel, count: usize, device: &Device) -> Vec<SpatialTransformer> {
        let count = if level.attends { count } else { 0 };
        (0..count).map(|_| self.transformer(level, device)).collect()
    }

    /// Sines and cosines of the times at falling frequencies, `[n, base]`.
    fn sinusoids(&self, times: &[f64], device: &Device) -> Tensor<2> {
        let (length, half) = (self.base(), self.base() / 2);
        let frequency = |index: usize| (-(10_000_f64.ln()) * index as f64 / (half - self.frequency_shift) as f64).exp();
        let angles = |time: f64| (0..half).map(move |index| time * frequency(index));
        let row = |&time: &f64| {
            let (sines, cosines) = (angles(time).map(f64::sin), angles(time).map(f64::cos));
            let mut row: Vec<f64> =
                if self.cosines_first { cosines.chain(sines).collect() } else { sines.chain(cosines).collect() };
            row.resize(length, 0.0);
            row
        };
        let values: Vec<f32> = times.iter().flat_map(row).map(|value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, [times.len(), length]), device)
    }
}

#[derive(Module, Debug)]
struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

#[derive(Module, Debug)]
struct Down {
    resnets: Vec<Residual>,
    attentions: Vec<SpatialTransformer>,
    /// One, but for the last level.
    downsamplers: Vec<Downsample>,
}

#[derive(Module, Debug)]
struct Middle {
    resnets: Vec<Residual>,
    attentions: Vec<SpatialTransformer>,
}

#[derive(Module, Debug)]
struct Up {
    resnets: Vec<Residual>,
    attentions: Vec<SpatialTransformer>,
    /// One, but for the last on the way up.
    upsamplers: Vec<Upsample>,
}

/// `UNet2DConditionModel` of diffusers, as Stable Diffusion 1.x and 2.x have it.
#[derive(Module, Debug)]
pub struct UNet {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<Down>,
    mid_block: Middle,
    up_blocks: Vec<Up>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    #[module(skip)]
    spec: UNetSpec,
}

impl UNet {
    /// A network with weights yet to be set, by [`load`](crate::network::load) or
    /// [`initialise`](crate::network::initialise).
    pub fn new(spec: &UNetSpec, device: &Device) -> Self {
        let base = spec.base();
        let mut down_blocks = Vec::new();
        // What the way down leaves for the way up.
        let mut skips = vec![base];
        let mut channels = base;
        for (index, &level) in spec.levels.iter().enumerate() {
            let mut resnets = Vec::new();
            for _ in 0..spec.layers {
                resnets.push(spec.residual(channels, level.channels, device));
                channels = level.channels;
                skips.push(channels);
            }
            let halves = index + 1 < spec.levels.len();
            if halves {
                skips.push(channels);
            }
            down_blocks.push(Down {
                resnets,
                attentions: spec.attentions(level, spec.layers, device),
                downsamplers: halves.then(|| Downsample::centred(channels, device)).into_iter().collect(),
            });
        }
        let mid_block = Middle {
            resnets: (0..2).map(|_| spec.residual(channels, channels, device)).collect(),
            attentions: spec.levels.last().map(|&level| spec.transformer(level, device)).into_iter().collect(),
        };
        let mut up_blocks = Vec::new();
        for (index, &level) in spec.levels.iter().enumerate().rev() {
            let mut resnets = Vec::new();
            for _ in 0..=spec.layers {
                resnets.push(spec.residual(channels + skips.pop().unwrap_or(0), level.channels, device));
                channels = level.channels;
            }
            up_blocks.push(Up {
                resnets,
                attentions: spec.attentions(level, spec.layers + 1, device),
                upsamplers: (index > 0).then(|| Upsample::new(channels, device)).into_iter().collect(),
            });
        }
        Self {
            conv_in: conv(spec.inputs, base, 3, device),
            time_embedding: TimeEmbedding {
                linear_1: LinearConfig::new(base, 4 * base).init(device),
                linear_2: LinearConfig::new(4 * base, 4 * base).init(device),
            },
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: spec.norm().init(base, device),
            conv_out: conv(base, spec.outputs, 3, device),
            spec: spec.clone(),
        }
    }

    /// Its architecture.
    pub fn spec(&self) -> &UNetSpec {
        &self.spec
    }

    /// Samples `[n, i, h, w]`, the time of each and contexts `[n, T, c]`, T as it comes → `[n, o, h, w]` in f32. Sides
    /// need not be powers of two.
    pub fn forward(&self, sample: Tensor<4>, times: &[f64], context: Tensor<3>) -> Tensor<4> {
        let precision = self.conv_in.weight.val().dtype();
        let TimeEmbedding { linear_1, linear_2 } = &self.time_embedding;
        let sinusoids = self.spec.sinusoids(times, &sample.device()).cast(precision);
        let time = silu(linear_2.forward(silu(linear_1.forward(sinusoids))));
        let context = context.cast(precision);

        let maps = Maps::new(sample.cast(precision), self.spec.levels.iter().map(|level| level.channels));
        let mut hidden = maps.convolved(&self.conv_in);
        let mut skips = vec![hidden.clone()];
        for block in &self.down_blocks {
            for (index, resnet) in block.resnets.iter().enumerate() {
                hidden = resnet.forward(hidden, Some(&time));
                if let Some(attention) = block.attentions.get(index) {
                    hidden = attention.forward(hidden, &context);
                }
                skips.push(hidden.clone());
            }
            for downsampler in &block.downsamplers {
                hidden = downsampler.forward(hidden);
                skips.push(hidden.clone());
            }
        }
        for (index, resnet) in self.mid_block.resnets.iter().enumerate() {
            hidden = resnet.forward(hidden, Some(&time));
            if let Some(attention) = self.mid_block.attentions.get(index) {
                hidden = attention.forward(hidden, &context);
            }
        }
        for block in &self.up_blocks {
            for (index, resnet) in block.resnets.iter().enumerate() {
                if let Some(skip) = skips.pop() {
                    hidden = hidden.beside(skip);
                }
                hidden = resnet.forward(hidden, Some(&time));
                if let Some(attention) = block.attentions.get(index) {
                    hidden = attention.forward(hidden, &context);
                }
            }
            for upsampler in &block.upsamplers {
                let sides = skips.last().map_or_else(|| hidden.sides().map(|side| 2 * side), Maps::sides);
                hidden = upsampler.forward(hidden, sides);
            }
        }
        hidden.activated(&self.conv_norm_out).convolved(&self.conv_out).images().cast(FloatDType::F32)
    }
}

impl Named for UNet {
    fn checkpoint_name(&self, path: &[String]) -> String {
        super::name(path)
    }
}
