//! A study through the command line.

use std::path::Path;

use serde_json::{Value, json};

use crate::util::{image_folder, run, text};

fn plan(folder: &Path) -> String {
    let images = image_folder(folder, "images", 3);
    let other = image_folder(folder, "other", 2);
    let (data, other) = (text(&images), text(&other));
    format!(
        r#"
        fit = "folder:{data}"
        id = "folder:{data}"
        detectors = "msp,mls,knn:k=2"
        seeds = [0, 1]
        baseline = "plain"
        [ood.near]
        other = "folder:{other}"
        [ood.far]
        fog = "corrupt:fog:5@folder:{data}"
        [train]
        backbone = "cifar-resnet20"
        data = "folder:{data}"
        epochs = 1
        batch-size = 4
        [runs.plain]
        recipe = "cross-entropy"
        [runs.smooth]
        recipe = "cross-entropy:label-smoothing=0.2"
        "#
    )
}

#[test]
fn runs_are_compared_seed_by_seed_and_a_study_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("plan.toml"), folder.path().join("study"));
    fs_err::write(&file, plan(folder.path())).unwrap();
    let args = ["study", text(&file), "--out", text(&out), "--json"];
    // A share makes no tables; what it has judged is neither trained nor judged again.
    let share = run(folder.path(), &[&args[..], &["--shard", "2/4"]].concat()).json();
    assert_eq!(share, json!({ "judged": [{ "name": "plain", "seed": 1 }], "of": 4 }));
    assert!(!out.join("study.json").exists() && !out.join("plain/seed-0").exists());
    run(folder.path(), &[&args[..], &["--shard", "1/9"]].concat()).refused(&["4 runs are too few"]);
    fs_err::remove_file(out.join("plain/seed-1/weights.safetensors")).unwrap();

    let first = run(folder.path(), &args).json();
    assert!(!out.join("plain/seed-1/weights.safetensors").exists());
    let runs = first["summary"]["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run["name"].as_str().unwrap()).collect::<Vec<_>>(), ["plain", "smooth"]);
    assert!(runs[0]["accuracy_gain"].is_null() && runs[1]["accuracy_gain"]["n"] == 2);

    // The mean gain is the mean over seeds of differences of what each seed's results say.
    let auroc = |name: &str, seed: u64| -> f64 {
        let path = out.join(name).join(format!("seed-{seed}/results.json"));
        let results: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
        let rows = results["results"].as_array().unwrap();
        let row = rows.iter().find(|row| row["detector"] == "msp" && row["ood"] == "fog").unwrap();
        row["auroc"].as_f64().unwrap()
    };
    let expected = f64::midpoint(auroc("smooth", 0) - auroc("plain", 0), auroc("smooth", 1) - auroc("plain", 1));
    let found = runs[1]["detectors"]["msp"]["far"]["auroc_gain"]["mean"].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");

    let saved: Value = serde_json::from_str(&fs_err::read_to_string(out.join("study.json")).unwrap()).unwrap();
    assert_eq!(saved, first);
    assert!(fs_err::read_to_string(out.join("study.md")).unwrap().contains("## AUROC by detector: near"));
    for weights in ["plain/seed-0", "smooth/seed-1"].map(|name| out.join(name).join("weights.safetensors")) {
        fs_err::remove_file(weights).unwrap();
    }
    assert_eq!(run(folder.path(), &args).json(), first, "finished runs are neither trained nor judged again");
    assert!(!out.join("plain/seed-0/weights.safetensors").exists());

    // Against another run the gains change their sign.
    let other = run(folder.path(), &[&args[..], &["--baseline", "smooth"]].concat()).json();
    let gain = other["summary"]["runs"][1]["detectors"]["msp"]["far"]["auroc_gain"]["mean"].as_f64().unwrap();
    assert_eq!((&other["summary"]["runs"][1]["name"], gain), (&Value::from("plain"), -found));
    assert!(out.join("study-smooth.md").exists());
    let none = run(folder.path(), &[&args[..], &["--baseline", "none"]].concat());
    none.refused(&["\"none\" is none of the runs plain, smooth"]);

    // Other images are other results.
    let picture = folder.path().join("other/ant/000.png");
    fs_err::copy(folder.path().join("images/bee/001.png"), picture).unwrap();
    let changed = run(folder.path(), &args).json();
    assert!(changed["summary"] != first["summary"]);
}

#[test]
fn a_study_with_a_mistake_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("plan.toml"), folder.path().join("study"));
    let refused = |from: &str, to: &str, all: &[&str]| {
        fs_err::write(&file, plan(folder.path()).replace(from, to)).unwrap();
        run(folder.path(), &["study", text(&file), "--out", text(&out)]).refused(all);
        assert!(!out.exists());
    };
    refused("baseline = \"plain\"", "baseline = \"oe\"", &["baseline", "none of the runs"]);
    refused("epochs = 1", "epoch = 1", &["--epoch"]);
    refused("epochs = 1", "weights = \"x\"", &["the run plain", "no use for --weights"]);
    refused("label-smoothing=0.2", "smooth=0.2", &["the run smooth", "bad parameters"]);
    refused("knn:k=2", "knn:k=0", &["knn"]);
    refused("[ood.near]", "[ood", &["is no study"]);
}
