//! Hugging Face's, OpenAI's and OpenCLIP's names of the same tensors, and the architecture that their shapes tell.

use std::collections::BTreeMap;

use super::config::EPSILON;
use crate::network::{ClipSpec, TowerSpec};
use crate::weights::{HostTensor, Weights};

/// Whose names a checkpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    HuggingFace,
    OpenAi,
    OpenClip,
}

/// Three numbers that OpenAI keeps among the weights.
const OPENAI_NUMBERS: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

/// Tells the layout from names that only it has.
pub(super) fn recognise(weights: &Weights) -> Option<Layout> {
    let has = |name: &str| weights.get(name).is_some();
    if has("vision_model.embeddings.class_embedding") {
        Some(Layout::HuggingFace)
    } else if !has("visual.class_embedding") {
        None
    } else if OPENAI_NUMBERS.into_iter().all(has) {
        Some(Layout::OpenAi)
    } else {
        Some(Layout::OpenClip)
    }
}

/// The tensors under Hugging Face's names and in its shapes; unknown ones keep theirs.
pub(super) fn to_hugging_face(layout: Layout, tensors: BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    let mut renamed = BTreeMap::new();
    for (name, mut tensor) in tensors {
        let counted = name.ends_with(".position_ids");
        let number = layout == Layout::OpenAi && OPENAI_NUMBERS.contains(&name.as_str());
        if (layout == Layout::HuggingFace && counted) || number {
            continue;
        }
        if name == "logit_scale" && tensor.shape.is_empty() {
            tensor.shape = vec![1];
        }
        if layout == Layout::HuggingFace {
            renamed.insert(name, tensor);
        } else {
            native(name, tensor, &mut renamed);
        }
    }
    renamed
}

/// OpenAI's and OpenCLIP's tensor → Hugging Face's, three for a fused attention input.
fn native(name: String, tensor: HostTensor, renamed: &mut BTreeMap<String, HostTensor>) {
    let new = match name.as_str() {
        "visual.conv1.weight" => "vision_model.embeddings.patch_embedding.weight".to_owned(),
        "visual.class_embedding" => "vision_model.embeddings.class_embedding".to_owned(),
        "visual.positional_embedding" => "vision_model.embeddings.position_embedding.weight".to_owned(),
        "token_embedding.weight" => "text_model.embeddings.token_embedding.weight".to_owned(),
        "positional_embedding" => "text_model.embeddings.position_embedding.weight".to_owned(),
        "visual.proj" => return insert_transposed("visual_projection.weight", name, tensor, renamed),
        "text_projection" => return insert_transposed("text_projection.weight", name, tensor, renamed),
        _ => match name.rsplit_once('.') {
            Some(("visual.ln_pre", part)) => format!("vision_model.pre_layrnorm.{part}"),
            Some(("visual.ln_post", part)) => format!("vision_model.post_layernorm.{part}"),
            Some(("ln_final", part)) => format!("text_model.final_layer_norm.{part}"),
            _ => match block(&name) {
                Some((layer, part)) => {
                    if let Some(kind) = part.strip_prefix("attn.in_proj_") {
                        return split(&layer, kind, name.clone(), tensor, renamed);
                    }
                    match part_name(part) {
                        Some(part) => format!("{layer}.{part}"),
                        None => name,
                    }
                }
                None => name,
            },
        },
    };
    renamed.insert(new, tensor);
}

/// `visual.transformer.resblocks.3.ln_1.bias` → `vision_model.encoder.layers.3` and `ln_1.bias`.
fn block(name: &str) -> Option<(String, &str)> {
    let (tower, rest) = match name.strip_prefix("visual.transformer.resblocks.") {
        Some(rest) => ("vision_model", rest),
        None => ("text_model", name.strip_prefix("transformer.resblocks.")?),
    };
    let (number, part) = rest.split_once('.')?;
    Some((format!("{tower}.encoder.layers.{number}"), part))
}

fn part_name(part: &str) -> Option<String> {
    let (module, tensor) = part.rsplit_once('.')?;
    let module = match module {
        "ln_1" => "layer_norm1",
        "ln_2" => "layer_norm2",
        "attn.out_proj" => "self_attn.out_proj",
        "mlp.c_fc" => "mlp.fc1",
        "mlp.c_proj" => "mlp.fc2",
        _ => return None,
    };
    Some(format!("{module}.{tensor}"))
}

/// Query, key and value lie below one another.
fn split(layer: &str, kind: &str, name: String, tensor: HostTensor, renamed: &mut BTreeMap<String, HostTensor>) {
    let rows = tensor.shape.first().copied().unwrap_or_default();
    if rows == 0 || !rows.is_multiple_of(3) {
        renamed.insert(name, tensor);
        return;
    }
    let mut shape = tensor.shape;
    shape[0] = rows / 3;
    let parts = tensor.values.chunks_exact((tensor.values.len() / 3).max(1));
    for (part, values) in ["q", "k", "v"].into_iter().zip(parts) {
        let tensor = HostTensor { shape: shape.clone(), values: values.to_vec() };
        renamed.insert(format!("{layer}.self_attn.{part}_proj.{kind}"), tensor);
    }
}

fn insert_transposed(new: &str, name: String, tensor: HostTensor, renamed: &mut BTreeMap<String, HostTensor>) {
    let [rows, columns] = tensor.shape[..] else {
        renamed.insert(name, tensor);
        return;
    };
    let values = (0..rows * columns).map(|i| tensor.values[i % rows * columns + i / rows]).collect();
    renamed.insert(new.to_owned(), HostTensor { shape: vec![columns, rows], values });
}

/// The architecture as far as shapes tell it, heads being 64 wide; an error names the tensor that is missing or odd.
pub(super) fn measure(weights: &Weights, quick_gelu: bool) -> Result<ClipSpec, String> {
    let shape = |name: &str| {
        weights
            .get(name)
            .map(|tensor| tensor.shape.as_slice())
            .ok_or_else(|| format!("no tensor {name}: no CLIP with a vision transformer"))
    };
    let matrix = |name: &str| match *shape(name)? {
        [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
        ref other => Err(format!("{name} has shape {other:?}, expected a matrix")),
    };
    let tower = |model: &str, width: usize| {
        let layers = format!("{model}.encoder.layers.");
        let first = |name: &str| name.starts_with(&layers) && name.ends_with(".layer_norm1.weight");
        Ok::<_, String>(TowerSpec {
            width,
            hidden: matrix(&format!("{layers}0.mlp.fc1.weight"))?.0,
            depth: weights.iter().filter(|(name, _)| first(name)).count(),
            heads: (width / 64).max(1),
            quick_gelu,
            epsilon: EPSILON,
        })
    };

    let convolution = "vision_model.embeddings.patch_embedding.weight";
    let (width, patch) = match *shape(convolution)? {
        [width, 3, patch, across] if width > 0 && patch > 0 && patch == across => (width, patch),
        ref other => return Err(format!("{convolution} has shape {other:?}, expected [width, 3, patch, patch]")),
    };
    let (tokens, _) = matrix("vision_model.embeddings.position_embedding.weight")?;
    let side = (tokens - 1).isqrt();
    if side == 0 || side * side + 1 != tokens {
        return Err(format!("{tokens} positions are not those of a class token and a square of patches"));
    }
    let (vocabulary, words) = matrix("text_model.embeddings.token_embedding.weight")?;
    Ok(ClipSpec {
        projection: matrix("visual_projection.weight")?.0,
        image: side * patch,
        patch,
        vision: tower("vision_model", width)?,
        vocabulary,
        context: matrix("text_model.embeddings.position_embedding.weight")?.0,
        text: tower("text_model", words)?,
    })
}

/// What a configuration says that the weights' shapes contradict.
pub(super) fn contradiction(stated: &ClipSpec, measured: &ClipSpec) -> Option<String> {
    let tower = |tower: &TowerSpec| [tower.width, tower.hidden, tower.depth];
    let side = |spec: &ClipSpec| spec.image / spec.patch;
    let pairs = [
        ("projection_dim", stated.projection, measured.projection),
        ("patch_size", stated.patch, measured.patch),
        ("image_size / patch_size", side(stated), side(measured)),
        ("vocab_size", stated.vocabulary, measured.vocabulary),
        ("max_position_embeddings", stated.context, measured.context),
    ];
    let towers = [("vision", &stated.vision, &measured.vision), ("text", &stated.text, &measured.text)];
    let towers = towers.into_iter().flat_map(|(name, stated, measured)| {
        let keys = ["hidden_size", "intermediate_size", "num_hidden_layers"];
        let values = tower(stated).into_iter().zip(tower(measured));
        keys.into_iter().zip(values).map(move |(key, (stated, measured))| (format!("{name} {key}"), stated, measured))
    });
    let pairs = pairs.into_iter().map(|(key, stated, measured)| (key.to_owned(), stated, measured)).chain(towers);
    let mut wrong = pairs.filter(|(_, stated, measured)| stated != measured);
    wrong.next().map(|(key, stated, measured)| format!("{key} is {stated}, the weights have {measured}"))
}
