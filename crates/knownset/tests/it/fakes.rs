//! From captions and boxes to images that nobody took, on tiny networks.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use image::RgbImage;
use knownset_core::numpy::read_array;
use knownset_core::{Tensor, TensorFile};
use knownset_nn::diffusion::{Method, Pipeline};
use knownset_train::synthesis::{Diffusion, Generator, Wanted, spliced};
use ndarray::Array2;
use serde_json::{Value, json};

use crate::util::{copy, golden, lines, run, text};
use crate::workshop::{CAPTIONS, Workshop};

fn furthest(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Features back through the projection are the text tower's own states: moved by nothing, a caption's fake token is its
/// end token's state in the general prompt.
#[test]
fn a_caption_that_does_not_move_is_drawn_from_its_own_state() {
    let workshop = Workshop::new();
    let still = ["--moves", "1", "--move-first", "0", "--percent", "100", "--guidance", "30", "--seed", "9"];
    let said = workshop.outliers("still", &[&still[..], &["--keep-contexts", "--json"]].concat()).json();
    assert_eq!((&said["n"], &said["rejected"]), (&json!(12), &json!({})));
    let fakes = TensorFile::read(&workshop.path("still/fakes.npz")).unwrap().tensors;
    let features = TensorFile::read(&workshop.path("still/features.npz")).unwrap().tensors;
    assert_eq!(fakes["features"], features["features"]);

    let pipeline = Pipeline::open(&workshop.path("pipeline")).unwrap();
    let texts = ["This is a photo of dog and on a table", "This is a high quality image of", ""];
    let states = pipeline.encode(&texts).unwrap();
    let rows = |text: usize| -> Array2<f32> { states.index_axis(ndarray::Axis(0), text).to_owned() };
    let end = |text: usize| {
        let tokenizer = pipeline.text_encoder().unwrap().tokenizer();
        tokenizer.encode(texts[text]).unwrap().end
    };
    let condition = spliced(rows(1).view(), end(1), rows(0).row(end(0)));
    let Tensor::F32(kept) = read_array(&workshop.path("still/contexts.npy")).unwrap() else { unreachable!() };
    assert_eq!(kept.shape(), [12, condition.nrows(), condition.ncols()]);
    let apart = &kept.index_axis(ndarray::Axis(0), 11) - &condition.clone().into_dyn();
    assert!(apart.iter().all(|apart| apart.abs() < 1e-3), "fake tokens are kept as they are drawn from");
    let generator = Diffusion {
        pipeline: &pipeline,
        unconditional: rows(2),
        sides: [8, 8],
        method: Method::Ddim { eta: 0.0 },
        steps: 2,
        guidance: 30.0,
    };
    let draw = |condition| {
        let wanted = Wanted { condition, seed: 9, stream: 11 << 16 };
        let drawn = generator.draw(&[wanted], &mut || ControlFlow::Continue(())).unwrap().remove(0).unwrap();
        let (height, width, _) = drawn.dim();
        let bytes = drawn.iter().map(|value| (value * 255.0).round() as u8).collect();
        RgbImage::from_raw(width as u32, height as u32, bytes).unwrap()
    };
    let found = image::open(workshop.path("still/images/3/000011-0.png")).unwrap().to_rgb8();
    assert!(furthest(&found, &draw(condition)) <= 2);
    assert!(furthest(&found, &draw(rows(1))) > 2, "the condition changes the image");
}

#[test]
fn outliers_go_on_where_they_stopped_and_shares_are_the_whole() {
    let workshop = Workshop::new();
    let said = workshop.outliers("whole", &["--json", "--size", "12"]).json();
    assert_eq!((&said["n"], said["classes"].as_array().unwrap().len()), (&json!(8), 4));
    let whole = workshop.files("whole");
    let entries = lines(&workshop.path("whole/manifest.jsonl"));
    let edges = lines(&workshop.path("whole/edges.jsonl"));
    assert_eq!((entries.len(), edges.len()), (8, 4));
    for (index, entry) in entries.iter().enumerate() {
        let edge = &edges[index / 2];
        assert_eq!((&entry["id"], &entry["step"]), (&edge["id"], &json!(index % 2)));
        assert_eq!(entry["caption"], CAPTIONS[edge["row"].as_u64().unwrap() as usize]);
        assert_eq!((&entry["kind"], &entry["label"], &entry["seed"]), (&json!("outlier"), &json!(4), &json!(0)));
        assert!((-1.0..=1.0).contains(&entry["clip_score"].as_f64().unwrap()));
        let picture = image::open(workshop.path("whole").join(entry["path"].as_str().unwrap())).unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 12));
    }
    let page = String::from_utf8(whole["contact.html"].clone()).unwrap();
    assert_eq!(page.matches("<figure").count(), 12, "eight images and the four that they come from");
    let scores = |entries: &[Value]| -> f64 {
        entries.iter().map(|entry| entry["clip_score"].as_f64().unwrap()).sum::<f64>() / entries.len() as f64
    };
    let told = said["clip_score"]["drawn"].as_f64().unwrap();
    assert!((told - scores(&entries)).abs() < 1e-12 && said["clip_score"]["kept"] == said["clip_score"]["drawn"]);

    // As a run leaves it that is killed: a line cut short, and no page.
    let parts = workshop.path("parts");
    copy(&workshop.path("whole"), &parts);
    fs_err::remove_file(parts.join("contact.html")).unwrap();
    let manifest = &whole["manifest.jsonl"];
    fs_err::write(parts.join("manifest.jsonl"), &manifest[..manifest.len() * 2 / 3]).unwrap();
    fs_err::remove_file(parts.join(entries[7]["path"].as_str().unwrap())).unwrap();
    assert_eq!(workshop.outliers("parts", &["--size", "12", "--at-once", "5", "-j", "3"]).code, 0);
    assert!(workshop.files("parts") == whole);
    // And one that got no further than the text features.
    for name in ["edges.jsonl", "fakes.npz", "manifest.jsonl"] {
        fs_err::remove_file(parts.join(name)).unwrap();
    }
    assert_eq!(workshop.outliers("parts", &["--size", "12", "--no-cache"]).code, 0);
    assert!(workshop.files("parts") == whole);
    for (other, value, name) in [
        ("--seed", "1", "`seed`"),
        ("--percent", "50", "`percent`"),
        ("--compat", "released", "`outward`"),
        ("--clip-score", "0..", "`clip_score`"),
    ] {
        let refused = workshop.outliers("parts", &["--size", "12", other, value]);
        refused.refused(&["other settings", name, "hint"]);
    }
    // An image more moves the rows that noise and names come from.
    let more = workshop.images.join("ant/0000.png");
    fs_err::copy(workshop.images.join("ant/000.png"), &more).unwrap();
    workshop.outliers("parts", &["--size", "12"]).refused(&["other settings", "`images`"]);
    fs_err::remove_file(more).unwrap();
    // What cannot be drawn is refused before anything is made.
    workshop.outliers("other", &["--steps", "2000"]).refused(&["2000 steps"]);
    assert!(!workshop.path("other").exists());
    workshop.outliers("other", &["--size", "99999999"]).refused(&["--size", "16384"]);

    let (mut lines, mut images) = (Vec::new(), BTreeMap::new());
    for share in ["1/3", "2/3", "3/3"] {
        let out = format!("share-{}", &share[..1]);
        assert_eq!(workshop.outliers(&out, &["--size", "12", "--shard", share]).code, 0);
        let files = workshop.files(&out);
        lines.extend(files["manifest.jsonl"].clone());
        images.extend(files.into_iter().filter(|(name, _)| name.starts_with("images/")));
    }
    assert!(lines == whole["manifest.jsonl"]);
    assert!(images.iter().all(|(name, bytes)| whole.get(name) == Some(bytes)));
    assert_eq!(images.len(), 8);
}

#[test]
fn steps_lead_outwards_and_bands_reject() {
    let workshop = Workshop::new();
    let said = workshop.outliers("none", &["--clip-score", "2..", "--json"]).json();
    assert_eq!((&said["n"], &said["rejected"]), (&json!(0), &json!({ "clip-score-below": 8 })));
    let entries = lines(&workshop.path("none/manifest.jsonl"));
    assert!(entries.iter().all(|entry| entry["path"].is_null() && entry["rejected"] == "clip-score-below"));
    assert!(!workshop.path("none/images").exists());

    let arrays = |out: &str, file: &str| TensorFile::read(&workshop.path(out).join(file)).unwrap().tensors;
    let rows = |out: &str, file: &str| -> Array2<f32> {
        let Tensor::F32(rows) = arrays(out, file).remove("features").unwrap() else { unreachable!() };
        rows.into_dimensionality().unwrap()
    };
    let (texts, moved) = (rows("none", "features.npz"), rows("none", "fakes.npz"));
    let mean = texts.slice(ndarray::s![..3, ..]).mean_axis(ndarray::Axis(0)).unwrap();
    let edge = lines(&workshop.path("none/edges.jsonl"))[0].clone();
    let from = texts.row(edge["row"].as_u64().unwrap() as usize);
    let length = |row: ndarray::ArrayView1<'_, f32>| (&row - &mean).mapv(|x| x * x).sum().sqrt();
    assert!((f64::from(length(from)) + edge["nearness"].as_f64().unwrap()).abs() < 1e-4);
    for (step, factor) in [(0, 1.1), (1, 1.2)] {
        assert!((length(moved.row(step)) / length(from) - factor).abs() < 1e-3);
    }

    let said = workshop.outliers("released", &["--compat", "released", "--clip-score", "..2", "--json"]).json();
    assert_eq!(said["n"], 8);
    let shift = &rows("released", "fakes.npz").row(0) - &from;
    let expected = 3e-5 * length(from);
    assert!(shift.iter().all(|shift| (shift - expected).abs() < 1e-6), "{shift} is not {expected} everywhere");
    workshop.outliers("few", &["--edge", "mahalanobis"]).refused(&["the class ant", "3 texts of 24 numbers"]);
}

#[test]
fn captions_and_networks_that_do_not_fit_are_refused_by_name() {
    let workshop = Workshop::new();
    let captions = workshop.path("captions.jsonl");
    let whole = fs_err::read_to_string(&captions).unwrap();
    let with = |line: &str, all: &[&str]| {
        fs_err::write(&captions, format!("{whole}{line}\n")).unwrap();
        workshop.outliers("out", &[]).refused(all);
        fs_err::write(&captions, &whole).unwrap();
        assert!(!workshop.path("out").exists());
    };
    with("{\"id\": ", &["captions.jsonl: line 13 is damaged"]);
    with("{\"id\": \"eel/000.png\", \"caption\": \"x\"}", &["line 13", "eel/000.png is not among the images"]);
    with("{\"id\": \"ant/000.png\", \"caption\": \"x\"}", &["line 13", "ant/000.png has a caption already"]);

    let (clip, pipeline) = (workshop.path("clip"), workshop.path("pipeline"));
    let aside = workshop.path("aside");
    for (file, all) in [
        (clip.join("tokenizer.json"), ["cannot load the backbone clip", "tokenizer"]),
        (pipeline.join("tokenizer/vocab.json"), ["cannot load the pipeline", "tokenizer"]),
        (pipeline.join("unet/diffusion_pytorch_model.safetensors"), ["cannot load the pipeline", "unet"]),
    ] {
        fs_err::rename(&file, &aside).unwrap();
        workshop.outliers("out", &[]).refused(&all);
        fs_err::rename(&aside, &file).unwrap();
    }
    let narrow = workshop.path("narrow");
    copy(&golden("clip/hf-quick"), &narrow);
    copy(&golden("tokenizer/small"), &narrow);
    let refused = workshop.outliers("narrow-out", &["--clip", text(&narrow)]);
    refused.refused(&["states of length 12, the pipeline wants 24"]);
    // Another text tower of the right size is told, not refused.
    let other = workshop.path("other");
    copy(&golden("clip/hf-gelu-half"), &other);
    copy(&golden("tokenizer/small"), &other);
    let ran = workshop.outliers("other-out", &["--clip", text(&other)]);
    assert!(ran.code == 0 && ran.stderr.contains("not the CLIP's text tower"), "{}", ran.stderr);

    fs_err::write(workshop.path("file"), "").unwrap();
    workshop.outliers("file/out", &[]).refused(&["file/out"]);
    workshop.backgrounds("file/out", &["--boxes", text(&captions)]).refused(&["line 1 is damaged"]);
}

#[test]
fn backgrounds_keep_what_is_outside_the_boxes() {
    let workshop = Workshop::new();
    fs_err::write(workshop.images.join("bee/001.png"), b"no image").unwrap();
    let boxes = |index: usize| match index {
        1 => json!([]),
        2 => json!([[0.0, 0.0, 31.0, 31.0], [4.0, 4.0, 8.0, 8.0]]),
        _ => json!([[4.0, 5.0, 20.0, 21.0]]),
    };
    let ids = ["ant", "bee", "cow", "dog"].iter().flat_map(|class| (0..3).map(move |n| format!("{class}/{n:03}.png")));
    let all: Vec<Value> =
        ids.enumerate().map(|(index, id)| json!({ "id": id, "label": 0, "boxes": boxes(index) })).collect();
    let write = |lines: &[Value]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        fs_err::write(workshop.path("boxes.jsonl"), lines.join("\n") + "\n").unwrap();
    };
    write(&all);
    let ran = workshop.backgrounds("whole", &["--json"]);
    assert!(ran.stderr.contains("left out bee/001.png"), "{}", ran.stderr);
    let expected = json!({ "nothing-found": 1, "too-large": 1, "unreadable": 1 });
    assert_eq!((&ran.json()["n"], &ran.json()["rejected"]), (&json!(9), &expected));
    let entries = lines(&workshop.path("whole/manifest.jsonl"));
    assert_eq!(entries.len(), 12);
    assert_eq!((&entries[1]["rejected"], &entries[1]["path"]), (&json!("nothing-found"), &Value::Null));
    assert_eq!(
        (&entries[0]["kind"], &entries[0]["class"], &entries[0]["label"]),
        (&json!("background"), &json!("ant"), &json!(4))
    );
    let made = image::open(workshop.path("whole/images/0/000000.png")).unwrap().to_rgb8();
    let original = image::open(workshop.images.join("ant/000.png")).unwrap().to_rgb8();
    for (x, y, pixel) in made.enumerate_pixels() {
        let inside = (4..20).contains(&x) && (5..21).contains(&y);
        assert!(inside || pixel == original.get_pixel(x, y), "{x} {y}");
    }
    assert!(made != original);

    let whole = workshop.files("whole");
    let parts = workshop.path("parts");
    copy(&workshop.path("whole"), &parts);
    let manifest = &whole["manifest.jsonl"];
    fs_err::write(parts.join("manifest.jsonl"), &manifest[..manifest.len() / 2]).unwrap();
    assert_eq!(workshop.backgrounds("parts", &["--batch-size", "1"]).code, 0);
    assert!(workshop.files("parts") == whole);
    workshop.backgrounds("parts", &["--size", "224"]).refused(&["other settings"]);
    workshop.backgrounds("strict", &["--strict"]).refused(&["bee/001.png"]);
    let shares = ["1/2", "2/2"].map(|share| {
        let out = format!("share-{}", &share[..1]);
        assert_eq!(workshop.backgrounds(&out, &["--shard", share]).code, 0);
        workshop.files(&out)["manifest.jsonl"].clone()
    });
    assert!(shares.concat() == *manifest);

    write(&[all[3].clone(), all[2].clone()]);
    workshop.backgrounds("order", &[]).refused(&["line 2", "ant/002.png stands behind"]);
    let neither = run(workshop.folder.path(), &["synth", "backgrounds", "--data", &workshop.data, "--out", "x"]);
    neither.refused(&["--boxes"]);
}

#[test]
fn everything_in_one_folder_is_what_fodfom_trains_with() {
    let workshop = Workshop::new();
    let [clip, pipeline] = ["clip", "pipeline"].map(|name| workshop.path(name));
    let [captioner, detector] = ["blip2/half", "grounding/swin-t"].map(golden);
    let networks = ["--captioner-weights", text(&captioner), "--grounding-weights", text(&detector)];
    let usual = ["--clip", text(&clip), "--weights", text(&pipeline), "--steps", "2", "--max-tokens", "4"];
    let all = |more: &[&str]| workshop.run("all", "all", &[&networks[..], &usual, &["--moves", "2"]].concat(), more);
    let said = all(&["--json", "--box-threshold", "0.5"]).json();
    assert_eq!(said["captions"]["n"], 12);
    let [drawn, blurred] = ["outliers", "backgrounds"].map(|kind| said[kind]["n"].as_u64().unwrap());
    let rejected = said["backgrounds"]["rejected"].as_object().unwrap().values();
    assert_eq!(blurred + rejected.map(|count| count.as_u64().unwrap()).sum::<u64>(), 12);
    assert!(drawn >= 8 && blurred > 0, "{said}");
    let whole = workshop.files("all");
    assert_eq!(all(&["--box-threshold", "0.5"]).code, 0);
    assert!(workshop.files("all") == whole, "nothing is made twice");
    all(&["--box-threshold", "0.4"]).refused(&["boxes.jsonl", "other settings"]);

    // Both kinds, or one.
    for (name, images) in [("all", drawn + blurred), ("all/outliers", drawn), ("all/backgrounds", blurred)] {
        let outliers = format!("folder:{}", text(&workshop.path(name)));
        let (features, out) = (workshop.path("f.safetensors"), workshop.path(&format!("trained-{images}")));
        let extract = ["extract", "--backbone", "sprite-resnet", "--data", &outliers, "--out", text(&features)];
        assert_eq!(run(workshop.folder.path(), &[&extract[..], &["--json"]].concat()).json()["n"], images);
        let train = ["train", "--recipe", "fodfom", "--backbone", "cifar-resnet20", "--data", &workshop.data];
        let more = ["--outliers", &outliers, "--epochs", "1", "--batch-size", "8", "--out", text(&out)];
        let ran = run(workshop.folder.path(), &[&train[..], &more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
}
