//! What a checkpoint folder says beside its weights: the towers' layout and how images become their input.

use std::path::{Path, PathBuf};

use knownset_core::{Filter, Preprocess, Resize};
use serde_json::{Value, json};

use super::config::{self, EndToken};
use super::{ClipError, preprocess};
use crate::folder::Section;
use crate::network::{ClipSpec, TowerSpec};
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// Layout and preprocessing of towers, with or without weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipDesign {
    /// The towers.
    pub spec: ClipSpec,
    /// How images become their input.
    pub preprocess: Preprocess,
}

impl ClipDesign {
    /// Reads `config.json` and, where it is, `preprocessor_config.json` of a Hugging Face folder.
    pub fn open(folder: &Path) -> Result<Self, ClipError> {
        let (spec, _) = config::hugging_face(&Section::open(&folder.join(CONFIG))?)?;
        Ok(Self { spec, preprocess: preprocess::read(folder, spec.image)? })
    }

    /// The same from the files' content; `name` is what errors call them.
    pub(super) fn parse(config: &[u8], preprocessor: &[u8], name: &Path) -> Result<(Self, EndToken), ClipError> {
        let (spec, end) = config::hugging_face(&Section::parse(config, &name.join(CONFIG))?)?;
        let preprocessor = Section::parse(preprocessor, &name.join(PREPROCESSOR))?;
        Ok((Self { spec, preprocess: preprocess::from_section(&preprocessor, spec.image)? }, end))
    }

    /// Writes trained weights as `model.safetensors` in float16, the scale a scalar as transformers has it; their path.
    pub fn save_weights(folder: &Path, weights: Weights) -> Result<PathBuf, ClipError> {
        let path = folder.join("model.safetensors");
        let scalar = weights.map(|mut tensors| {
            if let Some(scale) = tensors.get_mut("logit_scale") {
                scale.shape.clear();
            }
            tensors
        });
        scalar.save_half(&path)?;
        Ok(path)
    }

    /// Writes both files, as transformers reads them, for towers whose texts `tokenizer` cuts.
    pub fn save(&self, folder: &Path, tokenizer: &Tokenizer) -> Result<(), ClipError> {
        let Self { spec, preprocess } = self;
        let tower = |tower: &TowerSpec, own: Value| {
            let mut all = json!({
                "hidden_size": tower.width,
                "intermediate_size": tower.hidden,
                "num_hidden_layers": tower.depth,
                "num_attention_heads": tower.heads,
                "hidden_act": if tower.quick_gelu { "quick_gelu" } else { "gelu" },
                "layer_norm_eps": tower.epsilon,
                "projection_dim": spec.projection,
            });
            if let (Value::Object(all), Value::Object(own)) = (&mut all, own) {
                all.extend(own);
            }
            all
        };
        let end = tokenizer.end_token();
        let config = json!({
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": spec.projection,
            "text_config": tower(&spec.text, json!({
                "vocab_size": spec.vocabulary,
                "max_position_embeddings": spec.context,
                "bos_token_id": tokenizer.start_token(),
                "eos_token_id": end,
                "pad_token_id": end,
            })),
            "vision_config": tower(&spec.vision, json!({ "image_size": spec.image, "patch_size": spec.patch })),
        });
        let (size, filter) = match preprocess.resize {
            Resize::Shorter { size, filter } => (json!({ "shortest_edge": size }), filter),
            Resize::Exact { size, filter } => (json!({ "height": size, "width": size }), filter),
        };
        let resample = match filter {
            Filter::Nearest => 0,
            Filter::Bilinear => 2,
            Filter::Bicubic => 3,
        };
        let preprocessor = json!({
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": true,
            "size": size,
            "resample": resample,
            "do_center_crop": true,
            "crop_size": { "height": preprocess.size, "width": preprocess.size },
            "do_rescale": true,
            "do_normalize": true,
            "image_mean": preprocess.mean,
            "image_std": preprocess.std,
            "do_convert_rgb": true,
        });
        for (file, content) in [(CONFIG, config), (PREPROCESSOR, preprocessor)] {
            let text = format!("{content:#}\n");
            knownset_core::write_atomically(&folder.join(file), |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}
