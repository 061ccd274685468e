//! The project's own small network for Sprite World's 64x64 images: three basic blocks, embedding of 128.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem};

pub(super) static SPRITE_RESNET: BackboneEntry = BackboneEntry {
    name: "sprite-resnet",
    doc: "Small ResNet for 64x64 images, 0.31 M parameters; the bundled demo's network.",
    paper: "https://arxiv.org/abs/1512.03385",
    preprocess: Preprocess {
        resize: Resize::Exact { size: 64, filter: Filter::Bilinear },
        size: 64,
        mean: Preprocess::IMAGENET_MEAN,
        std: Preprocess::IMAGENET_STD,
    },
    architecture: Architecture::ResNet(ResNetSpec {
        stem: Stem { kernel: 3, stride: 2, pool: false },
        block: BlockKind::Basic,
        shortcut: Shortcut::Projection,
        widths: &[32, 64, 128],
        blocks: &[1, 1, 1],
        names: ResNetNames { shortcut: "downsample", head: "fc" },
    }),
};
