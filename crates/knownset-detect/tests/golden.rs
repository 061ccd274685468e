//! Scores of every detector against `golden/make_detectors.py` and `golden/make_words.py`.

use std::path::Path;

use knownset_core::{Features, Head, Tensor, TensorFile};
use knownset_detect::{Chosen, DETECTORS, FitInput, Fitted, select};
use ndarray::{Array1, Dimension};

/// Relative to the score, for scores of order 1 and above. The bank of `knn` holds unit vectors in f32.
fn tolerance(name: &str) -> f64 {
    if name == "knn" { 1e-6 } else { 1e-9 }
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
    for entry in DETECTORS.iter().filter(|entry| entry.info.needs.prompts.is_empty()) {
        let name = entry.info.name;
        let Tensor::F64(expected) = &file.tensors[&format!("expected.{name}")] else { panic!("{name} is not f64") };
        let fitted = Fitted::fit(&Chosen::new(entry, &serde_json::Value::Null).unwrap(), &input).unwrap();
        let scores = fitted.score(&test).unwrap();
        assert_eq!(scores.len(), expected.len());
        let worst = scores.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
        assert!(worst < tolerance(name), "{name} differs by {worst:e}");
    }
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
        let Tensor::F64(expected) = &file.tensors[&format!("expected.{text}")] else { panic!("{text} is not f64") };
        let chosen = &select(text).unwrap()[0];
        defaults += usize::from(chosen.entry().info.name == text);
        let scores = Fitted::fit(chosen, &input).unwrap().score(&images).unwrap();
        assert_eq!(scores.len(), expected.len());
        let worst = scores.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1e-6)).fold(0.0, f64::max);
        assert!(worst < 1e-9, "{text} differs by {worst:e}");
    }
    let all = DETECTORS.iter().filter(|entry| !entry.info.needs.prompts.is_empty()).count();
    assert_eq!(defaults, all, "a golden with default parameters for each");
}
