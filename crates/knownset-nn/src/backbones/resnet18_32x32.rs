//! ResNet-18 with a 3x3 stem of stride 1 and no pooling, as OpenOOD trains for CIFAR
//! (<https://github.com/Jingkang50/OpenOOD>, `openood/networks/resnet18_32x32.py`): projections are named `shortcut`.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem};

pub(super) static RESNET18_32X32: BackboneEntry = BackboneEntry {
    name: "resnet18-32x32",
    doc: "ResNet-18 for 32x32 images with OpenOOD's keys, 11 M parameters; CIFAR-10 normalisation.",
    paper: "https://arxiv.org/abs/1512.03385",
    preprocess: Preprocess {
        resize: Resize::Exact { size: 32, filter: Filter::Bilinear },
        size: 32,
        mean: [0.4914, 0.4822, 0.4465],
        std: [0.2470, 0.2435, 0.2616],
    },
    architecture: Architecture::ResNet(ResNetSpec {
        stem: Stem { kernel: 3, stride: 1, pool: false },
        block: BlockKind::Basic,
        shortcut: Shortcut::Projection,
        widths: &[64, 128, 256, 512],
        blocks: &[2, 2, 2, 2],
        names: ResNetNames { shortcut: "shortcut", head: "fc" },
    }),
};
