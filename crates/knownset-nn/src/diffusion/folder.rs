//! A pipeline's folder as diffusers lays it out: `model_index.json`, and a folder for each part.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

use super::{Pipeline, Schedule, TextEncoder, config, layouts};
use crate::checkpoint::{self, CheckpointError, Section};
use crate::network::{Autoencoder, Named, Rounded, UNet, load_owned};
use crate::precision::Precision;
use crate::weights::Weights;

/// Names of a network's weights files, the preferred first.
const FILES: [&str; 6] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
];

/// Opens every part but the safety checker and what belongs to it.
pub(super) fn open(folder: &Path, device: &Device, precision: Precision) -> Result<Pipeline, CheckpointError> {
    let index = Section::open(&folder.join("model_index.json"))?;
    index.only([("_class_name", "StableDiffusionPipeline".into())])?;
    let text = match (part(&index, folder, "text_encoder", "CLIPTextModel")?, tokenizer(&index, folder)?) {
        (Some(encoder), Some(tokenizer)) => Some(TextEncoder::open(&encoder, &tokenizer, device)?),
        (None, None) => None,
        _ => return Err(index.wrong("text_encoder and tokenizer belong together, only one is there")),
    };

    let Some(path) = part(&index, folder, "unet", "UNet2DConditionModel")? else {
        return Err(index.wrong("no unet"));
    };
    let spec = config::unet(&Section::open(&path.join("config.json"))?)?;
    let weights = checkpoint::weights(&path, &FILES)?.map(layouts::unet);
    let unet = loaded(UNet::new(&spec, device), weights, precision)?;

    let autoencoder = match part(&index, folder, "vae", "AutoencoderKL")? {
        Some(path) => Some(autoencoder(&path, device, precision)?),
        None => None,
    };

    let (schedule, method) = Schedule::open(&folder.join("scheduler").join("scheduler_config.json"))?;
    // What StableDiffusionPipeline does, whatever the file says: latents are not inside −1..1.
    let schedule = if autoencoder.is_some() { Schedule { offset: 1, clip: None, ..schedule } } else { schedule };

    let pipeline = Pipeline { text, unet, autoencoder, schedule, method, device: device.clone() };
    match pipeline.contradiction() {
        Some(what) => Err(index.wrong(what)),
        None => Ok(pipeline),
    }
}

/// Opens the folder of an autoencoder.
fn autoencoder(folder: &Path, device: &Device, precision: Precision) -> Result<Autoencoder, CheckpointError> {
    let spec = config::autoencoder(&Section::open(&folder.join("config.json"))?)?;
    let weights = checkpoint::weights(folder, &FILES)?.map(layouts::autoencoder);
    loaded(Autoencoder::new(&spec, device), weights, precision)
}

impl Autoencoder {
    /// Opens the folder of an `AutoencoderKL` of diffusers, as a pipeline has it, in f32.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, a configuration that asks for
    /// what this program does not do.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, CheckpointError> {
        autoencoder(folder, device, Precision::F32)
    }
}

/// The folder of a part; nothing where the index says that there is none.
fn part(index: &Section, folder: &Path, name: &str, class: &str) -> Result<Option<PathBuf>, CheckpointError> {
    match index.get(name) {
        Value::Null => Ok(None),
        Value::Array(pair) => match pair.as_slice() {
            [Value::Null, Value::Null] => Ok(None),
            [_, Value::String(found)] if found == class => Ok(Some(folder.join(name))),
            _ => Err(index.wrong(format!("{name} is {}, only {class} is supported", index.get(name)))),
        },
        other => Err(index.wrong(format!("{name} is {other}, expected a library and a class"))),
    }
}

/// The tokenizer's folder; its files say by themselves whether they are CLIP's.
fn tokenizer(index: &Section, folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let classes = ["CLIPTokenizer", "CLIPTokenizerFast"];
    let class = classes.into_iter().find(|&class| index.get("tokenizer")[1] == class).unwrap_or(classes[0]);
    part(index, folder, "tokenizer", class)
}

fn loaded<M: Named>(module: M, weights: Weights, precision: Precision) -> Result<M, CheckpointError> {
    let module = load_owned(module, weights).map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
    Ok(match precision {
        Precision::F32 => module,
        _ => module.map(&mut Rounded(precision.float())),
    })
}
