//! CLIP: towers that embed images and texts in one space.

use super::{Architecture, BackboneEntry};
use crate::clip::usual_preprocess as usual;

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
