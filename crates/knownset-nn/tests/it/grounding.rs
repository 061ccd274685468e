//! GroundingDINO folders find what transformers finds, stage by stage; broken ones are refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::Filter;
use knownset_nn::grounding::{Found, Grounding, GroundingError, Thresholds, WordPiece};
use knownset_nn::{HostTensor, Weights};
use ndarray::{Array3, ArrayView3};
use serde_json::Value;
use tempfile::TempDir;

use crate::hashed::{hashed_f32, relative_error, value};

const TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/grounding").join(name)
}

/// A copy of a golden folder, but for what is expected of it.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs_err::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if !file.starts_with("expected") {
            fs_err::copy(&path, folder.path().join(file)).unwrap();
        }
    }
    folder
}

fn open(name: &str) -> Grounding {
    Grounding::load(&golden(name)).unwrap()
}

fn image(height: usize, width: usize) -> Array3<f32> {
    let pixels = hashed_f32(&format!("image {height}x{width}"), 3 * height * width);
    Array3::from_shape_vec((3, height, width), pixels).unwrap()
}

/// One of a folder's cases, as `make_grounding.py` wrote it down.
struct Case {
    facts: Value,
    expected: Weights,
}

impl Case {
    fn read(name: &str, case: &str) -> Self {
        let cases: Value = serde_json::from_slice(&fs_err::read(golden(name).join("cases.json")).unwrap()).unwrap();
        let expected = Weights::open(&golden(name).join(format!("expected-{case}.safetensors"))).unwrap();
        Self { facts: cases[case].clone(), expected }
    }

    fn number(&self, key: &str) -> usize {
        self.facts[key].as_u64().unwrap() as usize
    }

    fn prompt(&self) -> &str {
        self.facts["prompt"].as_str().unwrap()
    }

    fn image(&self) -> Array3<f32> {
        image(self.number("height"), self.number("width"))
    }

    fn find(&self, detector: &Grounding) -> Vec<Found> {
        let size: (u32, u32) = serde_json::from_value(self.facts["size"].clone()).unwrap();
        let threshold = |key: &str| self.facts[key].as_f64().unwrap() as f32;
        let thresholds = Thresholds { score: threshold("threshold"), text: threshold("text_threshold") };
        detector.detect(self.image().view(), size, self.prompt(), thresholds).unwrap()
    }

    fn whole(&self, what: &str) -> Vec<usize> {
        self.expected.get(what).unwrap().values.iter().map(|&number| number as usize).collect()
    }

    fn compare(&self, what: &str, values: &[f32]) {
        let error = relative_error(values, &self.expected.get(what).unwrap().values);
        println!("{} {what}: {error:.1e}", self.prompt());
        assert!(error < TOLERANCE, "{what}: relative error {error}");
    }

    fn compare_tensor<const D: usize>(&self, what: &str, tensor: Tensor<D>) {
        assert_eq!(tensor.dims().to_vec(), self.expected.get(what).unwrap().shape, "{what}");
        self.compare(what, &tensor.into_data().iter::<f32>().collect::<Vec<_>>());
    }
}

fn tensor(image: ArrayView3<'_, f32>) -> Tensor<4> {
    let (channels, height, width) = image.dim();
    let data = TensorData::new(image.iter().copied().collect::<Vec<_>>(), [1, channels, height, width]);
    Tensor::from_data(data, &Device::flex())
}

fn check(name: &str, case: &str) -> Grounding {
    let (detector, case) = (open(name), Case::read(name, case));
    let prompt = detector.prompt(case.prompt()).unwrap();
    assert_eq!(prompt.ids().iter().map(|&id| id as usize).collect::<Vec<_>>(), case.whole("ids"));
    assert_eq!(prompt.positions(), case.whole("positions"));
    assert_eq!(prompt.sees().iter().map(|&sees| usize::from(sees)).collect::<Vec<_>>(), case.whole("mask"));

    let network = detector.network();
    let maps = network.maps(tensor(case.image().view()));
    assert!(case.expected.get(&format!("map.{}", maps.len())).is_none());
    for (level, map) in maps.iter().enumerate() {
        case.compare_tensor(&format!("map.{level}"), map.clone());
    }
    case.compare_tensor("text", network.text(&prompt));
    let encoded = network.encode(&network.cells(&maps), &prompt);
    case.compare_tensor("encoder_vision", encoded.cells.clone());
    case.compare_tensor("encoder_text", encoded.text.clone());
    let decoded = network.decode(&encoded);
    let last = decoded.last().clone();
    case.compare_tensor("proposals", decoded.proposals);
    case.compare_tensor("decoder", decoded.queries);
    case.compare_tensor("logits", last.logits);
    case.compare_tensor("boxes", last.boxes);

    let found = case.find(&detector);
    assert!(!found.is_empty() && found.len() < detector.spec().queries);
    let phrases: Vec<&str> = found.iter().map(|found| found.phrase.as_str()).collect();
    assert_eq!(phrases, serde_json::from_value::<Vec<String>>(case.facts["phrases"].clone()).unwrap());
    case.compare("found_boxes", &found.iter().flat_map(|found| found.corners).collect::<Vec<_>>());
    case.compare("found_scores", &found.iter().map(|found| found.score).collect::<Vec<_>>());
    detector
}

#[test]
fn swin_t_in_shards() {
    let detector = check("swin-t", "odd");
    let spec = detector.spec();
    assert_eq!((spec.swin.window, spec.levels, spec.shared_box_head, spec.epsilon), (3, 4, true, 1e-4));
}

#[test]
fn swin_t_where_proposals_at_the_border_are_left_out() {
    check("swin-t", "wide");
    assert!(Case::read("swin-t", "wide").number("proposals_left_out") > 0);
}

#[test]
fn swin_t_where_maps_are_smaller_than_a_window() {
    check("swin-t", "small");
}

#[test]
fn swin_b_in_half_precision_with_two_coarser_maps_and_a_vocabulary_file() {
    let detector = check("swin-b", "odd");
    let spec = detector.spec();
    assert_eq!((spec.swin.window, spec.swin.outputs().len(), spec.levels), (4, 2, 4));
    assert!(!spec.shared_box_head && !spec.swin.qkv_bias);
    let preprocess = detector.preprocess();
    assert_eq!((preprocess.shortest, preprocess.longest, preprocess.filter), (96, 160, Filter::Bilinear));
}

#[test]
fn what_is_found_has_the_same_bits_on_any_number_of_threads() {
    for (name, case) in [("swin-t", "wide"), ("swin-b", "odd")] {
        let (detector, case) = (open(name), Case::read(name, case));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (image, prompt) = (case.image(), detector.prompt(case.prompt()).unwrap());
            pool.install(|| detector.queries(image.view(), &prompt).unwrap())
        };
        let one = on(1);
        for threads in [1, 2, 3] {
            assert_eq!(on(threads), one, "{name} on {threads} threads");
        }
    }
}

#[test]
fn images_smaller_than_a_window_have_as_many_boxes_as_cells() {
    for (height, width, boxes) in [(1, 1, 4), (8, 8, 4), (20, 9, 9), (5, 300, 9)] {
        let detector = open("swin-t");
        let prompt = detector.prompt("a cat .").unwrap();
        let queries = detector.queries(image(height, width).view(), &prompt).unwrap();
        assert_eq!(queries.boxes.dim(), (boxes, 4), "{height}x{width}");
    }
}

#[test]
fn thresholds_only_take_away() {
    let (detector, case) = (open("swin-t"), Case::read("swin-t", "odd"));
    let image = case.image();
    let find =
        |score, text| detector.detect(image.view(), (107, 75), case.prompt(), Thresholds { score, text }).unwrap();
    let all = find(0.0, 0.0);
    assert_eq!((all.len(), find(1.0, 0.0).len()), (detector.spec().queries, 0));
    assert!(all.iter().all(|found| found.phrase.starts_with("a small red cat.")), "{all:?}");
    let bare = find(0.0, 1.0);
    assert!(bare.iter().zip(&all).all(|(bare, all)| bare.phrase.is_empty() && bare.corners == all.corners));
}

#[test]
fn bad_questions_are_refused() {
    let detector = open("swin-t");
    let good = image(40, 50);
    let ask = |image: ArrayView3<'_, f32>, prompt: &str, score: f32, text: f32| {
        detector.detect(image, (50, 40), prompt, Thresholds { score, text }).unwrap_err()
    };
    let long = "cat . ".repeat(11) + "cat";
    assert!(matches!(ask(good.view(), &long, 0.2, 0.2), GroundingError::PromptLength { tokens: 25, most: 24 }));
    for shape in [(1, 4, 4), (3, 0, 4), (3, 4, 0)] {
        let error = ask(Array3::zeros(shape).view(), "cat .", 0.2, 0.2);
        assert!(error.to_string().contains("expected [3, height, width]"), "{error}");
    }
    for (score, text, name) in [(-0.1, 0.2, "score"), (0.2, 1.5, "text"), (f32::NAN, 0.2, "score")] {
        let error = ask(good.view(), "cat .", score, text).to_string();
        assert!(error.contains(&format!("the {name} threshold is")), "{error}");
    }
    let error = ask(Array3::from_elem((3, 9, 9), f32::NAN).view(), "cat .", 0.2, 0.2);
    assert!(matches!(error, GroundingError::NotFinite), "{error}");
}

/// What loading says after a change to the folder.
fn refused(name: &str, change: impl FnOnce(&Path)) -> String {
    let folder = folder(name);
    change(folder.path());
    match Grounding::load(folder.path()) {
        Ok(_) => panic!("{name} loaded"),
        Err(error) => error.to_string(),
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap();
    change(&mut content);
    fs_err::write(path, content.to_string()).unwrap();
}

/// Changes the weights and saves them as one file.
fn edit_weights(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) {
    let mut tensors = BTreeMap::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_str().unwrap().starts_with("model")) {
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                tensors.append(&mut Weights::open(&path).unwrap().into_tensors());
            }
            fs_err::remove_file(&path).unwrap();
        }
    }
    change(&mut tensors);
    Weights::from_tensors(tensors).save(&folder.join("model.safetensors")).unwrap();
}

#[test]
fn copies_and_buffers_of_released_checkpoints_are_known() {
    let (plain, case) = (open("swin-t"), Case::read("swin-t", "odd"));
    let folder = folder("swin-t");
    edit_weights(folder.path(), |tensors| {
        let heads: Vec<_> = tensors.iter().filter(|(name, _)| name.starts_with("bbox_embed.0.")).collect();
        let heads: Vec<_> = heads.into_iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        for (name, tensor) in heads {
            for copy in ["bbox_embed.1.", "model.decoder.bbox_embed.0.", "model.decoder.bbox_embed.1."] {
                tensors.insert(name.replace("bbox_embed.0.", copy), tensor.clone());
            }
        }
        tensors.insert("model.text_backbone.embeddings.position_ids".into(), value("x", &[1, 40]));
        tensors.insert("model.backbone.conv_encoder.model.swin.layernorm.weight".into(), value("x", &[64]));
    });
    let copied = Grounding::load(folder.path()).unwrap();
    assert_eq!(case.find(&copied), case.find(&plain));
    assert_eq!(copied.sha256(), plain.sha256());

    for (name, copy, original) in [
        ("swin-t", "bbox_embed.1.layers.2.bias", "bbox_embed.0.layers.2.bias"),
        ("swin-b", "model.decoder.bbox_embed.2.layers.0.bias", "bbox_embed.2.layers.0.bias"),
    ] {
        let error = refused(name, |folder| {
            edit_weights(folder, |tensors| {
                let mut tensor = tensors[original].clone();
                tensor.values[0] += 1.0;
                tensors.insert(copy.into(), tensor);
            });
        });
        assert!(error.contains(&format!("model.safetensors: {copy} differs from {original}")), "{error}");
    }
}

#[test]
fn tensors_missing_left_over_or_misshapen_are_named() {
    let error = refused("swin-t", |folder| {
        edit_weights(folder, |tensors| {
            tensors.remove("model.enc_output_norm.bias");
            tensors.insert("bbox_embed.7.layers.0.bias".into(), value("x", &[64]));
            tensors.insert("model.level_embed".into(), value("x", &[4, 32]));
        });
    });
    for part in [
        "model.safetensors",
        "missing (1): model.enc_output_norm.bias",
        "unexpected (1): bbox_embed.7.layers.0.bias",
        "model.level_embed (wants [4, 64], has [4, 32])",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = refused("swin-t", |folder| {
        fs_err::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    });
    assert!(error.contains("model-00002-of-00002.safetensors"), "{error}");
    let error = refused("swin-b", |folder| {
        let path = folder.join("model.safetensors");
        let bytes = fs_err::read(&path).unwrap();
        fs_err::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(error.contains("model.safetensors"), "{error}");
    let error = refused("swin-b", |folder| fs_err::remove_file(folder.join("model.safetensors")).unwrap());
    assert!(error.contains("no weights"), "{error}");
}

#[test]
fn configurations_out_of_bounds_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 20] = [
        (|c| *c = serde_json::json!([]), "not an object"),
        (|c| c["model_type"] = "detr".into(), "model_type is \"detr\""),
        (|c| c["two_stage"] = false.into(), "two_stage is false"),
        (|c| c["position_embedding_type"] = "learned".into(), "position_embedding_type is \"learned\""),
        (|c| c["d_model"] = 80.into(), "d_model is 80, expected a multiple of 32"),
        (|c| c["d_model"] = 96.into(), "wants ["),
        (|c| c["d_model"] = 1_000_000_000_000_u64.into(), "d_model is 1000000000000"),
        (|c| c["num_queries"] = 200_000.into(), "wants [200000, 64], has [9, 64]"),
        (|c| c["encoder_layers"] = 1_000_000.into(), "encoder_layers is 1000000"),
        (|c| c["encoder_layers"] = 2.into(), "missing"),
        (|c| c["encoder_attention_heads"] = 1.into(), "encoder_attention_heads, 1"),
        (|c| c["decoder_attention_heads"] = 3.into(), "3 decoder_attention_heads"),
        (|c| c["num_feature_levels"] = 2.into(), "num_feature_levels is 2, fewer"),
        (|c| c["max_text_len"] = 41.into(), "max_text_len is 41"),
        (|c| c["layer_norm_eps"] = 0.into(), "layer_norm_eps is 0"),
        (|c| c["backbone_config"]["window_size"] = 65_536.into(), "window_size is 65536"),
        (|c| c["backbone_config"]["depths"] = vec![1; 40].into(), "40 depths"),
        (|c| c["backbone_config"]["num_heads"][1] = 3.into(), "3 attention heads do not divide a width of 16"),
        (|c| c["backbone_config"]["out_features"] = serde_json::json!(["stem"]), "out_features is [\"stem\"]"),
        (|c| c["text_config"]["vocab_size"] = 100.into(), "the tokenizer has 1060 tokens"),
    ];
    for (change, message) in cases {
        let error = refused("swin-t", |folder| edit(&folder.join("config.json"), change));
        assert!(error.contains(message), "{error}");
        assert!(error.contains("config.json") || error.contains("model.safetensors.index.json"), "{error}");
    }
    let error = refused("swin-t", |folder| fs_err::remove_file(folder.join("config.json")).unwrap());
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn a_folder_without_a_whole_tokenizer_is_refused() {
    let error = refused("swin-b", |folder| fs_err::remove_file(folder.join("vocab.txt")).unwrap());
    assert!(error.contains("neither tokenizer.json nor vocab.txt"), "{error}");
    let error = refused("swin-b", |folder| fs_err::write(folder.join("vocab.txt"), "a\nb\n").unwrap());
    assert!(error.contains("vocab.txt: no token `[CLS]`"), "{error}");
    let error = refused("swin-t", |folder| fs_err::write(folder.join("tokenizer.json"), "{}").unwrap());
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn a_preprocessor_is_read_as_transformers_does() {
    type Change = fn(&mut Value);
    let read = |change: Change| {
        let folder = folder("swin-t");
        edit(&folder.path().join("preprocessor_config.json"), change);
        Grounding::load(folder.path()).map(|detector| detector.preprocess().clone())
    };
    let old = read(|c| *c = serde_json::json!({"size": 640, "max_size": 960, "resample": 3})).unwrap();
    assert_eq!((old.shortest, old.longest, old.filter), (640, 960, Filter::Bicubic));
    let bare = read(|c| *c = serde_json::json!({"do_normalize": false})).unwrap();
    assert_eq!((bare.shortest, bare.longest, bare.mean, bare.std), (800, 1333, [0.0; 3], [1.0; 3]));
    let refusals: [(Change, &str); 6] = [
        (|c| c["resample"] = 1.into(), "resample is 1"),
        (|c| c["do_resize"] = false.into(), "not resized"),
        (|c| c["size"] = serde_json::json!({"height": 32, "width": 48}), "shortest_edge is null"),
        (|c| c["size"]["longest_edge"] = 1_000_000.into(), "longest_edge is 1000000, expected 1 to 8192 pixels"),
        (|c| c["pad_size"] = serde_json::json!({"height": 32, "width": 48}), "pad_size"),
        (|c| c["image_std"] = serde_json::json!([0, 1, 1]), "image_std is"),
    ];
    for (change, message) in refusals {
        let error = read(change).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("preprocessor_config.json"), "{error}");
    }
    let folder = folder("swin-t");
    fs_err::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    assert_eq!(Grounding::load(folder.path()).unwrap().preprocess().longest, 1333);
}

/// Every image has its own boxes, whatever is beside it, up to rounding.
#[test]
fn images_beside_one_another_are_seen_as_alone() {
    for (name, case) in [("swin-t", "odd"), ("swin-b", "odd")] {
        let (detector, case) = (open(name), Case::read(name, case));
        let prompt = detector.prompt(case.prompt()).unwrap();
        let (first, second) = (case.image(), case.image().mapv(|value| 0.3 - 0.5 * value));
        let network = detector.network();
        let together = network.forward(Tensor::cat(vec![tensor(first.view()), tensor(second.view())], 0), &prompt);
        assert_eq!(together.layers.len(), detector.spec().decoder.depth);
        let values = |tensor: Tensor<3>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
        for (row, image) in [first, second].into_iter().enumerate() {
            let alone = network.forward(tensor(image.view()), &prompt);
            for (together, alone) in together.layers.iter().zip(&alone.layers) {
                let own = |tensor: &Tensor<3>| values(tensor.clone().narrow(0, row, 1));
                assert!(
                    relative_error(&own(&together.logits), &values(alone.logits.clone())) < TOLERANCE,
                    "{name} {row}"
                );
                assert!(
                    relative_error(&own(&together.boxes), &values(alone.boxes.clone())) < TOLERANCE,
                    "{name} {row}"
                );
            }
        }
    }
}

#[test]
fn a_vocabulary_of_words_knows_them_whole_and_spells_others() {
    let words = WordPiece::of_words(["guide dog", "caf\u{e9}", "1st place medal"]).unwrap();
    let phrases = words.phrases(&["guide dog", "Cafe", "st. medal"]).unwrap();
    let ids = phrases.prompt.ids();
    // BERT's numbers of the special tokens, by which transformers knows them.
    assert_eq!((ids[0], ids[3], ids[ids.len() - 1]), (101, 1012, 102));
    assert_eq!(phrases.tokens, [1..3, 4..5, 6..9], "`st` is spelt, and its full stop left out");
    assert_eq!(words.phrases(&["zzz", "dog"]).unwrap().tokens, [1..4, 5..6]);
    assert!(!words.phrases(&["zebra q7"]).unwrap().prompt.ids().contains(&100), "nothing is unknown");
    assert_eq!(phrases.prompt, words.prompt("guide dog . cafe . st medal .").unwrap());
    assert!(words.phrases(&["dog", " ? "]).unwrap_err().to_string().contains("no word"));
    assert!(words.phrases(&[]).unwrap().tokens.is_empty());
    assert!(words.vocabulary() >= 1030);
}
