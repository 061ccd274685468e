//! From images to features: the same bits however the work is cut, interrupted or repeated.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::util::{command, image_folder, picture, run, text, weights};

/// Extracts with `more` arguments and gives the bytes of the feature file.
fn extract(folder: &Path, weights: &Path, data: &str, name: &str, more: &[&str]) -> Vec<u8> {
    let out = folder.join(name);
    let args = ["extract", "--backbone", "cifar-resnet20", "--weights", text(weights), "--data", data];
    let ran = run(folder, &[&args[..], &["--out", text(&out)], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fs_err::read(out).unwrap()
}

/// MNIST's format with `n` pictures: many images without many files.
fn idx_file(folder: &Path, n: u32) -> String {
    let mut images = vec![0, 0, 8, 3];
    let mut labels = vec![0, 0, 8, 1];
    for size in [n, 28, 28] {
        images.extend(size.to_be_bytes());
    }
    labels.extend(n.to_be_bytes());
    for index in 0..n {
        images.extend(picture(index, 28).pixels().map(|pixel| pixel.0[0]));
        labels.push((index % 4) as u8);
    }
    fs_err::write(folder.join("t10k-images-idx3-ubyte"), images).unwrap();
    fs_err::write(folder.join("t10k-labels-idx1-ubyte"), labels).unwrap();
    format!("mnist:{}#test", text(folder))
}

#[test]
fn batch_size_threads_and_repetition_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 1);
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 9)));
    let first = extract(folder.path(), &weights, &data, "a.safetensors", &["--no-cache"]);
    for (name, more) in [
        ("b.safetensors", ["--no-cache", "--batch-size", "5", "-j", "1"]),
        ("c.safetensors", ["--no-cache", "--batch-size", "1", "-j", "3"]),
    ] {
        assert!(extract(folder.path(), &weights, &data, name, &more) == first, "{name} differs");
    }
    let (features, _) = knownset_core::read_features(&folder.path().join("a.safetensors")).unwrap();
    assert_eq!(features.ids[..2], ["ant/000.png", "ant/001.png"]);
    assert_eq!(features.labels.as_ref().unwrap()[35], 3);
    assert_eq!(features.class_names.unwrap(), ["ant", "bee", "cow", "dog"]);
    assert_eq!(features.embedding.unwrap().dim(), (36, 64));
    assert_eq!(features.head.unwrap().weight.dim(), (4, 64));
}

#[test]
fn a_killed_extraction_goes_on_and_ends_in_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 2);
    let data = idx_file(folder.path(), 900);
    let whole = extract(folder.path(), &weights, &data, "whole.safetensors", &["--no-cache"]);

    let out = folder.path().join("resumed.safetensors");
    let mut child = command(folder.path());
    child.args(["extract", "--backbone", "cifar-resnet20", "--weights", text(&weights), "--data", &data]);
    let mut child = child.args(["--out", text(&out), "--quiet"]).spawn().unwrap();
    let cache = folder.path().join("cache");
    let patience = Instant::now();
    while parts(&cache) == 0 {
        assert!(patience.elapsed() < Duration::from_mins(5), "no part was finished");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (kept, total) = (parts(&cache), 900_usize.div_ceil(knownset_nn::extract::PART));
    assert!((1..=total).contains(&kept), "{kept} parts were kept");
    assert!(!out.exists() || kept == total, "the file is only written at the end");

    assert!(extract(folder.path(), &weights, &data, "resumed.safetensors", &[]) == whole, "the files differ");
    assert_eq!(parts(&cache), total);
}

#[test]
fn shards_fill_the_cache_of_an_undivided_run() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 3);
    let data = idx_file(folder.path(), 600);
    for shard in ["1/2", "2/2"] {
        let name = format!("shard-{}.safetensors", &shard[..1]);
        extract(folder.path(), &weights, &data, &name, &["--shard", shard]);
    }
    let rows = |name: &str| knownset_core::read_features(&folder.path().join(name)).unwrap().0;
    let (first, second) = (rows("shard-1.safetensors"), rows("shard-2.safetensors"));
    assert_eq!((first.len(), second.len()), (256, 344));
    let before = parts(&folder.path().join("cache"));
    extract(folder.path(), &weights, &data, "joined.safetensors", &[]);
    assert_eq!(parts(&folder.path().join("cache")), before, "nothing was computed twice");
    let joined = rows("joined.safetensors");
    assert_eq!(joined.ids, [first.ids, second.ids].concat());
    assert_eq!(joined.embedding.unwrap().row(599), second.embedding.unwrap().row(343));
}

/// Finished parts in a cache.
fn parts(cache: &Path) -> usize {
    let Ok(keys) = fs_err::read_dir(cache.join("features-v2")) else { return 0 };
    let files = keys.flat_map(|key| fs_err::read_dir(key.unwrap().path()).unwrap());
    files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("rows-")).count()
}

#[test]
fn scoring_images_is_scoring_their_features() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 4);
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 6)));
    extract(folder.path(), &weights, &data, "train.safetensors", &[]);
    let (train, detector) = (folder.path().join("train.safetensors"), folder.path().join("d.safetensors"));
    let fit = ["fit", "--detector", "knn:k=3", "--train", text(&train), "--out", text(&detector)];
    assert_eq!(run(folder.path(), &fit).code, 0);
    let from_features =
        run(folder.path(), &["score", "--detector", text(&detector), "--features", text(&train), "--json"]);
    let from_images = run(folder.path(), &["score", "--detector", text(&detector), "--data", &data, "--json"]);
    assert_eq!(from_features.json()["scores"], from_images.json()["scores"]);

    // The weights moved: an error that says so, and the option that helps.
    let moved = folder.path().join("moved.safetensors");
    fs_err::rename(&weights, &moved).unwrap();
    let lost = run(folder.path(), &["score", "--detector", text(&detector), "--data", &data]);
    lost.refused(&["cannot load the backbone", "hint: give the weights' place with --weights"]);
    let found = run(
        folder.path(),
        &["score", "--detector", text(&detector), "--data", &data, "--weights", text(&moved), "--json"],
    );
    assert_eq!(found.json()["scores"], from_features.json()["scores"]);
}

#[test]
fn damaged_images_are_counted_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 5);
    let root = image_folder(folder.path(), "images", 3);
    let whole = folder.path().join("whole.jpg");
    picture(77, 64).save(&whole).unwrap();
    let bytes = fs_err::read(&whole).unwrap();
    fs_err::write(root.join("bee/truncated.jpg"), &bytes[..bytes.len() / 2]).unwrap();
    fs_err::write(root.join("cow/not-an-image.png"), b"hello").unwrap();
    let data = format!("folder:{}", text(&root));
    let out = folder.path().join("f.safetensors");
    let args =
        ["extract", "--backbone", "cifar-resnet20", "--weights", text(&weights), "--data", &data, "--out", text(&out)];
    let lenient = run(folder.path(), &[&args[..], &["--json"]].concat());
    assert!(lenient.stderr.contains("cow/not-an-image.png"), "{}", lenient.stderr);
    let json = lenient.json();
    assert_eq!(json["n"], 13);
    assert_eq!(json["images"]["truncated"], serde_json::json!(["bee/truncated.jpg"]));
    assert!(json["images"]["unreadable"][0].as_str().unwrap().starts_with("cow/not-an-image.png: "), "{json}");
    run(folder.path(), &[&args[..], &["--strict"]].concat()).refused(&["bee/truncated.jpg"]);
}
