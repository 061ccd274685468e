//! CLIP: towers that embed images and texts in one space.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};

/// OpenAI's preprocessing at a side of `size` pixels; a checkpoint may say otherwise.
const fn usual(size: u32) -> Preprocess {
    Preprocess {
        resize: Resize::Shorter { size, filter: Filter::Bicubic },
        size,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
    }
}

pub(super) static CLIP: BackboneEntry = BackboneEntry {
    name: "clip",
    doc: "CLIP from a checkpoint folder of Hugging Face, OpenAI or OpenCLIP; layout and preprocessing are the folder's.",
    paper: "https://arxiv.org/abs/2103.00020",
    preprocess: usual(224),
    architecture: Architecture::Clip,
};

pub(super) static SPRITE_CLIP: BackboneEntry = BackboneEntry {
    name: "sprite-clip",
    doc: "Small CLIP for 64x64 images, trained on Sprite World's captions; bundled.",
    paper: "https://arxiv.org/abs/2103.00020",
    preprocess: usual(48),
    architecture: Architecture::Clip,
};
