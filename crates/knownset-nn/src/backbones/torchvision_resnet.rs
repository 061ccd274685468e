//! The ImageNet ResNets with torchvision's keys and its evaluation preprocessing.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem};

const fn entry(name: &'static str, doc: &'static str, block: BlockKind, blocks: &'static [usize]) -> BackboneEntry {
    BackboneEntry {
        name,
        doc,
        paper: "https://arxiv.org/abs/1512.03385",
        preprocess: Preprocess {
            resize: Resize::Shorter { size: 256, filter: Filter::Bilinear },
            size: 224,
            mean: Preprocess::IMAGENET_MEAN,
            std: Preprocess::IMAGENET_STD,
        },
        architecture: Architecture::ResNet(ResNetSpec {
            stem: Stem { kernel: 7, stride: 2, pool: true },
            block,
            shortcut: Shortcut::Projection,
            widths: &[64, 128, 256, 512],
            blocks,
            names: ResNetNames { shortcut: "downsample", head: "fc" },
        }),
    }
}

pub(super) static RESNET18: BackboneEntry =
    entry("resnet18", "ResNet-18 with torchvision's keys, 12 M parameters.", BlockKind::Basic, &[2, 2, 2, 2]);
pub(super) static RESNET34: BackboneEntry =
    entry("resnet34", "ResNet-34 with torchvision's keys, 22 M parameters.", BlockKind::Basic, &[3, 4, 6, 3]);
pub(super) static RESNET50: BackboneEntry =
    entry("resnet50", "ResNet-50 with torchvision's keys, 26 M parameters.", BlockKind::Bottleneck, &[3, 4, 6, 3]);
pub(super) static RESNET101: BackboneEntry =
    entry("resnet101", "ResNet-101 with torchvision's keys, 45 M parameters.", BlockKind::Bottleneck, &[3, 4, 23, 3]);
