//! CLIP folders of three layouts say what transformers and OpenCLIP say; broken ones are refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::{Filter, Resize};
use knownset_nn::clip::Clip;
use knownset_nn::{CheckpointError, HostTensor, Weights};
use ndarray::{Axis, s};
use tempfile::TempDir;

use crate::hashed::{images, relative_error, value};

const TOLERANCE: f32 = 1e-4;
const TEXTS: [&str; 5] = ["a small red cat.", "dog", "", "a wooden lighthouse near the old river", LONG];
const LONG: &str = "word word word word word word word word word word word word word word word word word word word word \
                    word word word word word word word word word word word word word word word word word word word word ";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy of a golden folder that has a tokenizer and, for OpenAI's and OpenCLIP's, weights.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &Path| fs_err::copy(from, folder.path().join(from.file_name().unwrap())).unwrap();
    for entry in fs_err::read_dir(golden("clip").join(name)).unwrap() {
        copy(&entry.unwrap().path());
    }
    for file in ["vocab.json", "merges.txt"] {
        copy(&golden("tokenizer/small").join(file));
    }
    fs_err::remove_file(folder.path().join("expected.safetensors")).unwrap();
    let shapes = folder.path().join("shapes.json");
    if shapes.is_file() {
        let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_slice(&fs_err::read(&shapes).unwrap()).unwrap();
        let tensors = shapes.iter().map(|(name, shape)| (name.clone(), value(name, shape))).collect();
        Weights::from_tensors(tensors).save(&folder.path().join("ViT.safetensors")).unwrap();
    }
    folder
}

fn open(name: &str) -> Clip {
    Clip::open(folder(name).path()).unwrap()
}

fn check(name: &str) -> Clip {
    let clip = open(name);
    let expected = Weights::open(&golden("clip").join(name).join("expected.safetensors")).unwrap();
    let batch = images(3, clip.spec().image);
    let (embeddings, patches) = clip.images_and_patches(batch.view());
    let texts = clip.texts(&TEXTS).unwrap();
    assert_eq!(clip.images(batch.view()), embeddings, "{name}");
    let got = [
        ("images", embeddings.shape(), embeddings.as_slice().unwrap()),
        ("patches", patches.shape(), patches.as_slice().unwrap()),
        ("texts", texts.shape(), texts.as_slice().unwrap()),
        ("scale", &[1], &[clip.scale()]),
    ];
    for (what, shape, values) in got {
        let expected = expected.get(what).unwrap();
        assert_eq!(shape, expected.shape, "{name} {what}");
        let error = relative_error(values, &expected.values);
        println!("{name} {what}: {error:.1e}");
        assert!(error < TOLERANCE, "{name} {what}: relative error {error}");
    }
    clip
}

#[test]
fn hugging_face_with_quick_gelu_and_absent_keys() {
    let clip = check("hf-quick");
    assert!(clip.spec().vision.quick_gelu && clip.spec().text.quick_gelu);
    assert_eq!(clip.preprocess().resize, Resize::Shorter { size: 32, filter: Filter::Bicubic });
    assert_eq!(clip.origin().backbone, "clip");
}

#[test]
fn hugging_face_in_half_precision_with_gelu_and_another_epsilon() {
    let clip = check("hf-gelu-half");
    assert_eq!((clip.spec().vision.quick_gelu, clip.spec().text.epsilon), (false, 1e-3));
    assert_eq!(clip.tokenizer().context_length(), 77);
}

#[test]
fn hugging_face_in_shards_with_the_old_end_token() {
    let clip = check("hf-legacy-sharded");
    assert_eq!((clip.spec().image, clip.spec().patches()), (30, 9));
}

#[test]
fn openai() {
    let clip = check("openai");
    assert_eq!((clip.spec().vision.heads, clip.spec().vision.quick_gelu), (2, true));
    assert_eq!(clip.preprocess().resize, Resize::Shorter { size: 32, filter: Filter::Bicubic });
    assert_eq!(clip.preprocess().mean, [0.481_454_66, 0.457_827_5, 0.408_210_73]);
}

#[test]
fn open_clip() {
    let clip = check("open-clip");
    assert_eq!((clip.spec().vision.heads, clip.spec().text.heads, clip.spec().vision.hidden), (4, 4, 128));
    assert_eq!(clip.preprocess().resize, Resize::Exact { size: 24, filter: Filter::Bilinear });
}

#[test]
fn an_embedding_has_the_same_bits_in_any_batch_and_on_any_number_of_threads() {
    for name in ["hf-quick", "hf-gelu-half", "openai"] {
        let clip = open(name);
        let words = ["red", "cat", "old wooden house", "a", "lighthouse by the river", "mountain", "!", "teapot"];
        let texts: Vec<String> = (0..37).map(|i| words[..=i % 8].join(" ") + &" dog".repeat(i / 8)).collect();
        let batch = images(11, clip.spec().image);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| (clip.images_and_patches(batch.view()), clip.texts(&texts).unwrap()))
        };
        let whole = on(1);
        let ((embeddings, patches), words) = &whole;
        for threads in [2, 3] {
            assert_eq!(on(threads), whole, "{name}");
        }
        for size in [1, 4, 9] {
            let (part, part_patches) = clip.images_and_patches(batch.slice(s![2..2 + size, .., .., ..]));
            assert_eq!(part, embeddings.slice(s![2..2 + size, ..]), "{name}");
            assert_eq!(part_patches, patches.slice(s![2..2 + size, .., ..]), "{name}");
            for start in [0, 17, 37 - size] {
                let part = clip.texts(&texts[start..start + size]).unwrap();
                assert_eq!(part, words.slice(s![start..start + size, ..]), "{name}: {size} texts from {start}");
            }
        }
        let order: Vec<usize> = (0..37).map(|i| i * 5 % 37).collect();
        let shuffled: Vec<&String> = order.iter().map(|&text| &texts[text]).collect();
        assert_eq!(clip.texts(&shuffled).unwrap(), words.select(Axis(0), &order), "{name}");
    }
}

/// Finds out whether any tensor keeps a gradient.
struct Frozen(bool);

impl ModuleVisitor for Frozen {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 &= !param.val().is_autodiff();
    }
}

#[test]
fn token_vectors_are_read_as_their_tokens_and_gradients_reach_nothing_else() {
    let clip = open("hf-quick");
    let (network, device) = (clip.network(), Device::flex());
    let tokens = clip.tokenizer().encode("a small red cat.").unwrap();
    let ids: Vec<i64> = tokens.ids.iter().map(|&id| i64::from(id)).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens.ids.len()]), &device);
    let ends = Tensor::<1, Int>::from_data([tokens.end as i64], &device);
    let values = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
    let by_ids = values(network.texts(ids.clone(), ends.clone()));
    let plain = network.token_vectors(ids);
    assert_eq!(values(network.texts_of_vectors(plain.clone(), ends.clone())), by_ids);
    let vectors = plain.clone().autodiff().require_grad();
    let text = network.texts_of_vectors(vectors.clone(), ends.clone());
    // With gradients a tower may round otherwise.
    assert!(relative_error(&values(text.clone()), &by_ids) < 1e-6);

    let gradient: Vec<f32> = vectors.grad(&text.sum().backward()).unwrap().into_data().iter::<f32>().collect();
    let [_, _, width] = plain.dims();
    let (before, behind) = gradient.split_at((tokens.end + 1) * width);
    assert!(behind.iter().all(|&value| value == 0.0), "what comes behind the end token changes nothing");
    let start: Vec<f32> = plain.into_data().iter::<f32>().collect();
    let sum = |place: usize, by: f32| {
        let mut moved = start.clone();
        moved[place] += by;
        let moved = Tensor::from_data(TensorData::new(moved, [1, start.len() / width, width]), &device);
        values(network.texts_of_vectors(moved, ends.clone())).iter().map(|&value| f64::from(value)).sum::<f64>()
    };
    for place in (0..before.len()).step_by(7) {
        let difference = (sum(place, 1e-2) - sum(place, -1e-2)) / 2e-2;
        assert!((difference - f64::from(before[place])).abs() < 5e-3, "{place}: {difference} {}", before[place]);
    }
    let mut frozen = Frozen(true);
    network.visit(&mut frozen);
    assert!(frozen.0);
}

#[test]
fn no_texts_and_no_images_are_no_rows() {
    let clip = open("hf-quick");
    assert_eq!(clip.texts::<&str>(&[]).unwrap().shape(), [0, 12]);
    let (embeddings, patches) = clip.images_and_patches(images(1, 32).slice(s![..0, .., .., ..]));
    assert_eq!((embeddings.shape(), patches.shape()), (&[0, 12][..], &[0, 16, 12][..]));
}

#[test]
fn tokens_without_an_end_or_beyond_the_vocabulary_are_refused() {
    let clip = open("hf-quick");
    let good = clip.tokenizer().encode("cat").unwrap();
    for (at, id, message) in [(0, 814, "token 814 is not in the vocabulary of 814"), (good.end, 1, "")] {
        let mut tokens = good.clone();
        tokens.ids[at] = id;
        if message.is_empty() {
            tokens.ids.fill(1);
        }
        let error = clip.tokens(&[good.clone(), tokens]).unwrap_err().to_string();
        assert!(
            error.contains(if message.is_empty() { "no end token among the first 16" } else { message }),
            "{error}"
        );
    }
}

/// What opening says after a change to the folder.
fn refused(name: &str, change: impl FnOnce(&Path)) -> CheckpointError {
    let folder = folder(name);
    change(folder.path());
    match Clip::open(folder.path()) {
        Ok(_) => panic!("{name} opened"),
        Err(error) => error,
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut content = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    change(&mut content);
    fs_err::write(path, content.to_string()).unwrap();
}

fn edit_weights(path: &Path, change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) {
    let mut tensors = Weights::open(path).unwrap().into_tensors();
    change(&mut tensors);
    Weights::from_tensors(tensors).save(path).unwrap();
}

#[test]
fn tensors_missing_left_over_or_misshapen_are_named() {
    let error = refused("hf-quick", |folder| {
        edit_weights(&folder.join("model.safetensors"), |tensors| {
            tensors.remove("text_model.final_layer_norm.bias");
            tensors.insert("logit_bias".into(), value("logit_bias", &[1]));
            let odd = value("odd", &[31]);
            tensors.insert("vision_model.post_layernorm.weight".into(), odd);
        });
    });
    let text = error.to_string();
    for part in [
        "model.safetensors",
        "missing (1): text_model.final_layer_norm.bias",
        "unexpected (1): logit_bias",
        "wants [32], has [31]",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let error = refused("openai", |folder| {
        edit_weights(&folder.join("ViT.safetensors"), |tensors| {
            tensors.insert("visual.attnpool.q_proj.weight".into(), value("x", &[2, 2]));
            tensors.insert("transformer.resblocks.0.attn.in_proj_bias".into(), value("x", &[100]));
        });
    });
    let text = error.to_string();
    for part in
        ["ViT.safetensors", "visual.attnpool.q_proj.weight", "transformer.resblocks.0.attn.in_proj_bias", "missing (3)"]
    {
        assert!(text.contains(part), "{text}");
    }
    let error = refused("open-clip", |folder| {
        edit_weights(&folder.join("ViT.safetensors"), |tensors| drop(tensors.remove("visual.conv1.weight")));
    });
    assert!(error.to_string().contains("patch_embedding"), "{error}");
    let error = refused("hf-quick", |folder| {
        edit_weights(&folder.join("model.safetensors"), |tensors| tensors.retain(|name, _| name.starts_with("text")));
    });
    assert!(error.to_string().contains("not the tensors of a CLIP"), "{error}");
}

#[test]
fn configurations_that_contradict_the_weights_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(&str, Change, &str); 10] = [
        (
            "config.json",
            |c| c["vision_config"]["hidden_size"] = 1_000_000_000_000_u64.into(),
            "vision hidden_size is 1000000000000, the weights have 32",
        ),
        (
            "config.json",
            |c| c["text_config"]["num_hidden_layers"] = 3.into(),
            "text num_hidden_layers is 3, the weights have 2",
        ),
        ("config.json", |c| c["text_config"]["vocab_size"] = 49408.into(), "vocab_size is 49408, the weights have 814"),
        ("config.json", |c| c["vision_config"]["num_attention_heads"] = 5.into(), "5 attention heads do not divide"),
        ("config.json", |c| c["text_config"]["hidden_act"] = "gelu_new".into(), "hidden_act is \"gelu_new\""),
        ("config.json", |c| c["text_config"]["eos_token_id"] = 7.into(), "ending texts with 813"),
        ("config.json", |c| c["model_type"] = "siglip".into(), "model_type is `siglip`"),
        ("config.json", |c| c["vision_config"]["patch_size"] = 0.into(), "patch_size is 0"),
        ("config.json", |c| *c = serde_json::json!([]), "not an object"),
        (
            "preprocessor_config.json",
            |c| c["crop_size"] = 16.into(),
            "images become 16 pixels wide, the image tower takes 32",
        ),
    ];
    for (file, change, message) in cases {
        let error = refused("hf-quick", |folder| edit(&folder.join(file), change)).to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(file) || message.starts_with("ending"), "{error}");
    }
    let error = refused("hf-quick", |folder| fs_err::remove_file(folder.join("config.json")).unwrap());
    assert!(error.to_string().contains("config.json"), "{error}");
    let error = refused("hf-quick", |folder| fs_err::remove_file(folder.join("vocab.json")).unwrap());
    assert!(matches!(error, CheckpointError::Tokenizer(_)), "{error}");
    let error = refused("hf-quick", |folder| fs_err::remove_file(folder.join("model.safetensors")).unwrap());
    assert!(error.to_string().contains("no weights"), "{error}");
}

#[test]
fn an_index_that_leads_astray_is_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 4] = [
        (|index| index["weight_map"]["logit_scale"] = "../x.safetensors".into(), "logit_scale is in no plain file"),
        (
            |index| index["weight_map"]["extra"] = "model-00001-of-00002.safetensors".into(),
            "extra is not in model-00001",
        ),
        (|index| drop(index["weight_map"].as_object_mut().unwrap().remove("logit_scale")), "logit_scale is in model-0"),
        (|index| index["weight_map"] = 1.into(), "no weight_map"),
    ];
    for (change, message) in cases {
        let error = refused("hf-legacy-sharded", |folder| edit(&folder.join("model.safetensors.index.json"), change))
            .to_string();
        assert!(error.contains(message) && error.contains("model.safetensors.index.json"), "{error}");
    }
    let error = refused("hf-legacy-sharded", |folder| {
        fs_err::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    });
    assert!(error.to_string().contains("model-00002-of-00002.safetensors"), "{error}");
}

#[test]
fn a_preprocessor_is_read_as_transformers_does() {
    type Change = fn(&mut serde_json::Value);
    let read = |change: Change| {
        let folder = folder("hf-quick");
        edit(&folder.path().join("preprocessor_config.json"), change);
        Clip::open(folder.path()).map(|clip| clip.preprocess().clone())
    };
    let old = read(|c| *c = serde_json::json!({"size": 40, "crop_size": 32, "resample": 2, "image_mean": [0, 0.5, 1]}))
        .unwrap();
    assert_eq!(
        (old.resize, old.size, old.mean),
        (Resize::Shorter { size: 40, filter: Filter::Bilinear }, 32, [0.0, 0.5, 1.0])
    );
    let square = read(|c| *c = serde_json::json!({"size": {"height": 32, "width": 32}, "do_center_crop": false, "resample": 0, "do_normalize": false})).unwrap();
    assert_eq!((square.resize, square.std), (Resize::Exact { size: 32, filter: Filter::Nearest }, [1.0; 3]));
    let refusals: [(Change, &str); 7] = [
        (|c| c["resample"] = 1.into(), "resample is 1"),
        (|c| c["do_resize"] = false.into(), "not resized"),
        (|c| c["rescale_factor"] = 1.into(), "rescale_factor is 1"),
        (|c| c["size"] = serde_json::json!({"height": 32, "width": 48}), "size is"),
        (|c| c["size"] = 16.into(), "crop_size 32 is larger than size 16"),
        (|c| c["do_center_crop"] = false.into(), "neither cropped"),
        (|c| c["image_std"] = serde_json::json!([0, 1, 1]), "image_std is"),
    ];
    for (change, message) in refusals {
        let error = read(change).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("preprocessor_config.json"), "{error}");
    }
}
