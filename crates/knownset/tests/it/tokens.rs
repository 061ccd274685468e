//! A head on the bundled tower's patches, from training to a score.

use std::path::Path;

use knownset_core::read_features;
use knownset_nn::Weights;
use serde_json::Value;

use crate::util::{Ran, image_folder, run, text};

fn train(folder: &Path, out: &str, data: &str, more: &[&str]) -> Ran {
    let out = folder.join(out);
    let args = ["train", "--recipe", "tagood:momentum=0.9", "--data", data, "--out", text(&out), "--batch-size", "8"];
    run(folder, &[&args[..], &["--epochs", "3", "--json"], more].concat())
}

#[test]
fn a_head_on_patches_is_trained_and_judges_images() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = format!("folder:{}", text(&image_folder(folder, "images", 5)));
    let tower = ["--backbone", "sprite-clip"];
    let ran = train(folder, "out", &data, &[&tower[..], &["--val", &data]].concat()).json();
    assert_eq!((&ran["images"], &ran["epochs"].as_array().unwrap().len()), (&20.into(), &3));
    assert_eq!(ran["class_names"], serde_json::json!(["ant", "bee", "cow", "dog"]));
    assert!(ran["epochs"][2]["validation_accuracy"].as_f64().unwrap() >= 0.0);
    train(folder, "out", &data, &tower).refused(&["there is a checkpoint here", "--resume"]);

    // The same patches from a feature file give the same head.
    let patches = folder.join("patches.safetensors");
    let args = [&["extract", "--patches", "--data", &data, "--out", text(&patches)], &tower[..]].concat();
    assert_eq!(run(folder, &args).code, 0);
    assert!(read_features(&patches).unwrap().0.patches.is_some());
    train(folder, "file", text(&patches), &["--val", text(&patches)]).json();
    let digest = |out: &str| Weights::open(&folder.join(out).join("weights.safetensors")).unwrap().sha256();
    assert_eq!(digest("file"), digest("out"));

    let head = folder.join("out/weights.safetensors");
    let headed = [&tower[..], &["--head", text(&head)]].concat();
    let train_set = folder.join("train.safetensors");
    let args = [&["extract", "--data", &data, "--out", text(&train_set)], &headed[..]].concat();
    assert_eq!(run(folder, &args).code, 0);
    let (features, _) = read_features(&train_set).unwrap();
    let embedding = features.embedding.unwrap();
    let (n, width) = embedding.dim();
    assert_eq!((n, features.logits.unwrap().dim(), features.parts["centres"].dim()), (20, (20, 4), (4, width)));
    assert_eq!((features.parts.len(), features.parts["groups"][(0, 0)]), (2, 4.0));
    assert_eq!(features.class_names.unwrap(), ["ant", "bee", "cow", "dog"]);

    let bench = ["bench", "--train", &data, "--id", &data, "--ood", "noise=world:sprites#noise", "--json"];
    let detectors = ["--detectors", "tagood,msp"];
    let json = run(folder, &[&bench[..], &headed[..], &detectors[..]].concat()).json();
    let rows: Vec<&Value> = json["results"].as_array().unwrap().iter().map(|row| &row["detector"]).collect();
    assert_eq!(rows, ["tagood", "msp"]);

    // A fitted detector finds tower and head again, and refuses another head.
    let detector = folder.join("tagood.safetensors");
    let fit = ["fit", "--detector", "tagood", "--train", text(&train_set), "--out", text(&detector)];
    assert_eq!(run(folder, &fit).code, 0);
    let score = |more: &[&str]| run(folder, &[&["score", "--detector", text(&detector), "--json"], more].concat());
    let scores = score(&["--data", &data]).json()["scores"].clone();
    assert_eq!(scores, score(&["--features", text(&train_set)]).json()["scores"]);
    let moved = folder.join("moved.safetensors");
    fs_err::rename(&head, &moved).unwrap();
    score(&["--data", &data]).refused(&["cannot put the head", "--head"]);
    assert_eq!(score(&["--data", &data, "--head", text(&moved)]).json()["scores"], scores);
    train(folder, "other", &data, &[&tower[..], &["--seed", "1"]].concat()).json();
    let other = folder.join("other/weights.safetensors");
    score(&["--data", &data, "--head", text(&other)]).refused(&["not the weights the detector was fitted on"]);
}

#[test]
fn what_has_no_tokens_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = format!("folder:{}", text(&image_folder(folder, "images", 1)));
    let refused = |more: &[&str], all: &[&str]| train(folder, "out", &data, more).refused(all);
    refused(&["--backbone", "sprite-resnet"], &["`sprite-resnet` gives no features of patches"]);
    refused(&["--backbone", "sprite-clip", "--augment", "flip"], &["tagood has no use for --augment"]);
    refused(&[], &["a feature file is .safetensors or .npz; give --backbone"]);
    let val = ["--backbone", "sprite-clip", "--val", "world:sprites#val"];
    refused(&val, &["the classes of --val differ"]);
    let head = folder.join("head.safetensors");
    fs_err::write(&head, "no weights").unwrap();
    let out = folder.join("f.safetensors");
    let extract = ["extract", "--data", &data, "--out", text(&out), "--head", text(&head), "--backbone"];
    run(folder, &[&extract[..], &["sprite-clip"]].concat()).refused(&["cannot put the head", "head.safetensors"]);
    run(folder, &[&extract[..], &["sprite-resnet"]].concat()).refused(&["gives no features of patches"]);
}
