//! Residual networks (He et al. 2016, <https://arxiv.org/abs/1512.03385>) in all the shapes our checkpoints have.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::module::{adaptive_avg_pool2d, max_pool2d};
use burn::tensor::ops::{MaxPoolOptions, PadMode};
use burn::tensor::{Device, Tensor};

use super::conv_norm::ConvNorm;
use super::parameters::Named;

/// What is inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 and 1x1 with four times the channels; the stride is in the 3x3 (torchvision's "v1.5").
    Bottleneck,
}

/// How a block's input reaches its output where the shape changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// 1x1 convolution and batch normalisation (option B of the paper).
    Projection,
    /// Every second pixel, new channels zero, half of them before and half after (option A of the paper).
    ZeroPad,
}

/// The layers before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stem {
    /// Side of the convolution's kernel.
    pub kernel: usize,
    /// Its stride.
    pub stride: usize,
    /// Whether a 3x3 max-pooling of stride 2 follows.
    pub pool: bool,
}

/// Names in which checkpoints of residual networks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetNames {
    /// The projection shortcut: `downsample` or `shortcut`.
    pub shortcut: &'static str,
    /// The last layer: `fc` or `linear`.
    pub head: &'static str,
}

/// A residual network's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetSpec {
    /// Layers before the first block; they give `widths[0]` channels.
    pub stem: Stem,
    /// What the blocks are.
    pub block: BlockKind,
    /// What the shortcuts are.
    pub shortcut: Shortcut,
    /// Channels of each stage (before a bottleneck's expansion), multiples of 16.
    pub widths: &'static [usize],
    /// Blocks of each stage. Every stage but the first halves the resolution.
    pub blocks: &'static [usize],
    /// Names in the checkpoint.
    pub names: ResNetNames,
}

/// One residual block.
#[derive(Module, Debug)]
pub struct Block {
    pub(crate) conv1: ConvNorm,
    pub(crate) conv2: ConvNorm,
    pub(crate) conv3: Option<ConvNorm>,
    pub(crate) shortcut: Option<ConvNorm>,
    /// Channels to pad on each side, for [`Shortcut::ZeroPad`].
    #[module(skip)]
    pub(crate) pad: Option<usize>,
}

impl Block {
    fn new(spec: &ResNetSpec, channels: [usize; 2], width: usize, stride: usize, device: &Device) -> Self {
        let [inputs, outputs] = channels;
        let changes = stride != 1 || inputs != outputs;
        let (conv1, conv2, conv3) = match spec.block {
            BlockKind::Basic => {
                (ConvNorm::new([inputs, width], 3, stride, device), ConvNorm::new([width, outputs], 3, 1, device), None)
            }
            BlockKind::Bottleneck => (
                ConvNorm::new([inputs, width], 1, 1, device),
                ConvNorm::new([width, width], 3, stride, device),
                Some(ConvNorm::new([width, outputs], 1, 1, device)),
            ),
        };
        let projects = changes && spec.shortcut == Shortcut::Projection;
        Self {
            conv1,
            conv2,
            conv3,
            shortcut: projects.then(|| ConvNorm::new(channels, 1, stride, device)),
            pad: (changes && spec.shortcut == Shortcut::ZeroPad).then_some((outputs - inputs) / 2),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let skipped = self.skip(input.clone());
        let hidden = self.conv1.forward_relu(input);
        match &self.conv3 {
            Some(conv3) => conv3.forward_add_relu(self.conv2.forward_relu(hidden), skipped),
            None => self.conv2.forward_add_relu(hidden, skipped),
        }
    }

    fn skip(&self, input: Tensor<4>) -> Tensor<4> {
        if let Some(projection) = &self.shortcut {
            return projection.forward(input);
        }
        match self.pad {
            Some(pad) => {
                let every_second = input.slice_dim(2, burn::tensor::s![..;2]).slice_dim(3, burn::tensor::s![..;2]);
                every_second.pad([(0, 0), (pad, pad), (0, 0), (0, 0)], PadMode::Constant(0.0))
            }
            None => input,
        }
    }
}

/// A residual network.
#[derive(Module, Debug)]
pub struct ResNet {
    pub(crate) stem: ConvNorm,
    pub(crate) layers: Vec<Vec<Block>>,
    head: Linear,
    #[module(skip)]
    pub(crate) spec: ResNetSpec,
}

impl ResNet {
    /// A network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: ResNetSpec, classes: usize, device: &Device) -> Self {
        let expansion = if spec.block == BlockKind::Bottleneck { 4 } else { 1 };
        let stem = ConvNorm::new([3, spec.widths[0]], spec.stem.kernel, spec.stem.stride, device);
        let mut inputs = spec.widths[0];
        let mut layers = Vec::new();
        for (stage, (&width, &count)) in spec.widths.iter().zip(spec.blocks).enumerate() {
            let mut blocks = Vec::new();
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(Block::new(&spec, [inputs, width * expansion], width, stride, device));
                inputs = width * expansion;
            }
            layers.push(blocks);
        }
        Self { stem, layers, head: LinearConfig::new(inputs, classes).init(device), spec }
    }

    /// `[n, 3, h, w]` → the `[n, d]` that the last layer reads.
    pub fn embed(&self, input: Tensor<4>) -> Tensor<2> {
        let mut hidden = self.stem.forward_relu(input);
        if self.spec.stem.pool {
            hidden = max_pool2d(hidden, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
        }
        for block in self.layers.iter().flatten() {
            hidden = block.forward(hidden);
        }
        adaptive_avg_pool2d(hidden, [1, 1]).flatten(1, 3)
    }

    /// The last layer.
    pub(super) fn head(&self) -> &Linear {
        &self.head
    }

    /// `[n, d]` embedding → `[n, K]` logits.
    pub fn classify(&self, embedding: Tensor<2>) -> Tensor<2> {
        self.head.forward(embedding)
    }

    /// `[n, 3, h, w]` → `[n, K]` logits.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.classify(self.embed(input))
    }
}

impl Named for ResNet {
    fn checkpoint_name(&self, path: &[String]) -> String {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let names = &self.spec.names;
        match parts[..] {
            ["head", tensor] => format!("{}.{tensor}", names.head),
            ["stem", part, tensor] => format!("{}.{tensor}", unit("conv1", part, names)),
            ["layers", stage, block, name, part, tensor] => {
                let stage = stage.parse::<usize>().map_or(0, |stage| stage + 1);
                format!("layer{stage}.{block}.{}.{tensor}", unit(name, part, names))
            }
            _ => path.join("."),
        }
    }
}

/// `conv2` + `norm` → `bn2`; `shortcut` + `norm` → `downsample.1`.
fn unit(name: &str, part: &str, names: &ResNetNames) -> String {
    match (name.strip_prefix("conv"), part) {
        (Some(number), "norm") => format!("bn{number}"),
        (Some(_), _) => name.to_owned(),
        (None, "norm") => format!("{}.1", names.shortcut),
        (None, _) => format!("{}.0", names.shortcut),
    }
}
