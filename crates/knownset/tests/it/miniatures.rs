//! The networks that ship with the program, through the command line.

use std::path::Path;

use serde_json::json;

use crate::util::{Ran, lines, run, text};

/// A stage on what ships with the program for Sprite World.
fn stage(folder: &Path, stage: &str, out: &Path, more: &[&str]) -> Ran {
    run(folder, &[&["synth", stage, "--world", "sprites", "--out", text(out)], more].concat())
}

#[test]
fn every_stage_runs_on_the_bundled_world() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let [captions, boxes] = ["captions.jsonl", "boxes.jsonl"].map(path);
    assert_eq!(stage(folder.path(), "captions", &captions, &["--shard", "1/1000", "--json"]).json()["n"], 4);
    assert!(lines(&captions).iter().all(|line| line["label"] == 0 && line["caption"].as_str().unwrap().len() > 10));

    // Two of each class, one of which is its edge.
    let names = knownset_data::world::CLASSES;
    let said = |name: &&str| {
        [("00000", "a red one"), ("00001", "two on a plain blue background")].map(|(number, caption)| {
            json!({ "id": format!("train/{name}/{number}"), "caption": caption }).to_string() + "\n"
        })
    };
    let two = path("two.jsonl");
    fs_err::write(&two, names.iter().flat_map(said).collect::<String>()).unwrap();
    let more = ["--captions", text(&two), "--percent", "30", "--moves", "2", "--steps", "2", "--json"];
    let ran = stage(folder.path(), "outliers", &path("outliers"), &more);
    assert_eq!(ran.json()["n"], 20);
    // The pipeline reads as the towers do.
    assert!(!ran.stderr.contains("text tower"), "{}", ran.stderr);

    assert_eq!(stage(folder.path(), "boxes", &boxes, &["--shard", "1/1000", "--json"]).json()["n"], 4);
    let said = stage(folder.path(), "backgrounds", &path("found"), &["--shard", "1/1000", "--json"]).json();
    let said = (
        said["n"].as_u64().unwrap(),
        said["rejected"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
    );
    assert_eq!(said.0 + said.1, 4);
    // Boxes that are given come before a network that is not.
    let given = path("given.jsonl");
    fs_err::write(&given, format!("{}\n", json!({ "id": lines(&boxes)[1]["id"], "boxes": [[8, 8, 40, 40]] }))).unwrap();
    let said = stage(folder.path(), "backgrounds", &path("blurred"), &["--boxes", text(&given), "--json"]).json();
    assert_eq!((&said["n"], &said["rejected"]), (&1.into(), &json!({})));

    let said =
        stage(folder.path(), "samples", &path("samples"), &["--per-class", "1", "--steps", "2", "--json"]).json();
    assert_eq!((&said["n"], &said["classes"][9]), (&10.into(), &"vehicle".into()));
}

#[test]
fn a_name_is_a_network_and_a_path_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("captions.jsonl");
    let captions = |weights: &str| {
        let usual = ["synth", "captions", "--data", "world:sprites#val", "--shard", "1/500", "--out", text(&out)];
        run(folder.path(), &[&usual[..], &["--weights", weights]].concat())
    };
    captions("./sprite-captioner").refused(&["cannot load the captioner in ./sprite-captioner"]);
    captions("sprite-writer").refused(&["cannot load the captioner in sprite-writer"]);
    assert_eq!(captions("sprite-captioner").code, 0);
    run(folder.path(), &["synth", "captions", "--out", text(&out)]).refused(&["--weights", "--data"]);
    run(folder.path(), &["synth", "all", "--world", "photographs", "--out", "x"]).refused(&["photographs", "sprites"]);
}
