//! From images to an autoencoder, to a diffusion model, to images of classes, to a classifier that learns from them.

use std::path::{Path, PathBuf};

use crate::util::{Ran, image_folder, lines, run, text};

const AUTOENCODER: &str = "autoencoder:side=16:levels=[16,16]:latents=2:groups=4";
const DIFFUSION: &str = "diffusion:side=16:levels=[16,16]:heads=2:groups=4";

fn train(folder: &Path, recipe: &str, data: &str, out: &Path, more: &[&str]) -> Ran {
    let usual = ["train", "--recipe", recipe, "--data", data, "--out", text(out), "--epochs", "1", "--json"];
    run(folder, &[&usual[..], more].concat())
}

/// A pipeline of an autoencoder and a UNet after one epoch each.
fn pipeline(folder: &Path, images: &str) -> PathBuf {
    let (autoencoder, out) = (folder.join("autoencoder"), folder.join("pipeline"));
    let said = train(folder, AUTOENCODER, images, &autoencoder, &["--val", images, "--batch-size", "8"]).json();
    assert!(said["epochs"][0]["validation_accuracy"].as_f64().unwrap() > 0.0, "{said}");
    let more = ["--autoencoder", text(&autoencoder), "--batch-size", "50", "--ema", "0.9"];
    let said = train(folder, DIFFUSION, "world:sprites#noise", &out, &more).json();
    assert!(said["scale"].as_f64().unwrap() > 0.0 && said["epochs"][0]["loss"].as_f64().unwrap() > 0.0, "{said}");
    out
}

#[test]
fn images_of_classes_are_drawn_resumed_and_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let images = format!("folder:{}", text(&image_folder(folder.path(), "images", 3)));
    let weights = pipeline(folder.path(), &images);
    let draw = |out: &Path, more: &[&str]| {
        let usual = ["synth", "samples", "--weights", text(&weights), "--data", &images, "--out", text(out)];
        run(folder.path(), &[&usual[..], &["--per-class", "2", "--steps", "2"], more].concat())
    };
    let [whole, parts, shares, other] = ["whole", "parts", "shares", "other"].map(|name| folder.path().join(name));
    assert_eq!(draw(&whole, &["--json"]).json()["n"], 8);
    let manifest = lines(&whole.join("manifest.jsonl"));
    assert_eq!(manifest.len(), 8);
    let last = &manifest[7];
    assert_eq!((&last["id"], &last["label"], &last["class"]), (&"dog/00001.png".into(), &3.into(), &"dog".into()));
    assert_eq!(last["prompt"], "a photo of a dog");
    let files = |out: &Path| -> Vec<Vec<u8>> {
        manifest.iter().map(|line| fs_err::read(out.join(line["id"].as_str().unwrap())).unwrap()).collect()
    };
    let expected = files(&whole);
    assert_eq!(image::load_from_memory(&expected[0]).unwrap().to_rgb8().dimensions(), (16, 16));
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]), "every image has noise of its own");

    // As a run leaves it that is killed in the middle of a line.
    assert_eq!(draw(&parts, &["--threads", "3", "--at-once", "5"]).code, 0);
    let path = parts.join("manifest.jsonl");
    let bytes = fs_err::read(&path).unwrap();
    fs_err::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs_err::remove_dir_all(parts.join("dog")).unwrap();
    assert_eq!(draw(&parts, &[]).code, 0);
    assert_eq!((fs_err::read(&path).unwrap(), files(&parts)), (bytes, expected.clone()));
    draw(&parts, &["--guidance", "2"]).refused(&["manifest.made.json", "other settings", "hint"]);
    for share in ["2/2", "1/2"] {
        assert_eq!(draw(&shares, &["--shard", share, "--json"]).json()["n"], 4);
    }
    assert_eq!(files(&shares), expected);
    draw(&shares, &["--seed", "1"]).refused(&["-of-2.made.json", "other settings", "`seed`"]);
    draw(&whole, &["--seed", "1", "--shard", "1/2"]).refused(&["manifest.made.json", "other settings", "`seed`"]);
    let none = folder.path().join("none");
    let usual = ["synth", "samples", "--weights", text(&weights), "--data", &images, "--out", text(&none)];
    run(folder.path(), &[&usual[..], &["--steps", "1001"]].concat()).refused(&["1001 steps"]);
    assert!(!none.exists(), "what is refused leaves nothing");
    assert_eq!((files(&whole), files(&shares)), (expected.clone(), expected.clone()));
    assert_eq!(draw(&other, &["--seed", "1"]).code, 0);
    assert!(files(&other).iter().zip(&expected).all(|(a, b)| a != b), "another seed draws other images");

    let (synthetic, out) = (format!("folder:{}", text(&whole)), folder.path().join("classifier"));
    let more = ["--backbone", "cifar-resnet20", "--synthetic", &synthetic, "--batch-size", "4"];
    assert_eq!(train(folder.path(), "sio+cross-entropy", &images, &out, &more).code, 0);
}

#[test]
fn images_come_back_from_the_autoencoder_in_their_classes() {
    let folder = tempfile::tempdir().unwrap();
    let data = image_folder(folder.path(), "images", 3);
    // One of no class, in the middle of the order, and one that is none.
    fs_err::copy(data.join("bee").join("000.png"), data.join("cb.png")).unwrap();
    fs_err::write(data.join("dog").join("zz.png"), b"no image").unwrap();
    let images = format!("folder:{}", text(&data));
    let send = |out: &Path, more: &[&str]| {
        let usual = ["synth", "reconstructions", "--weights", "sprite-diffusion", "--data", &images];
        run(folder.path(), &[&usual[..], &["--out", text(out)], more].concat())
    };
    let [whole, parts, shares] = ["whole", "parts", "shares"].map(|name| folder.path().join(name));
    let said = send(&whole, &["--json"]).json();
    assert_eq!((&said["n"], &said["rejected"]), (&13.into(), &serde_json::json!({ "unreadable": 1 })));
    let manifest = lines(&whole.join("manifest.jsonl"));
    assert_eq!(manifest.len(), 14);
    let of = |id: &str| manifest.iter().find(|line| line["id"] == id).unwrap();
    let (lone, broken) = (of("cb.png"), of("dog/zz.png"));
    assert_eq!((&lone["label"], &lone["kind"]), (&(-1).into(), &"reconstruction".into()));
    assert_eq!((&broken["path"], &broken["rejected"]), (&serde_json::Value::Null, &"unreadable".into()));
    assert!(!lone["path"].as_str().unwrap().contains('/'));
    assert!(manifest.iter().all(|line| line["label"].as_i64().unwrap() < 4));
    let files = |out: &Path| -> Vec<Vec<u8>> {
        let paths = manifest.iter().filter_map(|line| line["path"].as_str());
        paths.map(|path| fs_err::read(out.join(path)).unwrap()).collect()
    };
    let expected = files(&whole);
    assert_eq!(image::load_from_memory(&expected[0]).unwrap().to_rgb8().dimensions(), (64, 64));
    // The folder is a dataset of the same classes.
    let again = format!("folder:{}", text(&whole));
    let samples = ["synth", "samples", "--world", "sprites", "--data", &again, "--per-class", "1", "--steps", "2"];
    let out = folder.path().join("samples");
    let said = run(folder.path(), &[&samples[..], &["--out", text(&out), "--json"]].concat()).json();
    assert_eq!(said["classes"], serde_json::json!(["ant", "bee", "cow", "dog"]));

    assert_eq!(send(&parts, &["--threads", "3", "--at-once", "5"]).code, 0);
    let path = parts.join("manifest.jsonl");
    let bytes = fs_err::read(&path).unwrap();
    fs_err::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    // What is finished is not made again: another image in the first one's place stays.
    let first = parts.join(manifest[0]["path"].as_str().unwrap());
    fs_err::write(&first, &expected[1]).unwrap();
    assert_eq!(send(&parts, &[]).code, 0);
    assert_eq!(fs_err::read(&first).unwrap(), expected[1]);
    fs_err::write(&first, &expected[0]).unwrap();
    assert_eq!((fs_err::read(&path).unwrap(), files(&parts)), (bytes, expected));
    send(&parts, &["--shard", "1/2"]).refused(&["other settings", "hint"]);
    assert_eq!(send(&shares, &["--shard", "2/2", "--json"]).json()["n"], 6);
    send(&folder.path().join("strict"), &["--strict"]).refused(&["dog/zz.png"]);
    let before = fs_err::read(data.join("bee/000.png")).unwrap();
    send(&data, &[]).refused(&["images is not empty", "choose another --out"]);
    assert_eq!(fs_err::read(data.join("bee/000.png")).unwrap(), before);
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    let out = folder.path().join("out");
    let refused = |recipe: &str, more: &[&str], all: &[&str]| {
        train(folder.path(), recipe, &images, &out, more).refused(all);
    };
    refused("autoencoder:levels=[10]", &[], &["bad parameters for `autoencoder`", "levels"]);
    refused("autoencoder:x=1", &[], &["bad parameters", "unknown field `x`"]);
    refused(AUTOENCODER, &["--backbone", "sprite-resnet"], &["autoencoder has no use for --backbone"]);
    refused("cross-entropy", &["--autoencoder", "x"], &["no use for --autoencoder"]);
    refused(DIFFUSION, &[], &["needs --autoencoder DIR"]);
    refused(DIFFUSION, &["--augment", "flip"], &["no use for --augment", "latents"]);
    let nowhere = folder.path().join("nowhere");
    refused(DIFFUSION, &["--autoencoder", text(&nowhere)], &["cannot load the autoencoder", "nowhere"]);
    let autoencoder = folder.path().join("autoencoder");
    assert_eq!(train(folder.path(), AUTOENCODER, &images, &autoencoder, &[]).code, 0);
    refused(DIFFUSION, &["--autoencoder", text(&autoencoder)], &["has no text for"]);
    refused(
        "diffusion:side=17:heads=2:groups=4",
        &["--autoencoder", text(&autoencoder)],
        &["side=17", "multiple of 2"],
    );
    fs_err::write(autoencoder.join("diffusion_pytorch_model.safetensors"), b"cut").unwrap();
    refused(DIFFUSION, &["--autoencoder", text(&autoencoder)], &["diffusion_pytorch_model.safetensors"]);

    let usual = ["synth", "samples", "--weights", text(&nowhere), "--out", text(&out)];
    let samples = |more: &[&str]| run(folder.path(), &[&usual[..], more].concat());
    samples(&["--data", &images]).refused(&["cannot load the pipeline", "nowhere"]);
    samples(&["--data", &images, "--template", "a photo"]).refused(&["--template", "{class}"]);
    samples(&["--data", "world:sprites#near"]).refused(&["has no classes"]);
}
