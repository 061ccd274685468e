//! Scores of every detector against `golden/make_detectors.py`, `make_recipe_detectors.py` and `make_words.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use knownset_core::{Features, Head, Tensor, TensorFile};
use knownset_detect::{Chosen, DETECTORS, Entry, FitInput, Fitted, select};
use ndarray::{Array1, Array2, Array3, Dimension};

/// Relative to the score, for scores of order 1 and above. The bank of neighbours holds unit vectors in f32.
fn tolerance(name: &str) -> f64 {
    if ["knn", "cider", "npos"].contains(&name) { 1e-6 } else { 1e-9 }
}

/// The largest difference of the scores from those expected, relative to the larger of a score and `floor`.
fn difference(scores: &[f64], file: &TensorFile, name: &str, floor: f64) -> f64 {
    let Tensor::F64(expected) = &file.tensors[&format!("expected.{name}")] else { panic!("{name} is not f64") };
    assert_eq!(scores.len(), expected.len());
    scores.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(floor)).fold(0.0, f64::max)
}

fn f32<D: Dimension>(file: &TensorFile, name: &str) -> ndarray::Array<f32, D> {
    match &file.tensors[name] {
        Tensor::F32(array) => array.clone().into_dimensionality().expect("the rank asked for"),
        other => panic!("{name}: {other:?}"),
    }
}

fn read(name: &str) -> TensorFile {
    TensorFile::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).expect("a golden file")
}

#[test]
fn every_detector_of_images_gives_the_expected_scores() {
    let file = read("detectors.npz");
    let Tensor::I64(labels) = &file.tensors["train.labels"] else { panic!("labels are not i64") };
    let labels: Array1<i64> = labels.clone().into_dimensionality().unwrap();
    let features = |set: &str| Features {
        logits: Some(f32(&file, &format!("{set}.logits"))),
        embedding: Some(f32(&file, &format!("{set}.embedding"))),
        head: Some(Head { weight: f32(&file, "head.weight"), bias: f32(&file, "head.bias") }),
        ..Features::default()
    };
    let train = Features { labels: Some(labels), ..features("train") };
    let test: Features = features("test");
    let input = FitInput::new(&train, None).unwrap();
    let plain = |entry: &&&Entry| entry.info.needs.prompts.is_empty() && entry.info.needs.recipe.is_none();
    for entry in DETECTORS.iter().filter(plain) {
        let name = entry.info.name;
        let fitted = Fitted::fit(&Chosen::new(entry, &serde_json::Value::Null).unwrap(), &input).unwrap();
        let worst = difference(&fitted.score(&test).unwrap(), &file, name, 1.0);
        assert!(worst < tolerance(name), "{name} differs by {worst:e}");
    }
}

#[test]
fn every_detector_of_a_recipe_gives_the_expected_scores() {
    let file = read("recipe_detectors.npz");
    let named = |prefix: &'static str| file.tensors.keys().filter_map(move |key| key.strip_prefix(prefix));
    let parts: BTreeMap<String, _> =
        named("parts.").map(|name| (name.to_owned(), f32(&file, &format!("parts.{name}")))).collect();
    let test = Features {
        logits: Some(f32(&file, "test.logits")),
        embedding: Some(f32(&file, "test.embedding")),
        rotations: Some(f32(&file, "test.rotations")),
        ..Features::default()
    };
    let mut defaults = BTreeSet::new();
    for name in named("expected.") {
        // What g-odin computes is told by the network, not by a parameter.
        let (text, kind) = name.split_once(" kind ").unwrap_or((name, "1"));
        let mut train = Features {
            logits: Some(f32(&file, "train.logits")),
            embedding: Some(f32(&file, "train.embedding")),
            rotations: Some(Array3::zeros((120, 4, 4))),
            head: Some(Head { weight: f32(&file, "head.weight"), bias: f32(&file, "head.bias") }),
            parts: parts.clone(),
            ..Features::default()
        };
        train.parts.insert("godin.kind".into(), Array2::from_elem((1, 1), kind.parse().unwrap()));
        let chosen = &select(text).unwrap()[0];
        let fitted = Fitted::fit(chosen, &FitInput::new(&train, None).unwrap()).unwrap();
        let worst = difference(&fitted.score(&test).unwrap(), &file, name, 1.0);
        assert!(worst < tolerance(text), "{name} differs by {worst:e}");
        defaults.insert(chosen.entry().info.name);
    }
    let all = DETECTORS.iter().filter(|entry| entry.info.needs.recipe.is_some()).count();
    assert_eq!(defaults.len(), all, "a golden for each");
}

#[test]
fn every_detector_of_words_gives_the_expected_scores() {
    let file = read("words.npz");
    let named = |prefix: &'static str| file.tensors.keys().filter_map(move |key| key.strip_prefix(prefix));
    let prompts = named("prompts.").map(|name| (name.to_owned(), f32(&file, &format!("prompts.{name}")))).collect();
    let known = Features { prompts, ..Features::default() };
    let images = Features {
        embedding: Some(f32(&file, "images.embedding")),
        patches: Some(f32(&file, "images.patches")),
        ..Features::default()
    };
    let input = FitInput::new(&known, None).unwrap();
    let mut defaults = 0;
    for text in named("expected.") {
        let chosen = &select(text).unwrap()[0];
        defaults += usize::from(chosen.entry().info.name == text);
        let scores = Fitted::fit(chosen, &input).unwrap().score(&images).unwrap();
        let worst = difference(&scores, &file, text, 1e-6);
        assert!(worst < 1e-9, "{text} differs by {worst:e}");
    }
    let all = DETECTORS.iter().filter(|entry| !entry.info.needs.prompts.is_empty()).count();
    assert_eq!(defaults, all, "a golden with default parameters for each");
}
