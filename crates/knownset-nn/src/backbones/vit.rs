//! Vision transformers with timm's keys and the preprocessing of its augreg checkpoints (crop 0.9, mean and std ½).

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::VitSpec;

const fn entry(name: &'static str, doc: &'static str, width: usize, heads: usize) -> BackboneEntry {
    BackboneEntry {
        name,
        doc,
        paper: "https://arxiv.org/abs/2106.10270",
        preprocess: Preprocess {
            resize: Resize::Shorter { size: 248, filter: Filter::Bicubic },
            size: 224,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        architecture: Architecture::Vit(VitSpec { image: 224, patch: 16, width, depth: 12, heads }),
    }
}

pub(super) static VIT_TINY_PATCH16_224: BackboneEntry =
    entry("vit-tiny-patch16-224", "ViT-Ti/16 with timm's keys, 6 M parameters.", 192, 3);
pub(super) static VIT_SMALL_PATCH16_224: BackboneEntry =
    entry("vit-small-patch16-224", "ViT-S/16 with timm's keys, 22 M parameters.", 384, 6);
