//! The networks of `knownset synth`, each alone, on the tiny checkpoints that their parity tests use.

use std::ops::ControlFlow;
use std::path::Path;

use knownset_core::{Tensor, TensorFile};
use knownset_nn::diffusion::{Method, Pipeline, Request};
use ndarray::{Array3, Array4, ArrayD};

use crate::util::{copy, golden, image_folder, lines, noise, run, text};

fn write_npy(path: &Path, array: &ArrayD<f32>) {
    use npyz::WriterBuilder;
    let shape: Vec<u64> = array.shape().iter().map(|&length| length as u64).collect();
    let file = fs_err::File::create(path).unwrap();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd().unwrap();
    writer.extend(array.iter().copied()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn images_are_those_of_the_pipeline_with_the_empty_prompt_beside_the_context() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("pipeline");
    copy(&golden("diffusion/sd1"), &weights);
    copy(&golden("tokenizer/small"), &weights.join("tokenizer"));
    let pipeline = Pipeline::open(&weights).unwrap();
    let (width, channels) = (pipeline.unet().spec().context, pipeline.unet().spec().inputs);
    let tokens = pipeline.text_encoder().unwrap().spec().context;
    let context = Array3::from_shape_fn((2, tokens, width), |(a, b, c)| noise(1, (a * tokens + b) * width + c));
    let start =
        Array4::from_shape_fn((2, channels, 4, 6), |(a, b, c, d)| noise(2, ((a * channels + b) * 4 + c) * 6 + d));
    let [contexts, latents, out] = ["c.npy", "l.npy", "out.npz"].map(|name| folder.path().join(name));
    write_npy(&contexts, &context.clone().into_dyn());
    write_npy(&latents, &start.clone().into_dyn());
    let arguments = |more: &[&'static str]| {
        let mut all = vec!["synth", "image", "--weights", text(&weights), "--context", text(&contexts)];
        all.extend(["--latents", text(&latents), "--out", text(&out), "--steps", "3"]);
        all.extend(if more.contains(&"--guidance") { &[][..] } else { &["--guidance", "2"] });
        all.extend(more);
        run(folder.path(), &all)
    };
    for (name, method) in [("ddim", Method::Ddim { eta: 0.0 }), ("pndm", Method::Pndm), ("euler", Method::Euler)] {
        assert_eq!(arguments(&["--json", "--scheduler", name]).json()["n"], 2);
        let written = TensorFile::read(&out).unwrap().tensors;
        let empty = pipeline.encode(&[""]).unwrap();
        let request = Request::new(context.view(), empty.view(), start.view());
        let request = Request { method, steps: 3, guidance: 2.0, ..request };
        let expected = pipeline.sample(&request, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(written["images"], Tensor::from(expected.images));
        assert_eq!(written["latents"], Tensor::from(expected.latents));
        assert!(!folder.path().join("out.npz.parts").exists());
    }

    write_npy(&contexts, &Array3::zeros((3, tokens, width)).into_dyn());
    arguments(&[]).refused(&["context has shape [3,", "expected [2, T,"]);
    write_npy(&contexts, &context.clone().into_dyn());
    write_npy(&latents, &start.index_axis(ndarray::Axis(0), 0).to_owned().into_dyn());
    arguments(&[]).refused(&["l.npy", "expected [n, channels, h, w]"]);
    write_npy(&latents, &Array4::zeros((2, channels + 1, 4, 6)).into_dyn());
    arguments(&[]).refused(&["noise has shape [2,", "expected [n,"]);
    write_npy(&latents, &Array4::zeros((2, channels, 0, 6)).into_dyn());
    arguments(&[]).refused(&["noise has shape [2,", "expected [n,"]);
    arguments(&["--guidance", "nan"]).refused(&["--guidance", "not a number"]);
    assert!(!folder.path().join("out.npz.parts.made.json").exists(), "what is refused leaves nothing");

    // Where nothing is asked of the empty prompt, nothing need encode it.
    let index = weights.join("model_index.json");
    let mut parts: serde_json::Value = serde_json::from_slice(&fs_err::read(&index).unwrap()).unwrap();
    let whole = parts.to_string();
    for part in ["text_encoder", "tokenizer"] {
        parts[part] = serde_json::json!([null, null]);
    }
    fs_err::write(&index, parts.to_string()).unwrap();
    write_npy(&latents, &start.into_dyn());
    arguments(&[]).refused(&["no text encoder"]);
    assert_eq!(arguments(&["--guidance", "1"]).code, 0);
    fs_err::write(&index, whole).unwrap();
    fs_err::remove_dir_all(weights.join("tokenizer")).unwrap();
    arguments(&[]).refused(&["cannot load the pipeline", "tokenizer"]);
}

#[test]
fn captions_go_on_behind_the_last_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let images = image_folder(folder.path(), "images", 3);
    let data = format!("folder:{}", text(&images));
    let weights = golden("blip2/half");
    let run_on = |out: &Path, more: &[&str]| {
        let usual = ["synth", "captions", "--weights", text(&weights), "--data", &data, "--out", text(out)];
        run(folder.path(), &[&usual[..], &["--max-tokens", "5"], more].concat())
    };
    let [whole, parts, third] = ["whole.jsonl", "parts.jsonl", "third.jsonl"].map(|name| folder.path().join(name));
    assert_eq!(run_on(&whole, &["--json"]).json()["n"], 12);
    let said = lines(&whole);
    assert_eq!(said.len(), 12);
    assert_eq!((&said[0]["id"], &said[11]["label"]), (&"ant/000.png".into(), &3.into()));
    assert!(said.iter().all(|line| line["caption"].is_string() && line["tokens"].as_array().unwrap().len() <= 5));
    let page = fs_err::read_to_string(folder.path().join("whole.jsonl.html")).unwrap();
    assert_eq!(page.matches("<figure").count(), 12);
    let distinct: std::collections::BTreeSet<String> = said.iter().map(|line| line["tokens"].to_string()).collect();
    assert!(distinct.len() > 1, "every image has the same caption");

    // As a run leaves it that is killed in the middle of a line.
    assert_eq!(run_on(&parts, &["--batch-size", "5"]).code, 0);
    let bytes = fs_err::read(&whole).unwrap();
    assert_eq!(fs_err::read(&parts).unwrap(), bytes);
    fs_err::write(&parts, &bytes[..bytes.len() * 2 / 3]).unwrap();
    assert_eq!(run_on(&parts, &[]).code, 0);
    assert_eq!(fs_err::read(&parts).unwrap(), bytes);
    run_on(&parts, &["--prompt", "a"]).refused(&["parts.jsonl", "other settings", "hint"]);

    let mut shares = Vec::new();
    for share in ["1/3", "2/3", "3/3"] {
        assert_eq!(run_on(&third, &["--shard", share]).code, 0);
        shares.extend(fs_err::read(&third).unwrap());
        fs_err::remove_file(&third).unwrap();
    }
    assert_eq!(shares, bytes);

    // An image that cannot be read is counted and left out; --strict stops at it.
    fs_err::write(images.join("bee/001.png"), b"no image").unwrap();
    let ran = run_on(&folder.path().join("odd.jsonl"), &["--json"]);
    assert_eq!(ran.json()["unreadable"].as_array().unwrap().len(), 1);
    assert_eq!((&ran.json()["n"], &ran.json()["left_out"]), (&11.into(), &1.into()));
    let again = run_on(&folder.path().join("odd.jsonl"), &["--json"]).json();
    assert_eq!((&again["n"], &again["left_out"]), (&11.into(), &1.into()), "a run that goes on knows of it too");
    run_on(&folder.path().join("strict.jsonl"), &["--strict"]).refused(&["bee/001.png"]);
}

#[test]
fn boxes_lie_about_where_the_image_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    let (weights, out) = (golden("grounding/swin-t"), folder.path().join("boxes.jsonl"));
    let boxes = |more: &[&str]| {
        let usual = ["synth", "boxes", "--weights", text(&weights), "--data", &data, "--out", text(&out)];
        run(folder.path(), &[&usual[..], more].concat())
    };
    boxes(&["--prompt", "a cat .", "--box-threshold", "2"]).refused(&["threshold is 2"]);
    assert_eq!(boxes(&["--box-threshold", "0", "--json"]).json()["n"], 4);
    let own = lines(&out);
    fs_err::remove_file(&out).unwrap();
    assert_eq!(boxes(&["--prompt", "dog .", "--box-threshold", "0", "--json"]).json()["n"], 4);
    let dogs = lines(&out);
    assert!(dogs[3] == own[3] && dogs[0] != own[0], "the image's own class is the usual prompt");
    fs_err::remove_file(&out).unwrap();
    assert_eq!(boxes(&["--prompt", "a cat .", "--box-threshold", "0", "--json"]).json()["n"], 4);
    let page = fs_err::read_to_string(folder.path().join("boxes.jsonl.html")).unwrap();
    assert_eq!(page.matches("<figure").count(), 4);
    for line in lines(&out) {
        let list = |key: &str| line[key].as_array().unwrap().clone();
        let (found, scores) = (list("boxes"), list("scores"));
        assert!(!found.is_empty() && found.len() == scores.len() && found.len() == list("phrases").len());
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(&score.as_f64().unwrap())));
        for corners in found {
            let at = |index: usize| corners[index].as_f64().unwrap();
            assert!(at(0) < at(2) && at(1) < at(3), "{corners}");
            // Widths are shares of the image's 32 pixels.
            assert!(at(2) - at(0) <= 32.0 && at(3) - at(1) <= 32.0, "{corners}");
        }
    }
}

#[test]
fn boxes_are_shared_out_and_leave_out_what_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let images = image_folder(folder.path(), "images", 1);
    let data = format!("folder:{}", text(&images));
    let weights = golden("grounding/swin-t");
    let boxes = |stage: &str, out: &str, more: &[&str]| {
        let named = if stage == "boxes" { "--weights" } else { "--grounding-weights" };
        let out = folder.path().join(out);
        let usual = ["synth", stage, named, text(&weights), "--data", &data, "--box-threshold", "0.4"];
        run(folder.path(), &[&usual[..], &["--out", text(&out)], more].concat())
    };
    assert_eq!(boxes("boxes", "whole.jsonl", &[]).code, 0);
    let shares = ["1/2", "2/2"].map(|share| {
        let out = format!("share-{}.jsonl", &share[..1]);
        assert_eq!(boxes("boxes", &out, &["--shard", share]).code, 0);
        fs_err::read(folder.path().join(out)).unwrap()
    });
    assert!(shares.concat() == fs_err::read(folder.path().join("whole.jsonl")).unwrap());

    fs_err::write(images.join("cow/000.png"), b"no image").unwrap();
    let said = boxes("boxes", "odd.jsonl", &["--json"]).json();
    assert_eq!((&said["n"], &said["left_out"]), (&3.into(), &1.into()));
    let ids: Vec<_> = lines(&folder.path().join("odd.jsonl")).iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, ["ant/000.png", "bee/000.png", "dog/000.png"]);
    boxes("boxes", "strict.jsonl", &["--strict"]).refused(&["cow/000.png"]);
    assert_eq!(lines(&folder.path().join("strict.jsonl")).len(), 2, "what came before is kept");
    // Nor is it lost to the counts of what is made of the boxes.
    let said = boxes("backgrounds", "backgrounds", &["--json"]).json();
    let rejected = said["rejected"].as_object().unwrap();
    assert_eq!(rejected["no-line"], 1);
    let counts = rejected.values().map(|count| count.as_u64().unwrap());
    assert_eq!(said["n"].as_u64().unwrap() + counts.sum::<u64>(), 4);
}

#[test]
fn a_broken_checkpoint_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    let out = folder.path().join("out.jsonl");
    for (stage, network, checkpoint, part) in [
        ("captions", "captioner", "blip2/half", "model.safetensors"),
        ("boxes", "detector", "grounding/swin-t", "model-00002-of-00002.safetensors"),
    ] {
        let weights = folder.path().join(network);
        copy(&golden(checkpoint), &weights);
        let refused = |file: &str| {
            let usual = ["synth", stage, "--weights", text(&weights), "--data", &data, "--out", text(&out)];
            run(folder.path(), &usual).refused(&[&format!("cannot load the {network}"), file]);
            assert!(!out.exists());
        };
        let file = weights.join(part);
        let bytes = fs_err::read(&file).unwrap();
        fs_err::write(&file, &bytes[..bytes.len() - 100]).unwrap();
        refused(part);
        fs_err::remove_file(&file).unwrap();
        refused(part);
        fs_err::write(&file, bytes).unwrap();
        fs_err::remove_file(weights.join("tokenizer.json")).unwrap();
        refused("tokenizer");
    }
}
