//! Datasets and folders that a stage cannot work with as they are, or only in part.

use std::path::PathBuf;

use image::{Rgb, RgbImage};
use knownset_nn::Weights;
use serde_json::json;

use crate::util::{copy, golden, lines, picture, text};
use crate::workshop::Workshop;

/// A list of the workshop's images, which does not name their classes.
fn list(workshop: &Workshop, rows: &[(&str, usize)]) -> String {
    let lines: Vec<String> = rows.iter().map(|(id, label)| format!("{id} {label}")).collect();
    let file = workshop.path("list.txt");
    fs_err::write(&file, lines.join("\n")).unwrap();
    format!("imglist:{}@{}", text(&file), text(&workshop.images))
}

#[test]
fn classes_without_names_have_no_outliers_but_backgrounds() {
    let workshop = Workshop::new();
    let data = list(&workshop, &[("ant/000.png", 0), ("bee/000.png", 1), ("dog/002.png", 3)]);
    workshop.outliers("out", &["--data", &data]).refused(&["what its classes are called", "hint", "folder:PATH"]);
    let [clip, pipeline] = ["clip", "pipeline"].map(|name| workshop.path(name));
    let [captioner, detector] = ["blip2/half", "grounding/swin-t"].map(golden);
    let networks = ["--clip", text(&clip), "--weights", text(&pipeline), "--captioner-weights", text(&captioner)];
    let usual = [&networks[..], &["--grounding-weights", text(&detector)]].concat();
    workshop.run("all", "all", &usual, &["--data", &data]).refused(&["what its classes are called"]);
    // Nor is anything made before the last network is known to open.
    let none = workshop.path("none");
    workshop.run("all", "all", &usual, &["--grounding-weights", text(&none)]).refused(&["cannot load the detector"]);
    assert!(!workshop.path("all").exists());

    let boxes: String = ["ant/000.png", "dog/002.png"]
        .map(|id| json!({ "id": id, "label": 0, "boxes": [[4.0, 5.0, 20.0, 21.0]] }).to_string() + "\n")
        .concat();
    fs_err::write(workshop.path("boxes.jsonl"), boxes).unwrap();
    assert_eq!(workshop.backgrounds("backgrounds", &["--data", &data, "--json"]).json()["n"], 2);
    let made = lines(&workshop.path("backgrounds/manifest.jsonl"));
    assert!(made.iter().all(|line| line["label"] == 4), "behind the known classes 0 to 3");
}

#[test]
fn an_image_that_is_listed_twice_is_refused() {
    let workshop = Workshop::new();
    let data = list(&workshop, &[("ant/000.png", 0), ("bee/000.png", 1), ("ant/000.png", 0)]);
    let weights = golden("blip2/half");
    let ran = workshop.run("captions", "c.jsonl", &["--weights", text(&weights)], &["--data", &data]);
    ran.refused(&["the image ant/000.png twice"]);
    assert!(!workshop.path("c.jsonl").exists());
}

#[test]
fn images_without_a_class_are_counted() {
    let workshop = Workshop::new();
    fs_err::copy(workshop.images.join("bee/000.png"), workshop.images.join("stray.png")).unwrap();
    let weights = golden("grounding/swin-t");
    let usual = ["--grounding-weights", text(&weights), "--box-threshold", "0.4"];
    let ran = workshop.run("backgrounds", "out", &usual, &["--strict", "--json"]);
    let said = ran.json();
    assert_eq!(said["rejected"]["no-line"], 1);
    assert!(ran.stderr.contains("stray.png has no class"), "{}", ran.stderr);
    let nameless = list(&workshop, &[("ant/000.png", 0)]);
    workshop.run("backgrounds", "none", &usual, &["--data", &nameless]).refused(&["no classes to look for"]);
    assert!(!workshop.path("none").exists());
}

#[test]
fn a_class_of_one_caption_has_no_outliers() {
    let workshop = Workshop::new();
    let captions = workshop.path("captions.jsonl");
    let all = fs_err::read_to_string(&captions).unwrap();
    let keep = |few: &[&str]| {
        let kept: Vec<&str> = all.lines().filter(|line| !few.iter().any(|id| line.contains(id))).collect();
        fs_err::write(&captions, kept.join("\n")).unwrap();
    };
    keep(&["bee/000", "bee/002", "cow/"]);
    for _ in 0..2 {
        let ran = workshop.outliers("out", &["--json"]);
        assert_eq!((&ran.json()["n"], &ran.json()["rejected"]), (&json!(4), &json!({ "too-few-captions": 1 })));
        assert!(ran.stderr.contains("too few captions of bee, cow"), "{}", ran.stderr);
    }
    keep(&["ant/", "bee/", "cow/", "dog/000", "dog/001"]);
    workshop.outliers("none", &[]).refused(&["no class has two captions"]);
}

#[test]
fn an_edge_that_there_is_not_leaves_nothing() {
    let workshop = Workshop::new();
    workshop.outliers("out", &["--edge", "mahalanobis"]).refused(&["the class ant", "cosine or euclidean"]);
    workshop.outliers("out", &["--percent", "0"]).refused(&["--percent", "above 0"]);
    assert!(!workshop.path("out").exists());
    assert_eq!(workshop.outliers("out", &[]).code, 0);
}

#[test]
fn damaged_images_are_counted() {
    let workshop = Workshop::new();
    let (whole, cut) = (workshop.path("whole.jpg"), workshop.images.join("ant/cut.jpg"));
    picture(7, 64).save(&whole).unwrap();
    let bytes = fs_err::read(&whole).unwrap();
    fs_err::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
    let (captioner, detector) = (golden("blip2/half"), golden("grounding/swin-t"));
    let said = workshop.run("captions", "c.jsonl", &["--weights", text(&captioner), "--max-tokens", "4"], &["--json"]);
    assert_eq!((&said.json()["n"], &said.json()["truncated"]), (&json!(13), &json!(1)));
    assert!(said.stderr.contains("1 damaged images partly filled in"), "{}", said.stderr);
    let of_cut = |file: &str| {
        let all = lines(&workshop.path(file));
        let flags = all.iter().filter(|line| line["truncated"] == true).count();
        let line = all.into_iter().find(|line| line["id"] == "ant/cut.jpg").unwrap();
        (line["truncated"].clone(), flags)
    };
    assert_eq!(of_cut("c.jsonl"), (json!(true), 1));
    let usual = ["--grounding-weights", text(&detector), "--box-threshold", "0.4"];
    assert_eq!(workshop.run("backgrounds", "b", &usual, &[]).code, 0);
    assert_eq!(of_cut("b/boxes.jsonl"), (json!(true), 1));
    assert_eq!(of_cut("b/manifest.jsonl"), (json!(true), 1));
    let weights = workshop.path("pipeline");
    let said = workshop.run("reconstructions", "r", &["--weights", text(&weights)], &["--json"]).json();
    assert_eq!((&said["n"], &said["truncated"]), (&json!(13), &json!(1)));
    let captions = workshop.path("c.jsonl");
    let said = workshop.outliers("o", &["--captions", text(&captions), "--percent", "100", "--json"]).json();
    assert_eq!((&said["n"], &said["truncated"]), (&json!(26), &json!(2)));
}

#[test]
fn images_that_are_gone_are_made_again() {
    let workshop = Workshop::new();
    assert_eq!(workshop.outliers("out", &[]).code, 0);
    let whole = workshop.files("out");
    // Another image in the place of one before the gap stays.
    let (first, other) = (workshop.path("out/images/0"), RgbImage::new(3, 3));
    let name = fs_err::read_dir(&first).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let bytes = fs_err::read(&name).unwrap();
    other.save(&name).unwrap();
    fs_err::remove_dir_all(workshop.path("out/images/2")).unwrap();
    let ran = workshop.outliers("out", &[]);
    assert!(ran.code == 0 && ran.stderr.contains("an image is gone; 4 from there on"), "{}", ran.stderr);
    assert_eq!(image::open(&name).unwrap().to_rgb8(), other);
    fs_err::write(&name, bytes).unwrap();
    let again = workshop.files("out");
    assert!(whole.iter().all(|(name, bytes)| name == "contact.html" || again[name] == *bytes));
}

#[test]
fn another_schedule_is_another_pipeline() {
    let workshop = Workshop::new();
    assert_eq!(workshop.outliers("out", &[]).code, 0);
    let path = workshop.path("pipeline/scheduler/scheduler_config.json");
    let config = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, config.replace("\"epsilon\"", "\"v_prediction\"")).unwrap();
    workshop.outliers("out", &[]).refused(&["other settings", "`pipeline`"]);
    fs_err::write(&path, config).unwrap();
    assert_eq!(workshop.outliers("out", &[]).code, 0);
}

/// A copy of a tiny checkpoint, of which one file's tensors are changed.
fn changed(workshop: &Workshop, checkpoint: &str, file: &str, change: impl Fn(&str, &mut f32)) -> PathBuf {
    let folder = workshop.path("changed");
    copy(&golden(checkpoint), &folder);
    let path = folder.join(file);
    let mut tensors = Weights::open(&path).unwrap().into_tensors();
    for (name, tensor) in &mut tensors {
        tensor.values.iter_mut().for_each(|value| change(name, value));
    }
    Weights::from_tensors(tensors).save(&path).unwrap();
    folder
}

#[test]
fn an_image_that_is_too_much_for_a_network_is_left_out() {
    let workshop = Workshop::new();
    // Sums over a patch overflow, but for an image of the mean colour.
    let weights = changed(&workshop, "blip2/half", "model.safetensors", |name, value| {
        if name == "vision_model.embeddings.patch_embedding.weight" {
            *value = 1e37;
        }
    });
    let captions = |more: &[&str]| {
        let usual = ["--weights", text(&weights), "--max-tokens", "3", "--batch-size", "5"];
        workshop.run("captions", "c.jsonl", &usual, more)
    };
    // A network that says nothing of any image is not asked about all of them.
    captions(&[]).refused(&["ant/000.png", "not finite", "right weights"]);
    RgbImage::from_pixel(32, 32, Rgb([123, 117, 104])).save(workshop.images.join("ant/000.png")).unwrap();
    let ran = captions(&["--json"]);
    let said = ran.json();
    assert_eq!((&said["n"], &said["left_out"], &said["unreadable"]), (&json!(1), &json!(11), &json!([])));
    let silent = said["silent"].as_array().unwrap();
    assert!(silent.len() == 11 && silent[0].as_str().unwrap().starts_with("ant/001.png: "), "{said}");
    assert!(ran.stderr.contains("11 images left out"), "{}", ran.stderr);
    assert_eq!(lines(&workshop.path("c.jsonl"))[0]["id"], "ant/000.png");
}

#[test]
fn a_detector_that_says_nothing_of_any_image_is_refused() {
    let workshop = Workshop::new();
    let file = "model-00002-of-00002.safetensors";
    let weights = changed(&workshop, "grounding/swin-t", file, |_, value| *value = f32::NAN);
    let ran = workshop.run("boxes", "b.jsonl", &["--weights", text(&weights)], &[]);
    ran.refused(&["ant/000.png", "not finite"]);
}
