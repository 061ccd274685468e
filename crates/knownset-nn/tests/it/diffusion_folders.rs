//! Pipeline folders of other ages are read; broken ones are refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knownset_nn::diffusion::{Growth, Method, Pipeline, Prediction, Schedule};
use knownset_nn::network::to_weights;
use knownset_nn::{CheckpointError, HostTensor, Weights};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hashed::value;

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion").join(name)
}

/// A copy of a golden folder with a tokenizer.
pub(crate) fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(name), folder.path());
    copy(&golden("../tokenizer/small"), &folder.path().join("tokenizer"));
    folder
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs_err::copy(path, to).unwrap();
        }
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    change(&mut content);
    fs_err::write(path, content.to_string()).unwrap();
}

fn edit_weights(path: &Path, change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) {
    let mut tensors = Weights::open(path).unwrap().into_tensors();
    change(&mut tensors);
    Weights::from_tensors(tensors).save(path).unwrap();
}

fn rename(path: &Path, new: impl Fn(&str) -> String) {
    edit_weights(path, |tensors| {
        *tensors = std::mem::take(tensors).into_iter().map(|(name, tensor)| (new(&name), tensor)).collect();
    });
}

/// What opening says after a change to the folder.
fn refused(name: &str, change: impl FnOnce(&Path)) -> CheckpointError {
    let folder = folder(name);
    change(folder.path());
    match Pipeline::open(folder.path()) {
        Ok(_) => panic!("{name} opened"),
        Err(error) => error,
    }
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const TEXT: &str = "text_encoder/model.safetensors";

#[test]
fn names_of_released_files_are_understood() {
    let folder = folder("sd1");
    let path = |file: &str| folder.path().join(file);
    let latents = ndarray::Array4::from_elem((1, 4, 3, 2), 0.3);
    let read = || {
        let pipeline = Pipeline::open(folder.path()).unwrap();
        (pipeline.encode(&["cat"]).unwrap(), pipeline.decode(&latents))
    };
    let before = read();
    rename(&path(TEXT), |name| format!("text_model.{name}"));
    edit_weights(&path(TEXT), |tensors| {
        tensors.insert("text_model.embeddings.position_ids".into(), value("x", &[1, 16]));
    });
    let names = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
    rename(&path(VAE), |name| names.iter().fold(name.to_owned(), |name, (new, old)| name.replace(new, old)));
    let tensors = Weights::open(&path(VAE)).unwrap().into_tensors();
    assert!(tensors.contains_key("decoder.mid_block.attentions.0.proj_attn.bias"));
    fs_err::rename(path(UNET), path("unet/diffusion_pytorch_model.fp16.safetensors")).unwrap();
    edit(&path("text_encoder/config.json"), |c| {
        *c = json!({
            "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 16, "vocab_size": 814,
        });
    });
    assert_eq!(read(), before);
}

#[test]
fn tensors_missing_left_over_or_misshapen_are_named() {
    let cases: [(&str, &str, &str); 3] = [
        (TEXT, "final_layer_norm.bias", "text_model.final_layer_norm.bias"),
        (UNET, "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj.weight", ""),
        (VAE, "decoder.mid_block.attentions.0.to_out.0.bias", ""),
    ];
    for (file, name, called) in cases {
        let called = if called.is_empty() { name } else { called };
        let error = refused("sd1", |folder| {
            edit_weights(&folder.join(file), |tensors| {
                tensors.remove(name).unwrap();
                tensors.insert("odd.weight".into(), value("odd", &[3]));
            });
        });
        assert!(matches!(error, CheckpointError::Mismatch(_)), "{error}");
        let text = error.to_string();
        for part in [file, &format!("missing (1): {called}"), "unexpected (1):", "odd.weight"] {
            assert!(text.contains(part), "{text}");
        }
    }
    let text = refused("sd1", |folder| {
        edit_weights(&folder.join(UNET), |tensors| {
            tensors.insert("conv_in.weight".into(), value("odd", &[8, 5, 3, 3]));
        });
    });
    assert!(text.to_string().contains("conv_in.weight (wants [8, 4, 3, 3], has [8, 5, 3, 3])"), "{text}");
    // Old and new names of one layer.
    let text = refused("sd1", |folder| {
        edit_weights(&folder.join(VAE), |tensors| {
            tensors.insert("encoder.mid_block.attentions.0.query.bias".into(), value("odd", &[12]));
        });
    });
    assert!(text.to_string().contains("unexpected (1): encoder.mid_block.attentions.0."), "{text}");
}

#[test]
fn files_missing_or_broken_are_named() {
    for (name, file, message) in [
        ("sd1", "model_index.json", "model_index.json"),
        ("sd1", "unet/config.json", "unet/config.json"),
        ("sd1", UNET, "unet: no weights: none of diffusion_pytorch_model.safetensors,"),
        ("sd1", TEXT, "text_encoder: no weights: none of model.safetensors,"),
        ("sd1", VAE, "vae: no weights"),
        ("sd1", "scheduler/scheduler_config.json", "scheduler_config.json"),
        ("sd1", "tokenizer/vocab.json", "tokenizer: no tokenizer"),
        ("sd2", "unet/diffusion_pytorch_model-00003-of-00007.safetensors", "00003-of-00007"),
    ] {
        let error = refused(name, |folder| fs_err::remove_file(folder.join(file)).unwrap()).to_string();
        assert!(error.contains(message), "{error}");
    }
    for file in [UNET, VAE, TEXT] {
        let error = refused("sd1", |folder| {
            let content = fs_err::read(folder.join(file)).unwrap();
            fs_err::write(folder.join(file), &content[..content.len() / 2]).unwrap();
        });
        assert!(matches!(error, CheckpointError::Weights(_)) && error.to_string().contains(file), "{error}");
    }
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    type Change = fn(&mut Value);
    let index = "model_index.json";
    let (unet, vae, text) = ("unet/config.json", "vae/config.json", "text_encoder/config.json");
    let cases: [(&str, Change, &str); 27] = [
        (
            index,
            |c| c["_class_name"] = "StableDiffusionXLPipeline".into(),
            "_class_name is \"StableDiffusionXLPipeline\"",
        ),
        (index, |c| c["unet"] = json!([null, null]), "no unet"),
        (index, |c| c["vae"] = json!(["diffusers", "VQModel"]), "only AutoencoderKL is supported"),
        (index, |c| c["tokenizer"] = json!(["transformers", "T5Tokenizer"]), "only CLIPTokenizer is supported"),
        (index, |c| c["tokenizer"] = json!([null, null]), "text_encoder and tokenizer belong together"),
        (index, |c| c["text_encoder"] = 3.into(), "text_encoder is 3"),
        (
            unet,
            |c| c["block_out_channels"] = json!([8, 16, 1_000_000_000_000_u64]),
            "block_out_channels has 1000000000000",
        ),
        (unet, |c| c["block_out_channels"] = json!([]), "block_out_channels has 0 levels"),
        (unet, |c| c["block_out_channels"] = json!([8, 16]), "for each of 2 levels"),
        (unet, |c| c["layers_per_block"] = 1_000_000_000.into(), "layers_per_block has 1000000000"),
        (unet, |c| c["layers_per_block"] = json!([2, 2, 2]), "layers_per_block has [2,2,2]"),
        (unet, |c| c["norm_num_groups"] = 5.into(), "norm_num_groups 5 does not divide 8 channels"),
        (unet, |c| c["attention_head_dim"] = 3.into(), "3 attention heads do not divide 8 channels"),
        (unet, |c| c["attention_head_dim"] = json!([2, 2]), "2 of attention_head_dim for 3 levels"),
        (unet, |c| c["up_block_types"][0] = "CrossAttnUpBlock2D".into(), "not down_block_types mirrored"),
        (unet, |c| c["down_block_types"][0] = "AttnDownBlock2D".into(), "expected DownBlock2D or CrossAttnDownBlock2D"),
        (unet, |c| c["class_embed_type"] = "timestep".into(), "class_embed_type is \"timestep\", only null"),
        (unet, |c| c["out_channels"] = 8.into(), "wants [8, 8, 3, 3], has [4, 8, 3, 3]"),
        (unet, |c| c["sample_size"] = 0.into(), "sample_size has 0"),
        (unet, |c| c["sample_size"] = 1_000_000.into(), "sample_size has 1000000"),
        (unet, |c| *c = json!([]), "not an object"),
        (vae, |c| c["norm_num_groups"] = 4.into(), "norm_num_groups 4 does not divide 6"),
        (vae, |c| c["scaling_factor"] = 0.into(), "scaling_factor is 0"),
        (vae, |c| c["shift_factor"] = 0.1.into(), "shift_factor is 0.1"),
        (text, |c| c["num_attention_heads"] = 5.into(), "5 attention heads do not divide"),
        (text, |c| c["vocab_size"] = 500.into(), "the tokenizer's 814 tokens are more than the text encoder's 500"),
        (text, |c| c["num_hidden_layers"] = 1_000_000_000_000_u64.into(), "num_hidden_layers has 1000000000000"),
    ];
    for (file, change, message) in cases {
        let error = refused("sd1", |folder| edit(&folder.join(file), change)).to_string();
        assert!(error.contains(message), "{file}: {error}");
        let (part, _) = file.split_once('/').unwrap_or((file, ""));
        let blamed = if message.starts_with("the tokenizer's") { "tokenizer" } else { part };
        assert!(error.contains(blamed), "{file}: {error}");
    }
    // A size that is only stated takes no memory before it is held against the weights.
    let error = refused("sd1", |folder| {
        edit(&folder.join(text), |c| {
            c["vocab_size"] = 1_000_000_000_000_u64.into();
            c["hidden_size"] = 3_000_000_000_u64.into();
        });
    });
    assert!(error.to_string().contains("wants [1000000000000, 3000000000], has [814, 24]"), "{error}");
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let error = refused("sd1", |folder| {
        for file in ["config.json", "model.safetensors"] {
            fs_err::copy(golden("sd2").join("text_encoder").join(file), folder.join("text_encoder").join(file))
                .unwrap();
        }
    });
    assert!(error.to_string().contains("states have length 20, the UNet wants 24"), "{error}");
    let error = refused("sd1", |folder| {
        for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
            fs_err::copy(golden("sd2").join("vae").join(file), folder.join("vae").join(file)).unwrap();
        }
    });
    assert!(error.to_string().contains("latents have 3 channels, the UNet wants 4"), "{error}");
}

#[test]
fn a_folder_may_lack_text_encoder_and_autoencoder() {
    let folder = folder("sd1");
    edit(&folder.path().join("model_index.json"), |index| {
        for part in ["text_encoder", "tokenizer", "vae", "safety_checker"] {
            index[part] = json!([null, null]);
        }
    });
    for part in ["text_encoder", "tokenizer", "vae"] {
        fs_err::remove_dir_all(folder.path().join(part)).unwrap();
    }
    let pipeline = Pipeline::open(folder.path()).unwrap();
    assert!(pipeline.text_encoder().is_none() && pipeline.autoencoder().is_none());
    // Without latents the scheduler's file is taken at its word.
    assert_eq!((pipeline.schedule().offset, pipeline.schedule().clip), (1, Some(1.0)));
}

#[test]
fn a_saved_pipeline_is_the_same() {
    let folder = folder("sd2");
    let pipeline = Pipeline::open(folder.path()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    pipeline.save(saved.path()).unwrap();
    let again = Pipeline::open(saved.path()).unwrap();
    assert_eq!((again.unet().spec(), again.method()), (pipeline.unet().spec(), pipeline.method()));
    assert_eq!(again.autoencoder().unwrap().spec(), pipeline.autoencoder().unwrap().spec());
    assert_eq!(again.text_encoder().unwrap().spec(), pipeline.text_encoder().unwrap().spec());
    assert_eq!(again.schedule(), pipeline.schedule());
    // The golden's weights have no more digits than f16 keeps.
    assert_eq!(to_weights(again.unet()), to_weights(pipeline.unet()));
    assert_eq!(to_weights(again.autoencoder().unwrap()), to_weights(pipeline.autoencoder().unwrap()));
    assert_eq!(again.encode(&["a small cat"]).unwrap(), pipeline.encode(&["a small cat"]).unwrap());

    let schedule = Schedule { growth: Growth::Cosine, prediction: Prediction::Velocity, ..Schedule::default() };
    let pixels = Pipeline::new(None, pipeline.unet().clone(), None, schedule.clone());
    let saved = tempfile::tempdir().unwrap();
    pixels.save(saved.path()).unwrap();
    let again = Pipeline::open(saved.path()).unwrap();
    assert!(again.text_encoder().is_none() && again.autoencoder().is_none());
    assert_eq!((again.schedule(), again.method()), (&schedule, Some(Method::Ddim { eta: 0.0 })));
}
