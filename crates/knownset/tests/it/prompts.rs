//! Prompts learned for the bundled towers, and what is done with them.

use std::path::Path;

use knownset_core::read_features;
use serde_json::Value;

use crate::util::{Ran, image_folder, run, text};

fn train(folder: &Path, recipe: &str, data: &str, more: &[&str]) -> Ran {
    let out = folder.join("out");
    let args = ["train", "--recipe", recipe, "--data", data, "--out", text(&out), "--epochs", "2", "--json"];
    run(folder, &[&args[..], more].concat())
}

#[test]
fn learned_prompts_are_a_known_set_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = format!("folder:{}", text(&image_folder(folder, "images", 6)));
    let ran = train(folder, "lsn:shots=2:negatives=2", &data, &["--val", &data]).json();
    assert_eq!((&ran["images"], &ran["backbone"]), (&8.into(), &"sprite-clip".into()));
    assert_eq!(ran["class_names"], serde_json::json!(["ant", "bee", "cow", "dog"]));
    let epochs = |stage: &str| ran["stages"][stage]["epochs"].as_array().unwrap().len();
    assert_eq!((epochs("classes"), epochs("negated")), (2, 2));
    assert!(ran["stages"]["classes"]["epochs"][1]["validation_accuracy"].as_f64().unwrap() >= 0.0);

    let known = folder.join("out/known.safetensors");
    let (features, ignored) = read_features(&known).unwrap();
    let rows: Vec<_> = features.prompts.iter().map(|(name, rows)| (name.as_str(), rows.dim())).collect();
    assert_eq!((rows, ignored.len()), (vec![("classes", (4, 128)), ("negated", (8, 128))], 0));
    assert_eq!(features.class_names.unwrap(), ["ant", "bee", "cow", "dog"]);
    assert_eq!(features.origin.unwrap().backbone, "sprite-clip");

    // It is fitted, scored and compared as any other known set in words.
    let said = run(folder, &["zeroshot", "--known", text(&known), "--data", &data, "--detectors", "mcm,lsn", "--json"]);
    let images = said.json()["images"].clone();
    for name in ["mcm", "lsn"] {
        let detector = folder.join(format!("{name}.safetensors"));
        let args = ["fit", "--detector", name, "--train", text(&known), "--out", text(&detector)];
        assert_eq!(run(folder, &args).code, 0);
        let scored = run(folder, &["score", "--detector", text(&detector), "--data", &data, "--json"]).json();
        let pairs = scored["scores"].as_array().unwrap().iter().zip(images.as_array().unwrap());
        for (one, other) in pairs {
            assert_eq!((&one["id"], &one["score"]), (&other["id"], &other["scores"][name]), "{name}");
        }
    }
    let args = ["zeroshot", "--known", text(&known), "--data", &data, "--ood", "noise=world:sprites#noise", "--json"];
    let results = run(folder, &args).json();
    let ran: Vec<&Value> = results["results"].as_array().unwrap().iter().map(|row| &row["detector"]).collect();
    assert!(ran.contains(&&"gl-mcm".into()) && ran.contains(&&"negprompt".into()), "{ran:?}");
    assert_eq!(results["information"]["lsn"], "few-shot");
    let args = ["zeroshot", "--known", text(&known), "--data", &data, "--templates", "nice"];
    run(folder, &args).refused(&["--known", "--templates"]);
}

#[test]
fn a_run_is_gone_on_with_and_what_has_no_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = format!("folder:{}", text(&image_folder(folder, "images", 3)));
    let refused = |recipe: &str, more: &[&str], all: &[&str]| train(folder, recipe, &data, more).refused(all);
    refused("coop", &["--outliers", &data], &["the recipe coop has no use for --outliers"]);
    refused("coop", &["--backbone", "sprite-resnet"], &["towers that read words", "sprite-resnet does not"]);
    refused("coop:tokens=40", &[], &["`ant.` takes 4 tokens and the context 40", "reads 32"]);
    refused("coop:shots=-1", &[], &["bad parameters for `coop:shots=-1`"]);
    refused("cross-entropy", &["--backbone", "sprite-resnet", "--weights", "x"], &["no use for --weights"]);
    let first = train(folder, "locoop:shots=2", &data, &[]).json();
    refused("locoop:shots=2", &[], &["--resume"]);
    refused("locoop:shots=3", &["--resume"], &["made with other settings"]);
    let again = train(folder, "locoop:shots=2", &data, &["--resume"]).json();
    assert_eq!(again["stages"], first["stages"]);
}
