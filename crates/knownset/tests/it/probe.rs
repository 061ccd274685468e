//! The probe of towers that read words, on a few images of the bundled world.

use serde_json::Value;

use crate::util::{run, text};

const WORDS: &str = "axe\nriver\nstone\nanger\nladder\nwindow\nengine\nscience\nforest\nsilence\n\
    bridge\nhammer\nmoney\nsugar\nthunder\nvelvet\nmirror\nbottle\ncarpet\ndesert\n";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn is_share(value: &Value) -> bool {
    (0.0..=1.0).contains(&number(value))
}

#[test]
fn a_probe_measures_mechanisms_modalities_and_sensitivity() {
    let folder = tempfile::tempdir().unwrap();
    let (out, words) = (folder.path().join("out"), folder.path().join("words.txt"));
    fs_err::write(&words, WORDS).unwrap();
    #[rustfmt::skip]
    let args = [
        "probe", "--id", "world:sprites#test", "--near", "near=world:sprites#near", "--far", "noise=world:sprites#noise",
        "--train", "world:sprites#train", "--supervised", "sprite-resnet", "--images", "60", "--corpus", text(&words),
        "--corruptions", "gaussian-noise,jpeg-compression", "--severities", "1,5", "--shuffles", "2",
        "--out", text(&out), "--json",
    ];
    let ran = run(folder.path(), &args);
    let json = ran.json();
    assert_eq!(json["sets"].as_array().unwrap().len(), 3);
    mechanisms(&json["mechanisms"]);
    modalities(json["modalities"].as_array().unwrap());
    sensitivity(&json["sensitivity"]);

    let page = fs_err::read_to_string(out.join("report.html")).unwrap();
    // Three histograms, the bars, and for two detectors a strip and three maps.
    assert_eq!(page.matches("<svg").count(), 3 + 1 + 2 * 4);
    assert!(!page.contains("http") && !page.contains("NaN"), "self-contained and sound");
    let kept: Value = serde_json::from_slice(&fs_err::read(out.join("probe.json")).unwrap()).unwrap();
    assert_eq!(kept["sensitivity"], json["sensitivity"]);

    // Everything was kept in the cache; a part alone says the same, on any number of threads.
    let again: Vec<&str> = args.iter().copied().chain(["--parts", "mechanisms,sensitivity", "-j", "1"]).collect();
    let again = run(folder.path(), &again).json();
    assert!(again["modalities"].is_null());
    assert_eq!((&again["mechanisms"], &again["sensitivity"]), (&json["mechanisms"], &json["sensitivity"]));
}

fn mechanisms(found: &Value) {
    let alignment = &found["alignment"];
    let (right, wrong) = (&alignment["right"], &alignment["wrong"]);
    let n = number(&right["n"]) + wrong["n"].as_f64().unwrap_or(0.0);
    assert_eq!(n, 60.0, "every test image has a label");
    assert!((number(&alignment["accuracy"]) - number(&right["n"]) / n).abs() < 1e-12);
    assert!(number(&alignment["accuracy"]) > 0.2, "above chance, 0.1: {alignment}");
    let nearness = &found["relative_nearness"];
    assert_eq!((nearness["id"]["n"].as_u64(), nearness["ood"][0]["kind"].as_str()), (Some(60), Some("near")));
    assert!(nearness["ood"].as_array().unwrap().iter().all(|set| is_share(&set["auroc"]) && is_share(&set["fpr95"])));
    let separation = &found["prompt_separation"];
    assert_eq!(separation["between_classes"]["n"], 45, "pairs of ten classes");
    assert_eq!(separation["to_negatives"]["n"], 10 * nearness["negatives"].as_u64().unwrap());
    for nearest in separation["nearest"].as_array().unwrap() {
        assert!(WORDS.contains(nearest["word"].as_str().unwrap()) && number(&nearest["cosine"]).abs() <= 1.0);
    }
}

fn modalities(found: &[Value]) {
    let names: Vec<&str> = found.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["words", "linear-probe", "supervised"]);
    for one in found {
        let detectors = one["detectors"].as_array().unwrap();
        assert!(detectors.len() > 5, "{one}");
        for detector in detectors {
            assert!(is_share(&detector["near"]["auroc"]) && is_share(&detector["far"]["fpr95"]), "{detector}");
            assert_eq!(detector["information"] == "training-images", one["name"] != "words", "{detector}");
        }
        let best = number(&one["far"]["best_figures"]["auroc"]);
        assert!(detectors.iter().all(|detector| number(&detector["far"]["auroc"]) <= best));
        assert!(number(&one["far"]["median"]["auroc"]) <= best);
        assert!(number(&one["accuracy"]) > 0.2, "above chance, 0.1");
    }
    assert!(number(&found[1]["l2"]) > 0.0);
}

fn sensitivity(found: &Value) {
    let (summary, cells) = (found["summary"].as_array().unwrap(), found["corruptions"].as_array().unwrap());
    let prompts = found["prompts"].as_array().unwrap();
    assert_eq!((summary.len(), cells.len(), prompts.len()), (2, 4, 8 + 3 * 4));
    assert_eq!(found["images"]["id"], 60);
    for (index, detector) in summary.iter().enumerate() {
        let clean = number(&detector["clean"]["auroc"]);
        let aurocs: Vec<f64> =
            cells.iter().map(|cell| clean + number(&cell["change"][index]["both"]["auroc"])).collect();
        assert!(aurocs.iter().all(|auroc| (0.0..=1.0).contains(auroc)), "{aurocs:?}");
        // The index as it is documented, from the figures beside it.
        let std = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
        };
        let templates = prompts.iter().filter(|prompt| prompt["group"] == "template");
        let templates: Vec<f64> = templates.map(|prompt| number(&prompt["figures"][index]["auroc"])).collect();
        assert_eq!(templates.len(), 8);
        assert!(std(&templates) > 0.0, "templates change scores");
        let expected = std(&templates) / std(&aurocs);
        assert!((number(&detector["asymmetry"]["both"]) - expected).abs() < 1e-9 * expected);
    }
    let noisy = |severity: u64| {
        let cell = cells.iter().find(|cell| cell["kind"] == "gaussian-noise" && cell["severity"] == severity);
        number(&cell.unwrap()["accuracy"])
    };
    // Sixty images: an accuracy has a standard deviation of 0.06.
    assert!(noisy(5) <= noisy(1) + 0.15, "noise does not help: {} after {}", noisy(5), noisy(1));
    let typos: Vec<_> = prompts.iter().filter(|prompt| prompt["group"] == "typo").collect();
    assert!(typos.len() == 4 && typos.iter().all(|prompt| prompt["changed"] == 10), "every class can be misspelt");
}

#[test]
fn a_probe_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let probe = |more: &[&str]| {
        let args = ["probe", "--id", "world:sprites#test", "--near", "a=world:sprites#near", "--images", "2"];
        run(folder.path(), &[&args[..], more].concat())
    };
    probe(&["--far", "a=world:sprites#flags"]).refused(&["two sets are called a"]);
    probe(&["--supervised", "sprite-resnet"]).refused(&["--train"]);
    probe(&["--detectors", "mcm,msp", "--parts", "sensitivity"]).refused(&["msp", "words"]);
    probe(&["--detectors", "mcm", "--parts", "sensitivity", "--corruptions", "frog"]).refused(&["nearest is `fog`"]);
    probe(&["--severities", "6"]).refused(&["whole number from 1 to 5"]);
    let none = run(folder.path(), &["probe", "--id", "world:sprites#test"]);
    none.refused(&["--near"]);
}
