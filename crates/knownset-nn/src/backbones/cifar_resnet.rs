//! The ResNets of the paper's CIFAR-10 section: three stages of 16, 32 and 64 channels with n blocks each, 6n + 2
//! layers, parameter-free shortcuts (option A), embedding of 64. Keys as in <https://github.com/akamaster/pytorch_resnet_cifar10>.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem};

const fn entry(name: &'static str, doc: &'static str, blocks: &'static [usize]) -> BackboneEntry {
    BackboneEntry {
        name,
        doc,
        paper: "https://arxiv.org/abs/1512.03385",
        preprocess: Preprocess {
            resize: Resize::Exact { size: 32, filter: Filter::Bilinear },
            size: 32,
            mean: Preprocess::IMAGENET_MEAN,
            std: Preprocess::IMAGENET_STD,
        },
        architecture: Architecture::ResNet(ResNetSpec {
            stem: Stem { kernel: 3, stride: 1, pool: false },
            block: BlockKind::Basic,
            shortcut: Shortcut::ZeroPad,
            widths: &[16, 32, 64],
            blocks,
            names: ResNetNames { shortcut: "shortcut", head: "linear" },
        }),
    }
}

pub(super) static RESNET20: BackboneEntry =
    entry("cifar-resnet20", "ResNet-20 for 32x32 images, 0.27 M parameters.", &[3, 3, 3]);
pub(super) static RESNET32: BackboneEntry =
    entry("cifar-resnet32", "ResNet-32 for 32x32 images, 0.46 M parameters.", &[5, 5, 5]);
pub(super) static RESNET44: BackboneEntry =
    entry("cifar-resnet44", "ResNet-44 for 32x32 images, 0.66 M parameters.", &[7, 7, 7]);
pub(super) static RESNET56: BackboneEntry =
    entry("cifar-resnet56", "ResNet-56 for 32x32 images, 0.85 M parameters.", &[9, 9, 9]);
pub(super) static RESNET110: BackboneEntry =
    entry("cifar-resnet110", "ResNet-110 for 32x32 images, 1.7 M parameters.", &[18, 18, 18]);
