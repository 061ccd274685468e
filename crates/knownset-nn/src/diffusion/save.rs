//! Writing a pipeline's folder, as [`Pipeline::open`] and diffusers read it.

use std::path::Path;

use serde_json::{Value, json};

use super::{Growth, Method, Pipeline, Prediction, Schedule, Spacing};
use crate::checkpoint::CheckpointError;
use crate::network::{Autoencoder, AutoencoderSpec, Named, TextSpec, UNetSpec, to_weights};

impl Pipeline {
    /// Writes the folder of a `StableDiffusionPipeline`, its weights rounded to f16, DDIM its scheduler where none was
    /// chosen. diffusers wants the parts that may be missing here: without them only this program reads the folder.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let method = self.method.unwrap_or(Method::Ddim { eta: 0.0 });
        let part =
            |there: bool, library: &str, class: &str| if there { json!([library, class]) } else { json!([null, null]) };
        let index = json!({
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [null, null],
            "requires_safety_checker": false,
            "safety_checker": [null, null],
            "scheduler": ["diffusers", method.class()],
            "text_encoder": part(self.text.is_some(), "transformers", "CLIPTextModel"),
            "tokenizer": part(self.text.is_some(), "transformers", "CLIPTokenizer"),
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": part(self.autoencoder.is_some(), "diffusers", "AutoencoderKL"),
        });
        write(&folder.join("model_index.json"), &index)?;
        write(&folder.join("scheduler").join("scheduler_config.json"), &scheduler(&self.schedule, method))?;
        network(&folder.join("unet"), &unet(self.unet.spec()), &self.unet, "diffusion_pytorch_model.safetensors")?;
        if let Some(module) = &self.autoencoder {
            module.save(&folder.join("vae"))?;
        }
        if let Some(encoder) = &self.text {
            network(&folder.join("text_encoder"), &text(encoder.spec()), encoder.network(), "model.safetensors")?;
            let tokenizer = folder.join("tokenizer");
            fs_err::create_dir_all(&tokenizer)?;
            encoder.tokenizer().save(&tokenizer)?;
        }
        Ok(())
    }
}

impl Autoencoder {
    /// Writes the folder that [`Autoencoder::open`] and diffusers read, its weights rounded to f16.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        network(folder, &autoencoder(self.spec()), self, "diffusion_pytorch_model.safetensors")
    }
}

fn network<M: Named>(folder: &Path, config: &Value, module: &M, file: &str) -> Result<(), CheckpointError> {
    write(&folder.join("config.json"), config)?;
    Ok(to_weights(module).save_half(&folder.join(file))?)
}

fn write(path: &Path, content: &Value) -> Result<(), CheckpointError> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let text = format!("{content:#}\n");
    Ok(knownset_core::write_atomically(path, |out| out.write_all(text.as_bytes()))?)
}

fn text(spec: &TextSpec) -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": spec.vocabulary,
        "max_position_embeddings": spec.context,
        "hidden_size": spec.tower.width,
        "intermediate_size": spec.tower.hidden,
        "num_hidden_layers": spec.tower.depth,
        "num_attention_heads": spec.tower.heads,
        "hidden_act": if spec.tower.quick_gelu { "quick_gelu" } else { "gelu" },
        "layer_norm_eps": spec.tower.epsilon,
    })
}

fn unet(spec: &UNetSpec) -> Value {
    let kinds = |plain, attending| {
        let kind = move |attends: bool| if attends { attending } else { plain };
        spec.levels.iter().map(move |level| kind(level.attends))
    };
    let down: Vec<&str> = kinds("DownBlock2D", "CrossAttnDownBlock2D").collect();
    let up: Vec<&str> = kinds("UpBlock2D", "CrossAttnUpBlock2D").rev().collect();
    json!({
        "_class_name": "UNet2DConditionModel",
        "sample_size": spec.side,
        "in_channels": spec.inputs,
        "out_channels": spec.outputs,
        "block_out_channels": spec.levels.iter().map(|level| level.channels).collect::<Vec<_>>(),
        "attention_head_dim": spec.levels.iter().map(|level| level.heads).collect::<Vec<_>>(),
        "down_block_types": down,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": up,
        "layers_per_block": spec.layers,
        "transformer_layers_per_block": spec.transformers,
        "cross_attention_dim": spec.context,
        "use_linear_projection": true,
        "norm_num_groups": spec.groups,
        "norm_eps": spec.epsilon,
        "flip_sin_to_cos": spec.cosines_first,
        "freq_shift": spec.frequency_shift,
    })
}

fn autoencoder(spec: &AutoencoderSpec) -> Value {
    let levels = spec.levels.len();
    json!({
        "_class_name": "AutoencoderKL",
        "in_channels": spec.image,
        "out_channels": spec.image,
        "latent_channels": spec.latents,
        "block_out_channels": spec.levels,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "layers_per_block": spec.layers,
        "norm_num_groups": spec.groups,
        "scaling_factor": spec.scale,
    })
}

fn scheduler(schedule: &Schedule, method: Method) -> Value {
    let (name, [start, end]) = match schedule.growth {
        Growth::Linear(start, end) => ("linear", [start, end]),
        Growth::Scaled(start, end) => ("scaled_linear", [start, end]),
        Growth::Cosine => ("squaredcos_cap_v2", [0.0001, 0.02]),
    };
    let mut config = json!({
        "_class_name": method.class(),
        "num_train_timesteps": schedule.times,
        "beta_schedule": name,
        "beta_start": start,
        "beta_end": end,
        "prediction_type": match schedule.prediction {
            Prediction::Noise => "epsilon",
            Prediction::Velocity => "v_prediction",
        },
        "steps_offset": schedule.offset,
        "skip_prk_steps": schedule.skips_runge_kutta,
        "clip_sample": schedule.clip.is_some(),
        "clip_sample_range": schedule.clip.unwrap_or(1.0),
    });
    // What is left open stays open: the default is another one for each scheduler.
    if let Some(spacing) = schedule.spacing {
        config["timestep_spacing"] = match spacing {
            Spacing::Leading => "leading",
            Spacing::Even => "linspace",
            Spacing::Trailing => "trailing",
        }
        .into();
    }
    if let Some(clean) = schedule.ends_clean {
        config["set_alpha_to_one"] = clean.into();
    }
    config
}
