//! From feature files to tables, detectors, thresholds and verdicts.

use std::path::Path;

use serde_json::Value;

use crate::util::{Ran, feature_file, features, run, text};

/// Benchmarks every detector on the sample features.
fn bench(folder: &Path, more: &[&str]) -> Ran {
    let train = feature_file(folder, "train", &features(1, 240, 0.0));
    let id = feature_file(folder, "id", &features(2, 120, 0.0));
    let (far, near) = (features(3, 90, 0.9), features(4, 60, 0.4));
    let far = format!("far={}", text(&feature_file(folder, "far", &far)));
    let near = format!("near={}", text(&feature_file(folder, "near", &near)));
    let mut args = vec!["bench", "--train", text(&train), "--id", text(&id), "--ood", &far, "--ood", &near];
    args.extend(more);
    run(folder, &args)
}

#[test]
fn bench_prints_the_promised_json() {
    let folder = tempfile::tempdir().unwrap();
    let json = bench(folder.path(), &["--json"]).json();
    assert_eq!(json["id"]["n"], 120);
    assert_eq!(json["id"]["accuracy"], 1.0);
    assert_eq!(json["skipped"], Value::Array(Vec::new()));
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 20 * 2);
    for row in results {
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"));
        for name in ["auroc", "fpr95", "fpr95_ood_positive", "aupr_in", "aupr_out"] {
            assert!((0.0..=1.0).contains(&number(name)), "{name} in {row}");
        }
        assert!(row["auroc_ci95"][0].as_f64().unwrap() <= number("auroc"));
        assert!(number("auroc") <= row["auroc_ci95"][1].as_f64().unwrap());
        assert_eq!(row["n"], if row["ood"] == "far" { 90 } else { 60 });
    }
    let auroc = |detector: &str| {
        let row = results.iter().find(|row| row["detector"] == detector && row["ood"] == "far").unwrap();
        row["auroc"].as_f64().unwrap()
    };
    for detector in ["msp", "mds", "knn", "fdbd"] {
        assert!(auroc(detector) > 0.95, "{detector}: {}", auroc(detector));
    }
}

#[test]
fn bench_writes_every_output_and_eval_recomputes_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let json = bench(folder.path(), &["--json", "--detectors", "msp,knn:k=5", "--out", text(&out)]).json();
    let written: Value = serde_json::from_str(&fs_err::read_to_string(out.join("results.json")).unwrap()).unwrap();
    assert_eq!(written["results"], json["results"]);
    for name in ["results.csv", "results.md", "results.tex", "report.html"] {
        let content = fs_err::read_to_string(out.join(name)).unwrap();
        assert!(content.contains("knn:k=5"), "{name}");
    }
    let saved = out.join("scores/knn-k-5");
    let far = format!("far={}", text(&saved.join("ood-far.npz")));
    let near = format!("near={}", text(&saved.join("ood-near.npz")));
    let id = saved.join("id.npz");
    let args = ["eval", "--id", text(&id), "--ood", &far, "--ood", &near, "--name", "knn:k=5", "--json"];
    let eval = run(folder.path(), &args).json();
    let of_knn: Vec<&Value> =
        json["results"].as_array().unwrap().iter().filter(|row| row["detector"] == "knn:k=5").collect();
    assert_eq!(eval["results"].as_array().unwrap().iter().collect::<Vec<_>>(), of_knn);
    assert_eq!(eval["id"], json["id"]);
}

#[test]
fn a_gate_decides_the_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(bench(folder.path(), &["--detectors", "mds", "--fail-under", "auroc=0.5"]).code, 0);
    let failed = bench(folder.path(), &["--detectors", "mds", "--fail-under", "auroc=1.01"]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stdout.contains("mds"), "the table is printed all the same");
}

#[test]
fn fit_calibrate_score() {
    let folder = tempfile::tempdir().unwrap();
    let train = feature_file(folder.path(), "train", &features(1, 240, 0.0));
    let calibration = feature_file(folder.path(), "calibration", &features(5, 99, 0.0));
    let far = feature_file(folder.path(), "far", &features(3, 50, 0.9));
    let (plain, calibrated) = (folder.path().join("plain.safetensors"), folder.path().join("calibrated.safetensors"));
    let fit =
        run(folder.path(), &["fit", "--detector", "mds", "--train", text(&train), "--out", text(&plain), "--json"]);
    assert_eq!(fit.json()["n"], 240);

    let score = ["score", "--detector", text(&plain), "--features", text(&far), "--json"];
    let before = run(folder.path(), &score).json();
    assert!(before["scores"][0].get("p_value").is_none(), "not calibrated yet");

    let args = [
        "calibrate",
        "--detector",
        text(&plain),
        "--id",
        text(&calibration),
        "--alpha",
        "0.05",
        "--out",
        text(&calibrated),
    ];
    let summary = run(folder.path(), &[&args[..], &["--json"]].concat()).json();
    assert_eq!(summary["n"], 99);
    assert_eq!(summary["false_alarm_rate"], 0.05);

    let table = folder.path().join("scores.csv");
    let args = ["score", "--detector", text(&calibrated), "--features", text(&far), "--train", text(&train)];
    let after = run(folder.path(), &[&args[..], &["--out", text(&table), "--json"]].concat()).json();
    let threshold = after["threshold"].as_f64().unwrap();
    assert_eq!(Some(threshold), summary["threshold"].as_f64());
    for (row, (one, before)) in
        after["scores"].as_array().unwrap().iter().zip(before["scores"].as_array().unwrap()).enumerate()
    {
        assert_eq!(one["id"], format!("image-{row:04}"));
        assert_eq!(one["score"], before["score"], "calibration changes no score");
        assert_eq!(one["is_ood"], one["score"].as_f64().unwrap() < threshold);
        assert_eq!(one["is_ood"], one["p_value"].as_f64().unwrap() <= 0.05);
        assert!(["ant", "bee", "cow"].contains(&one["predicted"].as_str().unwrap()));
        assert_eq!(one["nearest"].as_array().unwrap().len(), 3);
    }
    let flagged = after["scores"].as_array().unwrap().iter().filter(|one| one["is_ood"] == true).count();
    assert!(flagged >= 48, "{flagged} of 50 far images flagged");
    assert_eq!(fs_err::read_to_string(&table).unwrap().lines().count(), 51);
}

/// The features of `make_numpy_features.py`, written by NumPy, give what the same numbers written by us give.
#[test]
fn npz_files_written_by_numpy_give_the_same_numbers() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = tempfile::tempdir().unwrap();
    let results = |extension: &str, read: &dyn Fn(&str) -> String| {
        let ood = format!("far={}", read("far"));
        let (train, id) = (read("train"), read("id"));
        let args = ["bench", "--train", &train, "--id", &id, "--ood", &ood, "--json"];
        let json = run(folder.path(), &args).json();
        assert_eq!(json["results"].as_array().unwrap().len(), 20, "{extension}");
        json["results"].clone()
    };
    let from_numpy = results("npz", &|name| text(&golden.join(format!("{name}.npz"))).to_owned());
    let from_us = results("safetensors", &|name| {
        let (features, ignored) = knownset_core::read_features(&golden.join(format!("{name}.npz"))).unwrap();
        assert_eq!(ignored, ["note"], "an array nobody knows is ignored by name");
        text(&feature_file(folder.path(), name, &features)).to_owned()
    });
    assert_eq!(from_numpy, from_us);
    let mean = from_numpy.as_array().unwrap().iter().map(|row| row["auroc"].as_f64().unwrap()).sum::<f64>() / 20.0;
    assert!(mean > 0.8, "{mean}");
}
