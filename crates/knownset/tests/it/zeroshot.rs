//! The known set given in words, through the bundled towers.

use std::path::Path;

use knownset_core::prompts::unit_rows;
use knownset_core::{Features, read_features};
use ndarray::Array2;
use serde_json::Value;

use crate::util::{command, image_folder, run, text};

fn read(path: &Path) -> Features {
    read_features(path).unwrap().0
}

fn embed(folder: &Path, name: &str, prompts: &str, more: &[&str]) -> Array2<f32> {
    let (file, out) = (folder.join("prompts.txt"), folder.join(name));
    fs_err::write(&file, prompts).unwrap();
    let args = ["embed-text", "--backbone", "sprite-clip", "--prompts", text(&file), "--out", text(&out)];
    let ran = run(folder, &[&args[..], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    read(&out).embedding.unwrap()
}

/// A corpus of a few words, so that mining is quick.
fn corpus(folder: &Path) -> String {
    let words = folder.join("words");
    fs_err::create_dir_all(&words).unwrap();
    let nouns: Vec<String> = (0..60).map(|word| format!("thing{word}")).collect();
    fs_err::write(words.join("noun.artifact.txt"), nouns.join("\n")).unwrap();
    fs_err::write(words.join("adj.all.txt"), "red\nold\nbroken\nstriped\nwet\nround\nsoft").unwrap();
    text(&words).to_owned()
}

#[test]
fn a_line_is_a_row_an_empty_line_an_empty_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let three = embed(folder.path(), "a.safetensors", "a cat\n\na photo of a dog\n", &["--no-cache"]);
    assert_eq!(three.dim(), (3, 128));
    assert!(three.outer_iter().all(|row| row.iter().any(|&x| x != 0.0)));
    let alone = embed(folder.path(), "b.safetensors", "\n", &["--no-cache", "-j", "1"]);
    assert_eq!(alone.row(0), three.row(1), "a text's embedding does not depend on its neighbours");
    for name in ["c.safetensors", "d.safetensors"] {
        assert_eq!(embed(folder.path(), name, "a cat\n\na photo of a dog", &[]), three, "cached or not");
    }
}

#[test]
fn labels_and_scores_are_those_of_the_formula() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 3)));
    let ran = run(folder.path(), &["zeroshot", "--data", &data, "--templates", "mcm", "--json"]);
    let said = ran.json();
    let images = said["images"].as_array().unwrap();
    assert_eq!(said["known"]["classes"], serde_json::json!(["ant", "bee", "cow", "dog"]));
    assert_eq!(images.len(), 12);

    let out = folder.path().join("f.safetensors");
    let args = ["extract", "--backbone", "sprite-clip", "--data", &data, "--out", text(&out)];
    assert_eq!(run(folder.path(), &args).code, 0);
    let features = read(&out);
    assert!(features.logits.is_none() && features.labels.unwrap().to_vec()[..4] == [0, 0, 0, 1]);
    let images_unit = unit_rows(&features.embedding.unwrap()).unwrap();
    let prompts = "a photo of a ant\na photo of a bee\na photo of a cow\na photo of a dog";
    let words = unit_rows(&embed(folder.path(), "w.safetensors", prompts, &[])).unwrap();
    for (image, said) in images_unit.outer_iter().zip(images) {
        let cosines = words.dot(&image);
        let exponentials = cosines.mapv(f64::exp);
        let best = (0..4).max_by(|&a, &b| cosines[a].total_cmp(&cosines[b])).unwrap();
        assert_eq!(said["label"], ["ant", "bee", "cow", "dog"][best]);
        let score = said["scores"]["mcm"].as_f64().unwrap();
        assert!((score - exponentials[best] / exponentials.sum()).abs() < 1e-6, "{said}");
    }
}

#[test]
fn every_detector_that_reads_words_is_compared_and_the_known_set_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 6)));
    let (corpus, out) = (corpus(folder.path()), folder.path().join("out"));
    let outliers = folder.path().join("outliers.txt");
    fs_err::write(&outliers, "noise\nfog").unwrap();
    let args = [
        &["zeroshot", "--data", &data, "--ood", "noise=world:sprites#noise", "--corpus", &corpus, "--json"][..],
        &["--outliers", text(&outliers), "--stream-ratio", "1:2", "--out", text(&out)],
    ];
    let ran = run(folder.path(), &args.concat());
    let results = ran.json();
    let knows = |name: &str| -> Value {
        let rows = results["results"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["detector"] == name), "{name} has no row");
        results["information"][name].clone()
    };
    for name in ["mcm", "gl-mcm", "neglabel", "csp", "cma", "tag", "candidate-words"] {
        assert_eq!(knows(name), "static", "{name}");
    }
    assert_eq!(
        (knows("eoe"), knows("adaneg"), knows("oodd")),
        ("ood-hint".into(), "test-stream".into(), "test-stream".into())
    );
    let skipped = results["skipped"].as_array().unwrap().iter().map(|skipped| skipped["detector"].as_str().unwrap());
    assert_eq!(
        skipped.collect::<Vec<_>>(),
        ["clipn", "negprompt", "lsn"],
        "which need weights or prompts of their own"
    );
    let rows = results["results"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["n"] == 48), "24 known images against twice as many");
    let known = &results["known"];
    assert_eq!(known["words"]["negatives"].as_array().unwrap().len(), 10, "9 of 60 nouns and 1 of 7 adjectives");
    assert_eq!(known["corpus"]["sha256"].as_str().unwrap().len(), 64);

    // The known set in words is a feature file: what fit, score and calibrate take.
    let (known, detector) = (out.join("known.safetensors"), folder.path().join("mcm.safetensors"));
    let args = ["fit", "--detector", "mcm", "--train", text(&known), "--out", text(&detector)];
    assert_eq!(run(folder.path(), &args).code, 0);
    let scored = run(folder.path(), &["score", "--detector", text(&detector), "--data", &data, "--json"]).json();
    let alone = run(folder.path(), &["zeroshot", "--data", &data, "--json"]).json();
    for (one, other) in scored["scores"].as_array().unwrap().iter().zip(alone["images"].as_array().unwrap()) {
        assert_eq!((&one["id"], &one["score"]), (&other["id"], &other["scores"]["mcm"]));
    }
}

#[test]
fn what_cannot_be_had_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let zeroshot =
        |more: &[&str]| run(folder.path(), &[&["zeroshot", "--data", "world:sprites#test"][..], more].concat());
    zeroshot(&["--backbone", "clip"]).refused(&["no weights are bundled for `clip`", "--weights hf:"]);
    zeroshot(&["--backbone", "clip", "--weights", "nowhere"]).refused(&["nowhere"]);
    zeroshot(&["--templates", "nicest"]).refused(&["nicest", "simple"]);
    zeroshot(&["--classes", "nowhere.txt"]).refused(&["nowhere.txt"]);
    zeroshot(&["--detectors", "mmc"]).refused(&["did you mean"]);
    let mut offline = command(folder.path());
    offline.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder.path());
    offline.args([
        "embed-text",
        "--backbone",
        "clip",
        "--weights",
        "hf:nobody/nothing",
        "--prompts",
        "p",
        "--out",
        "o",
    ]);
    fs_err::write(folder.path().join("p"), "a cat").unwrap();
    let output = offline.current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("nobody/nothing") && said.contains("HF_HUB_OFFLINE"),
        "{said}"
    );
}

#[test]
fn towers_are_trained_into_a_folder_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let (design, out) = (folder.path().join("design"), folder.path().join("towers"));
    fs_err::create_dir_all(&design).unwrap();
    let tower = r#""hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2"#;
    let config = format!(
        r#"{{"model_type": "clip", "projection_dim": 8, "text_config": {{{tower}, "vocab_size": 600,
        "max_position_embeddings": 16}}, "vision_config": {{{tower}, "image_size": 32, "patch_size": 16}}}}"#
    );
    fs_err::write(design.join("config.json"), config).unwrap();
    let silent = format!("folder:{}", text(&image_folder(folder.path(), "images", 2)));
    let train = |data: &str, more: &[&str]| {
        let args = ["train", "--recipe", "clip", "--towers", text(&design), "--data", data, "--out", text(&out)];
        run(folder.path(), &[&args[..], &["--epochs", "1", "--json"], more].concat())
    };
    train(&silent, &[]).refused(&["has no text for"]);
    let trained = train("world:sprites#val", &["--val", "world:sprites#test"]).json();
    assert!(trained["epochs"][0]["validation_accuracy"].as_f64().unwrap() >= 0.0);
    train("world:sprites#val", &[]).refused(&["--resume"]);
    let args = ["zeroshot", "--backbone", "clip", "--weights", text(&out), "--data", &silent, "--json"];
    assert_eq!(run(folder.path(), &args).json()["images"].as_array().unwrap().len(), 8);
}
