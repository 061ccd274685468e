//! `config.json` of BLIP-2 with an OPT language model, with transformers' defaults for absent keys.

use serde_json::{Value, json};

use crate::checkpoint::{CheckpointError, Section};
use crate::network::{Blip2Spec, OptSpec, QFormerSpec, VisionSpec};
use crate::weights::Weights;

/// What `config.json` says.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) spec: Blip2Spec,
    /// The token that a text begins with.
    pub(super) start: u32,
    /// The tokens that end a text.
    pub(super) ends: Vec<u32>,
    /// The token that newer releases put where the image's vectors go.
    pub(super) placeholder: Option<u32>,
}

impl Config {
    pub(super) fn read(config: &Section) -> Result<Self, CheckpointError> {
        config.only([("model_type", json!("blip-2"))])?;
        let text = config.object(&["text_config"]);
        let spec = Blip2Spec {
            vision: vision(&config.object(&["vision_config"]))?,
            qformer: qformer(&config.object(&["qformer_config"]))?,
            queries: config.size("num_query_tokens", 32)?,
            text: language(&text)?,
        };
        let start = token(&text, "bos_token_id", text.get("bos_token_id"))?.unwrap_or(2);
        if start as usize >= spec.text.vocabulary {
            return Err(text.wrong(format!("bos_token_id {start} is not in a vocabulary of {}", spec.text.vocabulary)));
        }
        let ends = match text.get("eos_token_id") {
            Value::Null => vec![2],
            Value::Array(tokens) => tokens
                .iter()
                .filter_map(|value| token(&text, "eos_token_id", value).transpose())
                .collect::<Result<_, _>>()?,
            value => token(&text, "eos_token_id", value)?.into_iter().collect(),
        };
        let placeholder = token(config, "image_token_index", config.get("image_token_index"))?;
        Ok(Self { spec, start, ends, placeholder })
    }
}

fn vision(section: &Section) -> Result<VisionSpec, CheckpointError> {
    section.only([("num_channels", json!(3)), ("hidden_act", json!("gelu"))])?;
    let width = section.size("hidden_size", 1408)?;
    Ok(VisionSpec {
        image: section.size("image_size", 224)?,
        patch: section.size("patch_size", 14)?,
        width,
        hidden: section.size("intermediate_size", 6144)?,
        depth: section.size("num_hidden_layers", 39)?,
        heads: heads(section, 16, width)?,
        biases: section.flag("qkv_bias", true)?,
        epsilon: section.number("layer_norm_eps", 1e-6)?,
    })
}

fn qformer(section: &Section) -> Result<QFormerSpec, CheckpointError> {
    // The Q-Former is never given text here.
    section.only([("hidden_act", json!("gelu")), ("use_qformer_text_input", json!(false))])?;
    let width = section.size("hidden_size", 768)?;
    Ok(QFormerSpec {
        width,
        hidden: section.size("intermediate_size", 3072)?,
        depth: section.size("num_hidden_layers", 12)?,
        heads: heads(section, 12, width)?,
        every: section.size("cross_attention_frequency", 2)?,
        epsilon: section.number("layer_norm_eps", 1e-12)?,
    })
}

fn language(section: &Section) -> Result<OptSpec, CheckpointError> {
    section.only([("model_type", json!("opt")), ("layer_norm_elementwise_affine", json!(true))])?;
    let width = section.size("hidden_size", 768)?;
    let words = section.size("word_embed_proj_dim", width)?;
    if words != width {
        let what = format!("word_embed_proj_dim is {words}, but the image's vectors have a hidden_size of {width}");
        return Err(section.wrong(what));
    }
    let norm_first = section.flag("do_layer_norm_before", true)?;
    Ok(OptSpec {
        vocabulary: section.size("vocab_size", 50_272)?,
        positions: section.size("max_position_embeddings", 2048)?,
        width,
        words,
        hidden: section.size("ffn_dim", 3072)?,
        depth: section.size("num_hidden_layers", 12)?,
        heads: heads(section, 12, width)?,
        norm_first,
        norm_last: norm_first && !section.flag("_remove_final_layer_norm", false)?,
        biases: section.flag("enable_bias", true)?,
        gelu: match section.get("activation_function") {
            Value::Null => false,
            Value::String(name) if name == "relu" => false,
            Value::String(name) if name == "gelu" => true,
            other => {
                return Err(section.wrong(format!("activation_function is {other}, only relu and gelu are supported")));
            }
        },
        tied: section.flag("tie_word_embeddings", true)?,
    })
}

fn heads(section: &Section, default: usize, width: usize) -> Result<usize, CheckpointError> {
    let heads = section.size("num_attention_heads", default)?;
    if width.is_multiple_of(heads) {
        Ok(heads)
    } else {
        Err(section.wrong(format!("{heads} attention heads do not divide a width of {width}")))
    }
}

fn token(section: &Section, key: &str, value: &Value) -> Result<Option<u32>, CheckpointError> {
    if value.is_null() {
        return Ok(None);
    }
    match value.as_u64().map(u32::try_from) {
        Some(Ok(id)) => Ok(Some(id)),
        _ => Err(section.wrong(format!("{key} is {value}, expected a token's number"))),
    }
}

/// What a configuration says that the weights' shapes contradict, so that no size is believed before it is seen.
pub(super) fn contradiction(spec: &Blip2Spec, weights: &Weights) -> Option<String> {
    let (vision, qformer, text) = (&spec.vision, &spec.qformer, &spec.text);
    let axes = [
        ("vision hidden_size", vision.width, "vision_model.post_layernorm.weight", 0),
        ("vision intermediate_size", vision.hidden, "vision_model.encoder.layers.0.mlp.fc1.weight", 0),
        ("patch_size", vision.patch, "vision_model.embeddings.patch_embedding.weight", 2),
        ("qformer hidden_size", qformer.width, "qformer.layernorm.weight", 0),
        ("qformer intermediate_size", qformer.hidden, "qformer.encoder.layer.0.intermediate_query.dense.weight", 0),
        ("num_query_tokens", spec.queries, "query_tokens", 1),
        ("text hidden_size", text.width, "language_projection.weight", 0),
        ("text ffn_dim", text.hidden, "language_model.model.decoder.layers.0.fc1.weight", 0),
        ("vocab_size", text.vocabulary, "language_model.model.decoder.embed_tokens.weight", 0),
    ];
    let axis = |tensor: &str, axis: usize| weights.get(tensor)?.shape.get(axis).copied();
    let axes = axes.into_iter().map(|(key, stated, tensor, place)| (key, stated, axis(tensor, place)));
    let depths = [
        ("vision num_hidden_layers", vision.depth, "vision_model.encoder.layers", "layer_norm1.weight"),
        ("qformer num_hidden_layers", qformer.depth, "qformer.encoder.layer", "intermediate_query.dense.weight"),
        ("text num_hidden_layers", text.depth, "language_model.model.decoder.layers", "fc1.weight"),
    ];
    let depths = depths.into_iter().map(|(key, stated, layers, last)| {
        let counted = weights.iter().filter(|(name, _)| name.starts_with(layers) && name.ends_with(last));
        (key, stated, Some(counted.count()))
    });
    // Rows that no patch and no position has: the class token's, and OPT's first two.
    let patches = axis("vision_model.embeddings.position_embedding", 1).map(|rows| rows.saturating_sub(1));
    let positions = axis("language_model.model.decoder.embed_positions.weight", 0).map(|rows| rows.saturating_sub(2));
    let tables = [
        ("(image_size / patch_size)²", (vision.image / vision.patch).saturating_pow(2), patches),
        ("max_position_embeddings", text.positions, positions),
    ];
    // A tensor that is missing is named when the weights are loaded.
    let mut wrong = axes.chain(depths).chain(tables).filter_map(|(key, stated, seen)| {
        seen.filter(|&seen| seen != stated).map(|seen| format!("{key} is {stated}, the weights have {seen}"))
    });
    wrong.next()
}
