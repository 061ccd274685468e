//! The Swin transformer (Liu et al. 2021, <https://arxiv.org/abs/2103.14030>) as a backbone: maps of some of its stages,
//! each normalised, as Hugging Face's `SwinBackbone` gives them.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::swin_block::SwinBlock;
use super::windows::Windows;

/// A Swin transformer's architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct SwinSpec {
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Length of a token in the first stage; it doubles from stage to stage.
    pub width: usize,
    /// The stages, first to last.
    pub stages: Vec<StageSpec>,
    /// Side of a square window in tokens.
    pub window: usize,
    /// Length of a perceptron's hidden layer, relative to a token's.
    pub mlp_ratio: f64,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Epsilon of the blocks' layer normalisations.
    pub epsilon: f64,
}

/// One stage of a [`SwinSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSpec {
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide the stage's width.
    pub heads: usize,
    /// Whether the stage's map is one of the outputs.
    pub output: bool,
}

impl SwinSpec {
    /// Length of a token in a stage, counted from 0.
    pub fn stage_width(&self, stage: usize) -> usize {
        self.width << stage
    }

    /// Channels of the maps.
    pub fn outputs(&self) -> Vec<usize> {
        let stages = self.stages.iter().enumerate();
        stages.filter(|(_, stage)| stage.output).map(|(index, _)| self.stage_width(index)).collect()
    }
}

#[derive(Module, Debug)]
struct Patches {
    projection: Conv2d,
}

#[derive(Module, Debug)]
#[expect(clippy::struct_field_names, reason = "the checkpoints' names")]
struct Embeddings {
    patch_embeddings: Patches,
    norm: LayerNorm,
    patch: usize,
}

impl Embeddings {
    /// `[n, 3, h, w]`, padded with zeros at the right and the bottom to whole patches → `[n, rows, columns, w]`.
    fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let patches = self.patch_embeddings.projection.forward(padded(image, [2, 3], self.patch));
        self.norm.forward(patches.permute([0, 2, 3, 1]))
    }
}

/// `map` with zeros behind, so that `multiple` divides its length along both axes.
pub(super) fn padded(map: Tensor<4>, axes: [usize; 2], multiple: usize) -> Tensor<4> {
    axes.into_iter().fold(map, |map, axis| {
        let mut shape = map.dims();
        shape[axis] = shape[axis].next_multiple_of(multiple) - shape[axis];
        if shape[axis] == 0 {
            return map;
        }
        let zeros = Tensor::zeros(shape, &map.device());
        Tensor::cat(vec![map, zeros], axis)
    })
}

/// Four neighbouring tokens become one of twice the width.
#[derive(Module, Debug)]
struct Merging {
    norm: LayerNorm,
    reduction: Linear,
}

impl Merging {
    fn new(width: usize, device: &Device) -> Self {
        Self {
            norm: LayerNormConfig::new(4 * width).init(device),
            reduction: LinearConfig::new(4 * width, 2 * width).with_bias(false).init(device),
        }
    }

    /// `[n, h, w, c]` → `[n, ⌈h/2⌉, ⌈w/2⌉, 2c]`.
    fn forward(&self, map: Tensor<4>) -> Tensor<4> {
        let map = padded(map, [1, 2], 2);
        let [n, height, width, channels] = map.dims();
        let (rows, columns) = (height / 2, width / 2);
        // Of the four, first those of the left column, upper before lower.
        let fours = map.reshape([n, rows, 2, columns, 2, channels]).permute([0, 1, 3, 4, 2, 5]);
        self.reduction.forward(self.norm.forward(fours.reshape([n, rows, columns, 4 * channels])))
    }
}

#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<SwinBlock>,
    downsample: Option<Merging>,
}

#[derive(Module, Debug)]
struct Encoder {
    layers: Vec<Stage>,
}

#[derive(Module, Debug)]
pub(super) struct Swin {
    embeddings: Embeddings,
    encoder: Encoder,
    /// One for each stage; none where its map is not wanted.
    hidden_states_norms: Vec<Option<LayerNorm>>,
    window: usize,
}

impl Swin {
    pub(super) fn new(spec: &SwinSpec, device: &Device) -> Self {
        let patch = [spec.patch, spec.patch];
        let stage = |(index, stage): (usize, &StageSpec)| {
            let width = spec.stage_width(index);
            Stage {
                blocks: (0..stage.depth).map(|_| SwinBlock::new(spec, width, stage.heads, device)).collect(),
                downsample: (index + 1 < spec.stages.len()).then(|| Merging::new(width, device)),
            }
        };
        let norm = |(index, stage): (usize, &StageSpec)| {
            stage.output.then(|| LayerNormConfig::new(spec.stage_width(index)).init(device))
        };
        Self {
            embeddings: Embeddings {
                patch_embeddings: Patches {
                    projection: Conv2dConfig::new([3, spec.width], patch).with_stride(patch).init(device),
                },
                norm: LayerNormConfig::new(spec.width).init(device),
                patch: spec.patch,
            },
            encoder: Encoder { layers: spec.stages.iter().enumerate().map(stage).collect() },
            hidden_states_norms: spec.stages.iter().enumerate().map(norm).collect(),
            window: spec.window,
        }
    }

    /// Images of one size `[n, 3, h, w]` → maps `[n, c, h', w']`, the finest first.
    pub(super) fn forward(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        let mut map = self.embeddings.forward(image);
        let mut maps = Vec::new();
        for (stage, norm) in self.encoder.layers.iter().zip(&self.hidden_states_norms) {
            let [_, height, width, _] = map.dims();
            let windows = Windows::new(self.window, [height, width], &map.device());
            for (index, block) in stage.blocks.iter().enumerate() {
                map = block.forward(map, &windows, index % 2 == 1);
            }
            if let Some(norm) = norm {
                maps.push(norm.forward(map.clone()).permute([0, 3, 1, 2]));
            }
            if let Some(merging) = &stage.downsample {
                map = merging.forward(map);
            }
        }
        maps
    }
}
