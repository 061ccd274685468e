//! Configurations of a pipeline's networks, with diffusers' defaults for absent keys.

use serde_json::{Value, json};

use crate::checkpoint::{CheckpointError, Section};
use crate::network::{AutoencoderSpec, TextSpec, UNetLevel, UNetSpec};

/// Most channels of a level, and longest vectors.
const WIDEST: usize = 1 << 16;
/// Most levels, and most blocks of one.
const DEEPEST: usize = 64;
/// The largest side of latents.
const LARGEST_SIDE: usize = 1024;

/// `text_encoder/config.json`: `CLIPTextModel` of transformers.
pub(super) fn text(config: &Section) -> Result<TextSpec, CheckpointError> {
    if let Some(other) = config.get("model_type").as_str().filter(|kind| !matches!(*kind, "clip_text_model" | "clip")) {
        return Err(config.wrong(format!("model_type is `{other}`, expected `clip_text_model`")));
    }
    config.within("num_hidden_layers", 12, 1..=DEEPEST)?;
    Ok(TextSpec {
        vocabulary: config.size("vocab_size", 49_408)?,
        context: config.size("max_position_embeddings", 77)?,
        tower: config.tower(512, 8)?,
    })
}

/// `unet/config.json`: `UNet2DConditionModel` of diffusers.
pub(super) fn unet(config: &Section) -> Result<UNetSpec, CheckpointError> {
    config.only([
        ("_class_name", json!("UNet2DConditionModel")),
        ("act_fn", json!("silu")),
        ("addition_embed_type", Value::Null),
        ("attention_type", json!("default")),
        ("center_input_sample", json!(false)),
        ("class_embed_type", Value::Null),
        ("class_embeddings_concat", json!(false)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("cross_attention_norm", Value::Null),
        ("downsample_padding", json!(1)),
        ("dual_cross_attention", json!(false)),
        ("encoder_hid_dim", Value::Null),
        ("encoder_hid_dim_type", Value::Null),
        ("mid_block_only_cross_attention", json!(false)),
        ("mid_block_scale_factor", json!(1)),
        ("mid_block_type", json!("UNetMidBlock2DCrossAttn")),
        ("num_attention_heads", Value::Null),
        ("num_class_embeds", Value::Null),
        ("only_cross_attention", json!(false)),
        ("resnet_out_scale_factor", json!(1)),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("time_cond_proj_dim", Value::Null),
        ("time_embedding_act_fn", Value::Null),
        ("time_embedding_dim", Value::Null),
        ("time_embedding_type", json!("positional")),
        ("timestep_post_act", Value::Null),
    ])?;
    let channels = levels(config, &[320, 640, 1280, 1280])?;
    let groups = config.within("norm_num_groups", 32, 1..=WIDEST)?;
    divides(config, groups, &channels)?;

    let attends = kinds(config, "down_block_types", ["DownBlock2D", "CrossAttnDownBlock2D"], channels.len())?;
    let mut up = kinds(config, "up_block_types", ["UpBlock2D", "CrossAttnUpBlock2D"], channels.len())?;
    up.reverse();
    if attends != up {
        return Err(config.wrong("up_block_types are not down_block_types mirrored, which is not supported"));
    }
    // The key says a head's width and means the number of heads.
    let heads = match config.get("attention_head_dim") {
        Value::Array(_) => config.list("attention_head_dim", 1..=WIDEST)?,
        _ => vec![config.within("attention_head_dim", 8, 1..=WIDEST)?; channels.len()],
    };
    if heads.len() != channels.len() {
        return Err(config.wrong(format!("{} of attention_head_dim for {} levels", heads.len(), channels.len())));
    }
    let mut levels = Vec::new();
    for ((&channels, &heads), &attends) in channels.iter().zip(&heads).zip(&attends) {
        if !channels.is_multiple_of(heads) {
            return Err(config.wrong(format!("{heads} attention heads do not divide {channels} channels")));
        }
        levels.push(UNetLevel { channels, heads, attends });
    }
    let frequency_shift = config.within("freq_shift", 0, 0..=1)?;
    if channels[0] / 2 <= frequency_shift {
        return Err(config.wrong(format!("{} channels are too few to say a time", channels[0])));
    }
    Ok(UNetSpec {
        // A list of two is not read: it is said of pipelines whose images are no squares.
        side: match config.get("sample_size").as_u64() {
            Some(_) => Some(config.within("sample_size", 64, 1..=LARGEST_SIDE)?),
            None => None,
        },
        inputs: config.within("in_channels", 4, 1..=WIDEST)?,
        outputs: config.within("out_channels", 4, 1..=WIDEST)?,
        levels,
        layers: config.within("layers_per_block", 2, 1..=DEEPEST)?,
        transformers: config.within("transformer_layers_per_block", 1, 1..=DEEPEST)?,
        context: config.within("cross_attention_dim", 1280, 1..=WIDEST)?,
        groups,
        epsilon: config.number("norm_eps", 1e-5)?,
        cosines_first: config.flag("flip_sin_to_cos", true)?,
        frequency_shift,
    })
}

/// `vae/config.json`: `AutoencoderKL` of diffusers.
pub(super) fn autoencoder(config: &Section) -> Result<AutoencoderSpec, CheckpointError> {
    config.only([
        ("_class_name", json!("AutoencoderKL")),
        ("act_fn", json!("silu")),
        ("latents_mean", Value::Null),
        ("latents_std", Value::Null),
        ("mid_block_add_attention", json!(true)),
        ("shift_factor", Value::Null),
        ("use_post_quant_conv", json!(true)),
        ("use_quant_conv", json!(true)),
    ])?;
    let levels = levels(config, &[64])?;
    for (key, kind) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
        kinds(config, key, [kind, kind], levels.len())?;
    }
    let groups = config.within("norm_num_groups", 32, 1..=WIDEST)?;
    divides(config, groups, &levels)?;
    let scale = config.number("scaling_factor", 0.182_15)?;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(config.wrong(format!("scaling_factor is {scale}, expected a number above 0")));
    }
    let image = config.within("in_channels", 3, 1..=WIDEST)?;
    if config.within("out_channels", 3, 1..=WIDEST)? != image {
        return Err(config.wrong("out_channels is not in_channels"));
    }
    let latents = config.within("latent_channels", 4, 1..=WIDEST)?;
    let layers = config.within("layers_per_block", 1, 1..=DEEPEST)?;
    Ok(AutoencoderSpec { image, latents, levels, layers, groups, scale })
}

fn levels(config: &Section, default: &[usize]) -> Result<Vec<usize>, CheckpointError> {
    let key = "block_out_channels";
    let levels = if config.get(key).is_null() { default.to_vec() } else { config.list(key, 1..=WIDEST)? };
    if (1..=DEEPEST / 4).contains(&levels.len()) {
        Ok(levels)
    } else {
        Err(config.wrong(format!("{key} has {} levels, expected 1 to {}", levels.len(), DEEPEST / 4)))
    }
}

fn divides(config: &Section, groups: usize, levels: &[usize]) -> Result<(), CheckpointError> {
    match levels.iter().find(|channels| !channels.is_multiple_of(groups)) {
        Some(channels) => Err(config.wrong(format!("norm_num_groups {groups} does not divide {channels} channels"))),
        None => Ok(()),
    }
}

/// Of two kinds of block, whether each level has the second.
fn kinds(config: &Section, key: &str, kinds: [&str; 2], levels: usize) -> Result<Vec<bool>, CheckpointError> {
    let [plain, attending] = kinds;
    let value = config.get(key);
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |value: &Value| value.as_str().filter(|name| kinds.contains(name)).map(|name| name == attending);
    let attends: Option<Vec<bool>> = all.iter().map(kind).collect();
    attends.filter(|attends| attends.len() == levels).ok_or_else(|| {
        config.wrong(format!("{key} is {value}, expected {plain} or {attending} for each of {levels} levels"))
    })
}
