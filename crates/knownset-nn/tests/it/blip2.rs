//! BLIP-2 folders say and write what transformers does; broken ones are refused by name.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::{Filter, Resize};
use knownset_nn::blip2::{Caption, CaptionError, Captioner, MOST_TOKENS, Request};
use knownset_nn::generate::{Decoding, GenerateError, Nucleus};
use knownset_nn::network::Past;
use knownset_nn::{CheckpointError, HostTensor, Weights};
use ndarray::{ArrayView4, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hashed::{golden, images, relative_error};

const TOLERANCE: f32 = 1e-4;
const WORDS: &str = "language_model.model.decoder.embed_tokens.weight";
const HEAD: &str = "language_model.lm_head.weight";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/blip2").join(name)
}

fn open(name: &str) -> Captioner {
    Captioner::load(&path(name)).unwrap()
}

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(path(name).join("expected.json")).unwrap()).unwrap()
}

fn captions(expected: &Value) -> Vec<Caption> {
    let ids = |row: &Value| row["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let rows = expected.as_array().unwrap().iter();
    rows.map(|row| Caption { text: row["text"].as_str().unwrap().to_owned(), tokens: ids(row) }).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn each_network_says_what_transformers_says() {
    for name in ["half", "legacy"] {
        let captioner = open(name);
        let (network, spec) = (captioner.network(), captioner.spec());
        let model = network.language_model();
        let file = golden(&format!("blip2/{name}/expected.safetensors"));
        let batch = images(3, spec.vision.image);
        let shape = [3, 3, spec.vision.image, spec.vision.image];
        let pixels = Tensor::<4>::from_data(TensorData::new(batch.into_raw_vec_and_offset().0, shape), &Device::flex());
        let seen = network.see(pixels.clone());
        let queries = network.ask(seen.clone());
        let prefix = network.prefix(pixels);

        let ids: Vec<i64> = file.get("ids").unwrap().values.iter().map(|&id| id as i64).collect();
        let count = ids.len() / 3;
        let words = model.vectors(Tensor::from_data(TensorData::new(ids, [3, count]), &Device::flex()));
        let vectors = Tensor::cat(vec![prefix.clone(), words], 1);
        let logits = |hidden: Tensor<3>| {
            let [n, tokens, width] = hidden.dims();
            values(model.logits(hidden.reshape([n * tokens, width])))
        };
        let whole = logits(model.read(vectors.clone(), &mut Past::default()));
        let mut past = Past::default();
        let mut steps =
            vec![model.read(vectors.clone().narrow(1, 0, spec.queries + 1), &mut past).narrow(1, spec.queries, 1)];
        for step in 1..count {
            steps.push(model.read(vectors.clone().narrow(1, spec.queries + step, 1), &mut past));
        }
        let cached = logits(Tensor::cat(steps, 1));
        let got = [
            ("seen", values(seen)),
            ("queries", values(queries)),
            ("prefix", values(prefix)),
            ("logits", whole),
            ("cached", cached),
        ];
        for (what, got) in got {
            let error = relative_error(&got, &file.get(what).unwrap().values);
            println!("blip2 {name} {what}: {error:.1e}");
            assert!(error < TOLERANCE, "{name} {what}: relative error {error}");
        }
    }
}

#[test]
fn captions_and_answers_are_those_of_transformers() {
    for name in ["half", "legacy"] {
        let captioner = open(name);
        let expected = expected(name);
        let batch = images(5, captioner.spec().vision.image);
        let got = captioner.captions(batch.view(), Request::default(), &go_on).unwrap();
        assert_eq!(got, captions(&expected["captions"]), "{name}");
        assert!(got.iter().any(|caption| caption.tokens.len() == MOST_TOKENS), "one is cut off");
        assert!(got.iter().any(|caption| caption.tokens.len() < MOST_TOKENS), "one ends");

        let prompt = expected["prompt"].as_str().unwrap();
        let request = Request { prompt, most: 7, ..Request::default() };
        let got = captioner.captions(batch.slice(s![..3, .., .., ..]), request, &go_on).unwrap();
        assert_eq!(got, captions(&expected["answers"]), "{name}");
    }
}

#[test]
fn texts_are_cut_and_put_together_as_transformers_does() {
    for name in ["half", "legacy"] {
        let captioner = open(name);
        let tokenizer = captioner.tokenizer();
        let expected = expected(name);
        let ids = |case: &Value| {
            case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect::<Vec<_>>()
        };
        for case in expected["texts"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text).unwrap(), ids(case), "{name}: {text}");
            assert_eq!(tokenizer.decode(&ids(case)).unwrap(), case["back"], "{name}: {text}");
        }
        for case in expected["tokens"].as_array().unwrap() {
            assert_eq!(tokenizer.decode(&ids(case)).unwrap(), case["back"], "{name}");
        }
    }
}

#[test]
fn a_caption_is_the_same_in_any_batch_and_on_any_number_of_threads() {
    let captioner = open("half");
    let batch = images(11, captioner.spec().vision.image);
    let greedy = |images: ArrayView4<'_, f32>| captioner.captions(images, Request::default(), &go_on).unwrap();
    let drawn = |images: ArrayView4<'_, f32>, first: usize| {
        let streams = (first..first + images.dim().0).map(|image| ChaCha8Rng::seed_from_u64(image as u64));
        let mut streams: Vec<_> = streams.collect();
        let decoding = Decoding::Nucleus { nucleus: Nucleus::new(0.9, 1.0).unwrap(), streams: &mut streams };
        captioner.captions(images, Request { decoding, ..Request::default() }, &go_on).unwrap()
    };
    let (whole, random) = (greedy(batch.view()), drawn(batch.view(), 0));
    assert_ne!(whole, random);
    for size in [1, 3] {
        for start in [0, 5, 11 - size] {
            let part = batch.slice(s![start..start + size, .., .., ..]);
            assert_eq!(greedy(part), whole[start..start + size]);
            assert_eq!(drawn(part, start), random[start..start + size]);
        }
    }
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| (greedy(batch.view()), drawn(batch.view(), 0))), (whole.clone(), random.clone()));
    }
    assert!(greedy(batch.slice(s![..0, .., .., ..])).is_empty());
}

#[test]
fn images_are_resized_to_a_square() {
    let captioner = open("half");
    let preprocess = captioner.preprocess();
    assert_eq!(preprocess.resize, Resize::Exact { size: 20, filter: Filter::Bicubic });
    assert_eq!((preprocess.size, preprocess.mean[0], preprocess.std[2]), (20, 0.481_454_66, 0.275_777_1));
    let without = folder("half", |folder| fs_err::remove_file(folder.join("preprocessor_config.json")).unwrap());
    assert_eq!(Captioner::load(without.path()).unwrap().preprocess(), preprocess);
    assert_eq!(captioner.sha256(), Captioner::load(without.path()).unwrap().sha256());

    // The digest knows what is read beside the weights.
    let of = |file: &str, change: &dyn Fn(&mut Value)| {
        let other = folder("half", |folder| edit(&folder.join(file), change));
        Captioner::load(other.path()).unwrap().sha256().to_owned()
    };
    let others = [
        of("preprocessor_config.json", &|config| config["image_mean"][0] = 0.5.into()),
        of("config.json", &|config| config["text_config"]["eos_token_id"] = 7.into()),
        of("tokenizer.json", &|tokenizer| tokenizer["added_tokens"][0]["lstrip"] = true.into()),
    ];
    assert!(others.iter().all(|other| other != captioner.sha256()), "{others:?}");
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let captioner = open("half");
    let batch = images(2, 20);
    let ask = |request| captioner.captions(batch.view(), request, &go_on).unwrap_err();
    let error = ask(Request { prompt: "a <image> of", ..Request::default() });
    assert!(matches!(error, CaptionError::Placeholder { .. }), "{error}");
    // 5 queries and the start token leave 42 of 48 positions; the last token written takes none.
    let error = ask(Request { most: 44, ..Request::default() });
    assert_eq!(error.to_string(), "6 tokens and 44 more are too many, the language model has 48 positions");
    let error = captioner.captions(images(2, 25).view(), Request::default(), &go_on).unwrap_err();
    assert_eq!(error.to_string(), "images of shape [3, 25, 25], the captioner takes [3, 20, 20]");
    let error = captioner.captions(batch.view(), Request::default(), &|| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, CaptionError::Generate(GenerateError::Stopped)), "{error}");
}

/// A copy of a golden folder after a change.
fn folder(name: &str, change: impl FnOnce(&Path)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs_err::read_dir(path(name)).unwrap() {
        let from = entry.unwrap().path();
        fs_err::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    change(folder.path());
    folder
}

fn refused(name: &str, change: impl FnOnce(&Path)) -> CheckpointError {
    match Captioner::load(folder(name, change).path()) {
        Ok(_) => panic!("{name} opened"),
        Err(error) => error,
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    change(&mut content);
    fs_err::write(path, content.to_string()).unwrap();
}

fn edit_weights(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) {
    let path = folder.join("model.safetensors");
    let mut tensors = Weights::open(&path).unwrap().into_tensors();
    change(&mut tensors);
    Weights::from_tensors(tensors).save(&path).unwrap();
}

#[test]
fn a_tied_head_may_be_stored_instead_of_the_words_or_beside_them_but_not_differ() {
    let captioner = open("half");
    let other = folder("half", |folder| {
        edit_weights(folder, |tensors| {
            let words = tensors.remove(WORDS).unwrap();
            tensors.insert(HEAD.into(), words);
        });
    });
    assert_eq!(Captioner::load(other.path()).unwrap().sha256(), captioner.sha256());
    let error = refused("half", |folder| {
        edit_weights(folder, |tensors| {
            let mut words = tensors[WORDS].clone();
            words.values[7] += 1.0;
            tensors.insert(HEAD.into(), words);
        });
    });
    assert!(error.to_string().contains("lm_head.weight differs from"), "{error}");
    // A head of its own is another model.
    let batch = images(3, 20);
    let untied = folder("half", |folder| {
        edit(&folder.join("config.json"), |c| c["text_config"]["tie_word_embeddings"] = false.into());
        edit_weights(folder, |tensors| {
            let mut head = tensors[WORDS].clone();
            head.values.reverse();
            tensors.insert(HEAD.into(), head);
        });
    });
    let write = |captioner: &Captioner| captioner.captions(batch.view(), Request::default(), &go_on).unwrap();
    assert_ne!(write(&Captioner::load(untied.path()).unwrap()), write(&captioner));
}

#[test]
fn tensors_missing_left_over_or_misshapen_are_named() {
    let error = refused("half", |folder| {
        edit_weights(folder, |tensors| {
            tensors.remove("qformer.encoder.layer.3.crossattention.output.LayerNorm.bias").unwrap();
            let moved = tensors.remove("language_projection.bias").unwrap();
            tensors.insert("language_projection.offset".into(), moved);
            tensors.get_mut("language_model.model.decoder.layers.1.fc2.bias").unwrap().shape.push(1);
        });
    });
    let text = error.to_string();
    for part in [
        "model.safetensors",
        "missing (2): language_projection.bias, qformer.encoder.layer.3.crossattention.output.LayerNorm.bias",
        "unexpected (1): language_projection.offset",
        "language_model.model.decoder.layers.1.fc2.bias (wants [32], has [32, 1])",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn configurations_that_contradict_the_weights_or_ask_for_more_are_refused() {
    type Change = fn(&mut Value);
    const HUGE: u64 = 1_000_000_000_000;
    let cases: [(Change, &str); 21] = [
        (
            |c| c["vision_config"]["hidden_size"] = HUGE.into(),
            "vision hidden_size is 1000000000000, the weights have 24",
        ),
        (|c| c["vision_config"]["num_hidden_layers"] = HUGE.into(), "vision num_hidden_layers is 1000000000000"),
        (|c| c["vision_config"]["image_size"] = 40.into(), "images become 20 pixels wide, the image tower takes 40"),
        (|c| c["vision_config"]["patch_size"] = HUGE.into(), "patch_size is 1000000000000, the weights have 5"),
        (|c| c["vision_config"]["hidden_act"] = "quick_gelu".into(), "hidden_act is \"quick_gelu\""),
        (|c| c["vision_config"]["num_attention_heads"] = 5.into(), "5 attention heads do not divide a width of 24"),
        (|c| c["qformer_config"]["intermediate_size"] = HUGE.into(), "qformer intermediate_size is 1000000000000"),
        (|c| c["qformer_config"]["num_hidden_layers"] = 3.into(), "qformer num_hidden_layers is 3, the weights have 4"),
        (|c| c["qformer_config"]["cross_attention_frequency"] = 2.into(), "qformer.encoder.layer.2.crossattention"),
        (|c| c["qformer_config"]["use_qformer_text_input"] = true.into(), "use_qformer_text_input is true"),
        (|c| c["num_query_tokens"] = HUGE.into(), "num_query_tokens is 1000000000000, the weights have 5"),
        (|c| c["text_config"]["vocab_size"] = HUGE.into(), "vocab_size is 1000000000000, the weights have 320"),
        (|c| c["text_config"]["max_position_embeddings"] = HUGE.into(), "max_position_embeddings is 1000000000000"),
        (|c| c["text_config"]["ffn_dim"] = HUGE.into(), "text ffn_dim is 1000000000000, the weights have 44"),
        (|c| c["text_config"]["word_embed_proj_dim"] = 16.into(), "word_embed_proj_dim is 16"),
        (|c| c["text_config"]["model_type"] = "t5".into(), "model_type is \"t5\""),
        (|c| c["text_config"]["activation_function"] = "silu".into(), "activation_function is \"silu\""),
        (|c| c["text_config"]["bos_token_id"] = 320.into(), "bos_token_id 320 is not in a vocabulary of 320"),
        (|c| c["text_config"]["eos_token_id"] = json!([2, -1]), "eos_token_id is -1"),
        (|c| c["model_type"] = "clip".into(), "model_type is \"clip\""),
        (|c| *c = json!(3), "not an object"),
    ];
    for (change, message) in cases {
        let error = refused("half", |folder| edit(&folder.join("config.json"), change)).to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
}

#[test]
fn files_that_are_missing_or_broken_are_named() {
    let without = |name: &'static str, file: &'static str| {
        refused(name, |folder| fs_err::remove_file(folder.join(file)).unwrap()).to_string()
    };
    for (name, file, message) in [
        ("half", "config.json", "config.json"),
        ("half", "model.safetensors", "no weights"),
        ("half", "tokenizer.json", "no tokenizer: neither tokenizer.json, nor vocab.json with merges.txt"),
        ("legacy", "merges.txt", "no tokenizer"),
        ("legacy", "model-00002-of-00003.safetensors", "model-00002-of-00003.safetensors"),
    ] {
        let error = without(name, file);
        assert!(error.contains(message), "{error}");
    }
    let cut = |folder: &Path, file: &str| {
        let content = fs_err::read(folder.join(file)).unwrap();
        fs_err::write(folder.join(file), &content[..content.len() / 2]).unwrap();
    };
    for (name, file) in [
        ("half", "model.safetensors"),
        ("half", "tokenizer.json"),
        ("half", "preprocessor_config.json"),
        ("legacy", "model-00003-of-00003.safetensors"),
        ("legacy", "vocab.json"),
    ] {
        let error = refused(name, |folder| cut(folder, file)).to_string();
        assert!(error.contains(file), "{error}");
    }
    let error = refused("legacy", |folder| {
        edit(&folder.join("special_tokens_map.json"), |map| map["pad_token"] = "[PAD]".into());
    });
    assert!(error.to_string().contains("vocab.json: no token `[PAD]`"), "{error}");
}
