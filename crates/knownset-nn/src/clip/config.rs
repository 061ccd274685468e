//! `config.json` of Hugging Face's CLIP and `open_clip_config.json` of OpenCLIP, with their libraries' defaults for
//! absent keys.

use std::path::Path;

use serde_json::Value;

use crate::folder::{FolderError, Section};
use crate::network::{ClipSpec, TowerSpec};

/// Epsilon of every normalisation unless a configuration says otherwise; PyTorch's.
pub(super) const EPSILON: f64 = 1e-5;

/// Where a text's embedding is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndToken {
    /// At the first largest id: OpenAI's end token has the last number. transformers does this for the `eos_token_id`
    /// 2, which configurations carried by mistake until version 4.31.
    Largest,
    /// At the first of this id.
    Is(u32),
}

impl Section {
    fn quick_gelu(&self) -> Result<bool, FolderError> {
        match self.get("hidden_act") {
            Value::Null => Ok(true),
            Value::String(name) if name == "quick_gelu" => Ok(true),
            Value::String(name) if name == "gelu" => Ok(false),
            other => Err(self.wrong(format!("hidden_act is {other}, only quick_gelu and gelu are supported"))),
        }
    }

    /// A tower of Hugging Face's.
    fn tower(&self, width: usize, heads: usize) -> Result<TowerSpec, FolderError> {
        let spec = TowerSpec {
            width: self.size("hidden_size", width)?,
            hidden: self.size("intermediate_size", 4 * width)?,
            depth: self.size("num_hidden_layers", 12)?,
            heads: self.size("num_attention_heads", heads)?,
            quick_gelu: self.quick_gelu()?,
            epsilon: self.number("layer_norm_eps", EPSILON)?,
        };
        self.with_heads(spec, spec.heads)
    }

    pub(super) fn with_heads(&self, tower: TowerSpec, heads: usize) -> Result<TowerSpec, FolderError> {
        if heads > 0 && tower.width.is_multiple_of(heads) {
            Ok(TowerSpec { heads, ..tower })
        } else {
            Err(self.wrong(format!("{heads} attention heads do not divide a width of {}", tower.width)))
        }
    }
}

/// Hugging Face's `config.json`.
pub(super) fn hugging_face(config: &Section) -> Result<(ClipSpec, EndToken), FolderError> {
    if let Some(other) = config.get("model_type").as_str().filter(|&kind| kind != "clip") {
        return Err(config.wrong(format!("model_type is `{other}`, expected `clip`")));
    }
    // Old files have the one that counts under the second name.
    let text = config.object(&["text_config_dict", "text_config"]);
    let vision = config.object(&["vision_config_dict", "vision_config"]);
    if vision.size("num_channels", 3)? != 3 {
        return Err(vision.wrong("num_channels is not 3"));
    }
    let spec = ClipSpec {
        projection: config.size("projection_dim", 512)?,
        image: vision.size("image_size", 224)?,
        patch: vision.size("patch_size", 32)?,
        vision: vision.tower(768, 12)?,
        vocabulary: text.size("vocab_size", 49_408)?,
        context: text.size("max_position_embeddings", 77)?,
        text: text.tower(512, 8)?,
    };
    let end = match text.get("eos_token_id") {
        Value::Null => EndToken::Is(49_407),
        value => match value.as_u64().map(u32::try_from) {
            Some(Ok(2)) => EndToken::Largest,
            Some(Ok(id)) => EndToken::Is(id),
            _ => return Err(text.wrong(format!("eos_token_id is {value}, expected a token's number"))),
        },
    };
    Ok((spec, end))
}

/// OpenCLIP's `open_clip_config.json` says what the shapes of the weights do not: heads and activation.
pub(super) fn open_clip(path: &Path, spec: ClipSpec) -> Result<ClipSpec, FolderError> {
    let config = Section::open(path)?.object(&["model_cfg"]);
    let (vision, text) = (config.object(&["vision_cfg"]), config.object(&["text_cfg"]));
    let quick_gelu = config.flag("quick_gelu", false)?;
    let image = TowerSpec { quick_gelu, ..spec.vision };
    let words = TowerSpec { quick_gelu, ..spec.text };
    Ok(ClipSpec {
        vision: vision.with_heads(image, image.width / vision.size("head_width", 64)?)?,
        text: text.with_heads(words, text.size("heads", 8)?)?,
        ..spec
    })
}
