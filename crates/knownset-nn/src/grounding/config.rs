//! `config.json` of Hugging Face's GroundingDINO, with transformers' defaults for absent keys.

use serde_json::Value;

use crate::checkpoint::{CheckpointError, Section};
use crate::network::{BertSpec, GROUPS, GroundingSpec, StackSpec, StageSpec, SwinSpec};

/// More than any width, vocabulary or number of queries.
const SIZE: usize = 1 << 18;
/// More than any number of layers, heads or points.
const COUNT: usize = 256;
/// More than any side of a window; the biases of a window are its fourth power.
const WINDOW: usize = 64;
/// More than any number of stages or maps.
const LEVELS: usize = 8;

/// Reads the architecture; every size in it is bounded, and what is to be divided can be.
pub(super) fn read(config: &Section) -> Result<GroundingSpec, CheckpointError> {
    config.expect("model_type", &["grounding-dino"])?;
    config.expect("position_embedding_type", &["sine"])?;
    config.expect("activation_function", &["relu"])?;
    for (key, only) in [("two_stage", true), ("embedding_init_target", true), ("use_timm_backbone", false)] {
        if config.flag(key, only)? != only {
            return Err(config.wrong(format!("{key} is {}, only {only} is supported", !only)));
        }
    }
    if config.size("query_dim", 4)? != 4 {
        return Err(config.wrong("query_dim is not 4"));
    }
    let spec = GroundingSpec {
        swin: swin(config)?,
        bert: bert(&config.object(&["text_config"]))?,
        width: config.at_most("d_model", 256, SIZE)?,
        levels: config.at_most("num_feature_levels", 4, LEVELS)?,
        encoder: config.stack("encoder")?,
        decoder: config.stack("decoder")?,
        queries: config.at_most("num_queries", 900, SIZE)?,
        context: config.at_most("max_text_len", 256, SIZE)?,
        temperature: config.positive("positional_embedding_temperature", 20.0)?,
        shared_box_head: config.flag("decoder_bbox_embed_share", true)?,
        epsilon: config.positive("layer_norm_eps", 1e-5)?,
    };
    check(config, &spec)?;
    Ok(spec)
}

fn check(config: &Section, spec: &GroundingSpec) -> Result<(), CheckpointError> {
    let GroundingSpec { width, encoder, decoder, levels, context, .. } = *spec;
    let inner = encoder.hidden / 2;
    let problem = if !width.is_multiple_of(GROUPS) {
        Some(format!("d_model is {width}, expected a multiple of {GROUPS}"))
    } else if encoder.heads < 2 || !width.is_multiple_of(encoder.heads) || !width.is_multiple_of(encoder.heads / 2) {
        Some(format!("encoder_attention_heads, {}, and half of them do not divide {width}", encoder.heads))
    } else if !width.is_multiple_of(decoder.heads) {
        Some(format!("{} decoder_attention_heads do not divide {width}", decoder.heads))
    } else if inner == 0 || !inner.is_multiple_of(encoder.heads / 2) {
        Some(format!(
            "half of {} attention heads do not divide half of encoder_ffn_dim {}",
            encoder.heads, encoder.hidden
        ))
    } else if levels < spec.swin.outputs().len() {
        Some(format!("num_feature_levels is {levels}, fewer than the backbone's {} maps", spec.swin.outputs().len()))
    } else if context > spec.bert.positions {
        let positions = spec.bert.positions;
        Some(format!("max_text_len is {context}, more than the text backbone's {positions} positions"))
    } else {
        None
    };
    problem.map_or(Ok(()), |problem| Err(config.wrong(problem)))
}

fn swin(config: &Section) -> Result<SwinSpec, CheckpointError> {
    let none = config.get("backbone_config").is_null();
    let swin = config.object(&["backbone_config"]);
    swin.expect("model_type", &["swin"])?;
    swin.expect("hidden_act", &["gelu"])?;
    if swin.flag("use_absolute_embeddings", false)? {
        return Err(swin.wrong("use_absolute_embeddings is true, which is not supported"));
    }
    if swin.size("num_channels", 3)? != 3 {
        return Err(swin.wrong("num_channels is not 3"));
    }
    let depths = swin.counts("depths", &[2, 2, 6, 2])?;
    let heads = swin.counts("num_heads", &[3, 6, 12, 24])?;
    if depths.is_empty() || depths.len() > LEVELS || depths.len() != heads.len() {
        let (depths, heads) = (depths.len(), heads.len());
        return Err(swin.wrong(format!("{depths} depths and {heads} num_heads, expected as many, {LEVELS} at most")));
    }
    let outputs = outputs(&swin, depths.len(), none)?;
    let stage = |(at, (&depth, &heads)): (usize, (&usize, &usize))| StageSpec { depth, heads, output: outputs[at] };
    let spec = SwinSpec {
        patch: swin.at_most("patch_size", 4, COUNT)?,
        width: swin.at_most("embed_dim", 96, SIZE)?,
        stages: depths.iter().zip(&heads).enumerate().map(stage).collect(),
        window: swin.at_most("window_size", 7, WINDOW)?,
        mlp_ratio: swin.positive("mlp_ratio", 4.0)?,
        qkv_bias: swin.flag("qkv_bias", true)?,
        epsilon: swin.positive("layer_norm_eps", 1e-5)?,
    };
    if spec.mlp_ratio > COUNT as f64 || (spec.mlp_ratio * spec.width as f64) < 1.0 {
        return Err(swin.wrong(format!("mlp_ratio is {}", spec.mlp_ratio)));
    }
    for (index, stage) in spec.stages.iter().enumerate() {
        let width = spec.stage_width(index);
        if !width.is_multiple_of(stage.heads) {
            return Err(swin.wrong(format!("{} attention heads do not divide a width of {width}", stage.heads)));
        }
    }
    Ok(spec)
}

/// Which stages' maps are wanted: `out_features` by name or `out_indices` by number, the last if neither says.
fn outputs(swin: &Section, stages: usize, default: bool) -> Result<Vec<bool>, CheckpointError> {
    let number = |value: &Value| match value {
        Value::String(name) => name.strip_prefix("stage").and_then(|number| number.parse().ok()),
        value => value.as_u64().and_then(|number| usize::try_from(number).ok()),
    };
    let key = ["out_features", "out_indices"].into_iter().find(|key| !swin.get(key).is_null());
    let numbers = match key {
        None if default => (2..=stages).collect(),
        None => vec![stages],
        Some(key) => {
            let list = swin.get(key).as_array();
            let numbers = list.and_then(|list| list.iter().map(number).collect::<Option<Vec<_>>>());
            let numbers = numbers.filter(|numbers| numbers.iter().all(|number| (1..=stages).contains(number)));
            let numbers = numbers.filter(|numbers| !numbers.is_empty() && numbers.is_sorted());
            numbers.ok_or_else(|| {
                swin.wrong(format!("{key} is {}, expected some of the stages in order", swin.get(key)))
            })?
        }
    };
    Ok((1..=stages).map(|stage| numbers.contains(&stage)).collect())
}

fn bert(config: &Section) -> Result<BertSpec, CheckpointError> {
    config.expect("model_type", &["bert"])?;
    config.expect("hidden_act", &["gelu"])?;
    let spec = BertSpec {
        vocabulary: config.at_most("vocab_size", 30_522, SIZE)?,
        positions: config.at_most("max_position_embeddings", 512, SIZE)?,
        kinds: config.at_most("type_vocab_size", 2, COUNT)?,
        width: config.at_most("hidden_size", 768, SIZE)?,
        hidden: config.at_most("intermediate_size", 3072, SIZE)?,
        depth: config.at_most("num_hidden_layers", 12, COUNT)?,
        heads: config.at_most("num_attention_heads", 12, COUNT)?,
        epsilon: config.positive("layer_norm_eps", 1e-12)?,
    };
    if !spec.width.is_multiple_of(spec.heads) {
        return Err(config.wrong(format!("{} attention heads do not divide a width of {}", spec.heads, spec.width)));
    }
    Ok(spec)
}

impl Section {
    fn at_most(&self, key: &str, default: usize, most: usize) -> Result<usize, CheckpointError> {
        let size = self.size(key, default)?;
        if size <= most { Ok(size) } else { Err(self.wrong(format!("{key} is {size}, expected {most} at most"))) }
    }

    fn positive(&self, key: &str, default: f64) -> Result<f64, CheckpointError> {
        let number = self.number(key, default)?;
        if number > 0.0 { Ok(number) } else { Err(self.wrong(format!("{key} is {number}, expected a number above 0"))) }
    }

    /// A text, where it is given, must be one of these.
    fn expect(&self, key: &str, supported: &[&str]) -> Result<(), CheckpointError> {
        match self.get(key) {
            Value::Null => Ok(()),
            Value::String(text) if supported.contains(&text.as_str()) => Ok(()),
            other => Err(self.wrong(format!("{key} is {other}, only {} is supported", supported.join(" and ")))),
        }
    }

    fn counts(&self, key: &str, default: &[usize]) -> Result<Vec<usize>, CheckpointError> {
        if self.get(key).is_null() {
            return Ok(default.to_vec());
        }
        let count = |value: &Value| {
            value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| (1..=COUNT).contains(count))
        };
        let counts = self.get(key).as_array().and_then(|list| list.iter().map(count).collect::<Option<Vec<_>>>());
        counts
            .ok_or_else(|| self.wrong(format!("{key} is {}, expected whole numbers from 1 to {COUNT}", self.get(key))))
    }

    fn stack(&self, name: &str) -> Result<StackSpec, CheckpointError> {
        let size = |key: &str, default, most| self.at_most(&format!("{name}_{key}"), default, most);
        Ok(StackSpec {
            depth: size("layers", 6, COUNT)?,
            heads: size("attention_heads", 8, COUNT)?,
            hidden: size("ffn_dim", 2048, SIZE)?,
            points: size("n_points", 4, COUNT)?,
        })
    }
}
