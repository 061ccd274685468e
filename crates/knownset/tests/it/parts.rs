//! What a recipe trained beside the head, from the weights file to a score.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use knownset_core::read_features;
use knownset_nn::network::{ResNet, initialise, to_weights};
use knownset_nn::{Architecture, HostTensor, Weights};
use ndarray::array;
use serde_json::Value;

use crate::util::{feature_file, features, image_folder, noise, run, text};

/// Width of the embedding of `cifar-resnet20`.
const WIDTH: usize = 64;

/// A `cifar-resnet20` of random weights with a logit for everything else, a rotation head and a confidence.
fn weights(folder: &Path) -> PathBuf {
    let Architecture::ResNet(spec) = knownset_nn::find("cifar-resnet20").unwrap().architecture else { unreachable!() };
    let network = initialise(ResNet::new(spec, 4, &burn::tensor::Device::flex()), 3);
    let mut tensors = to_weights(&network).into_tensors();
    let mut put = |name: &str, shape: &[usize], seed: u32| {
        let values = (0..shape.iter().product()).map(|index| noise(seed, index)).collect();
        tensors.insert(format!("recipe.{name}"), HostTensor { shape: shape.to_vec(), values });
    };
    put("rotation.weight", &[4, WIDTH], 1);
    put("rotation.bias", &[4], 2);
    put("confidence.weight", &[1, WIDTH], 3);
    put("confidence.bias", &[1], 4);
    put("outlier.weight", &[1, WIDTH], 5);
    put("outlier.bias", &[1], 6);
    let path = folder.join("trained.safetensors");
    Weights::from_tensors(tensors).save(&path).unwrap();
    path
}

#[test]
fn parts_travel_from_the_weights_file_to_a_score() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path());
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 15)));
    let network = ["--backbone", "cifar-resnet20", "--weights", text(&weights)];
    let train = folder.path().join("train.safetensors");
    let extract = [&["extract"], &network[..], &["--data", &data, "--out", text(&train), "--json"]].concat();
    run(folder.path(), &extract).json();
    let (found, ignored) = read_features(&train).unwrap();
    assert!(ignored.is_empty());
    let names: Vec<&str> = found.parts.keys().map(String::as_str).collect();
    let layers = ["confidence", "outlier", "rotation"];
    assert_eq!(names, layers.map(|layer| [format!("{layer}.bias"), format!("{layer}.weight")]).concat());
    assert_eq!(found.parts["outlier.bias"], array![[noise(6, 0)]]);
    assert_eq!(found.rotations.as_ref().unwrap().dim(), (60, 4, 4));
    assert_eq!(found.class_names.as_ref().unwrap(), &["ant", "bee", "cow", "dog"]);

    // `all` finds the detectors that belong to what was trained, and is silent about the others.
    let ood = format!("same={}", text(&train));
    let bench = ["bench", "--train", text(&train), "--id", text(&train), "--ood", &ood, "--json"];
    let json = run(folder.path(), &bench).json();
    let named = |list: &str| -> BTreeSet<String> {
        json[list].as_array().unwrap().iter().map(|one| one["detector"].as_str().unwrap().to_owned()).collect()
    };
    let (ran, skipped) = (named("results"), named("skipped"));
    for name in ["conf-branch", "rot-pred", "kplus1-msp"] {
        assert!(ran.contains(name), "{name} did not run: {ran:?}, {skipped:?}");
    }
    for name in ["mcd", "g-odin", "cider", "tagood", "rts"] {
        assert!(!ran.contains(name) && !skipped.contains(name), "{name} should be left out");
    }

    // A saved detector scores images through the same network as the features of a file.
    let detector = folder.path().join("rot-pred.safetensors");
    let fit = ["fit", "--detector", "rot-pred", "--train", text(&train), "--out", text(&detector)];
    assert_eq!(run(folder.path(), &fit).code, 0);
    let score = |from: [&str; 2]| -> Value {
        let args = [&["score", "--detector", text(&detector), "--json"], &from[..]].concat();
        run(folder.path(), &args).json()["scores"].clone()
    };
    assert_eq!(score(["--data", &data]), score(["--features", text(&train)]));
}

#[test]
fn a_detector_of_another_recipe_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let train = feature_file(folder.path(), "train", &features(1, 60, 0.0));
    let out = folder.path().join("d.safetensors");
    let fit =
        |name: &str| run(folder.path(), &["fit", "--detector", name, "--train", text(&train), "--out", text(&out)]);
    fit("conf-branch").refused(&["needs `parts.confidence.weight`", "--recipe conf-branch"]);
    fit("rot-pred").refused(&["needs `rotations`", "--recipe rot-pred"]);
    fit("kplus1-msp").refused(&["needs `parts.outlier.weight`", "--recipe fodfom"]);
    assert_eq!(fit("cider:k=5").code, 0);
}
