//! A captioner and a detector trained through the command line, into folders that `synth` opens.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::util::{Ran, image_folder, lines, run, text};

/// A folder with the layout of a network.
fn design(folder: &Path, name: &str, config: &Value, preprocessor: &Value) -> PathBuf {
    let design = folder.join(name);
    fs_err::create_dir_all(&design).unwrap();
    fs_err::write(design.join("config.json"), config.to_string()).unwrap();
    fs_err::write(design.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    design
}

fn train(folder: &Path, recipe: &str, design: &Path, out: &Path, more: &[&str]) -> Ran {
    let args = ["train", "--recipe", recipe, "--towers", text(design), "--out", text(out), "--json", "--epochs", "1"];
    run(folder, &[&args[..], more].concat())
}

#[test]
fn a_captioner_is_trained_into_a_folder_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let part = |width: usize| json!({"hidden_size": width, "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": 1});
    let mut config = json!({
        "model_type": "blip-2", "num_query_tokens": 2, "vision_config": part(8), "qformer_config": part(8),
        "text_config": {"model_type": "opt", "hidden_size": 8, "ffn_dim": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "max_position_embeddings": 96},
    });
    config["vision_config"]["image_size"] = 32.into();
    config["vision_config"]["patch_size"] = 16.into();
    let design = design(folder.path(), "design", &config, &json!({"size": {"height": 32, "width": 32}}));
    let out = folder.path().join("captioner");
    let trained = |more: &[&str]| train(folder.path(), "captioner:label-smoothing=0.1", &design, &out, more);
    let silent = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    trained(&["--data", &silent]).refused(&["has no text for"]);
    trained(&["--data", "world:sprites#symbols", "--outliers", &silent]).refused(&["no use for --outliers"]);
    let wrong = train(folder.path(), "captioner:x=1", &design, &out, &["--data", "world:sprites#symbols"]);
    wrong.refused(&["bad parameters", "unknown field `x`"]);
    assert!(!out.exists());

    let said = trained(&["--data", "world:sprites#symbols", "--val", "world:sprites#flags"]).json();
    let held_out = &said["held_out"];
    assert_eq!((&held_out["images"], &said["kept"]), (&500.into(), &1.into()));
    assert!((0.0..=1.0).contains(&held_out["exact_match"].as_f64().unwrap()));
    assert!((0.0..=1.0).contains(&held_out["named"].as_f64().unwrap()));
    // What is refused leaves the folder as it is, its vocabulary above all.
    let tokenizer = fs_err::read(out.join("tokenizer.json")).unwrap();
    trained(&["--data", "world:sprites#flags"]).refused(&["--resume"]);
    assert!(fs_err::read(out.join("tokenizer.json")).unwrap() == tokenizer);
    let captions = folder.path().join("captions.jsonl");
    let ask = ["synth", "captions", "--captioner", "blip2", "--weights", text(&out), "--data", &silent, "--json"];
    assert_eq!(run(folder.path(), &[&ask[..], &["--out", text(&captions)]].concat()).json()["n"], 4);
    assert!(lines(&captions).iter().all(|line| line["caption"].is_string()));
}

#[test]
fn a_detector_is_trained_into_a_folder_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "model_type": "grounding-dino",
        "backbone_config": {"model_type": "swin", "patch_size": 8, "embed_dim": 8, "depths": [1], "num_heads": [1],
            "window_size": 4, "mlp_ratio": 1.0, "out_features": ["stage1"]},
        "text_config": {"model_type": "bert", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "max_position_embeddings": 64},
        "d_model": 32, "num_feature_levels": 2, "num_queries": 3, "max_text_len": 64,
        "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "encoder_n_points": 1,
        "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "decoder_n_points": 1,
    });
    let size = json!({"size": {"shortest_edge": 32, "longest_edge": 32}});
    let design = design(folder.path(), "design", &config, &size);
    let out = folder.path().join("detector");
    let trained = |more: &[&str]| train(folder.path(), "detector", &design, &out, more);
    let bare = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    trained(&["--data", &bare]).refused(&["has no boxes"]);
    trained(&["--data", "world:sprites#symbols", "--augment", "flip"]).refused(&["no use for --augment"]);
    let wrong = train(folder.path(), "detector:x=1", &design, &out, &["--data", "world:sprites#symbols"]);
    wrong.refused(&["has no parameters"]);
    assert!(!out.exists());

    let said = trained(&["--data", "world:sprites#symbols", "--val", "world:sprites#flags"]).json();
    assert_eq!((&said["held_out"]["images"], &said["kept"]), (&500.into(), &1.into()));
    assert!((0.0..=1.0).contains(&said["held_out"]["ap50"].as_f64().unwrap()));
    let vocabulary = fs_err::read(out.join("vocab.txt")).unwrap();
    trained(&["--data", "world:sprites#flags"]).refused(&["--resume"]);
    assert!(fs_err::read(out.join("vocab.txt")).unwrap() == vocabulary);
    let boxes = folder.path().join("boxes.jsonl");
    let ask = ["synth", "boxes", "--grounding", "grounding-dino", "--weights", text(&out), "--data", &bare, "--json"];
    let prompt = ["--prompt", "an arrow . a zebra .", "--box-threshold", "0", "--out", text(&boxes)];
    assert_eq!(run(folder.path(), &[&ask[..], &prompt].concat()).json()["n"], 4);
    assert!(lines(&boxes).iter().all(|line| line["boxes"].as_array().unwrap().len() == 3));
}
