//! Training through the command line: what is refused, and a run that is killed.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use knownset_nn::Weights;
use serde_json::Value;

use crate::util::{command, image_folder, run, text};

/// A short run on a small network.
fn arguments<'a>(data: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["train", "--backbone", "cifar-resnet20", "--data", data, "--out", text(out), "--batch-size", "4"];
    [&usual[..], more].concat()
}

fn sha256(out: &Path) -> String {
    Weights::open(&out.join("weights.safetensors")).unwrap().sha256()
}

#[test]
fn a_killed_run_goes_on_to_the_weights_of_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 4)));
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    // Long enough to be killed on the way.
    let more = ["--recipe", "cross-entropy", "--epochs", "12", "--val", &data, "--keep", "best", "--ema", "0.5"];
    let said = run(folder.path(), &[&arguments(&data, &whole, &more)[..], &["--json"]].concat()).json();
    assert_eq!(said["epochs"].as_array().unwrap().len(), 12);
    assert_eq!(said["recipe"], "cross-entropy");

    let mut child = command(folder.path()).args(arguments(&data, &killed, &more)).spawn().unwrap();
    let progress = killed.join("checkpoint/progress.json");
    let waiting = Instant::now();
    while !progress.exists() && waiting.elapsed() < Duration::from_mins(2) {
        sleep(Duration::from_millis(2));
    }
    // SIGKILL: nothing of the program runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(progress.exists(), "the run got nowhere");
    assert!(!killed.join("weights.safetensors").exists(), "the run ended before it was killed");
    run(folder.path(), &arguments(&data, &killed, &more)).refused(&["there is a checkpoint here", "--resume"]);
    let other = [&arguments(&data, &killed, &more)[..], &["--resume", "--seed", "7"]].concat();
    run(folder.path(), &other).refused(&["made with other settings"]);
    // The best epoch is not chosen by one set of images and then by another.
    let others = format!("folder:{}", text(&image_folder(folder.path(), "others", 2)));
    let changed = more.map(|argument| if argument == data { others.as_str() } else { argument });
    let changed = [&arguments(&data, &killed, &changed)[..], &["--resume"]].concat();
    run(folder.path(), &changed).refused(&["made with other settings", "kept by"]);
    let resumed = run(folder.path(), &[&arguments(&data, &killed, &more)[..], &["--resume"]].concat());
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert_eq!(sha256(&killed), sha256(&whole));

    // The weights are a backbone like any other.
    let (weights, features) = (whole.join("weights.safetensors"), folder.path().join("f.safetensors"));
    let extract = ["extract", "--backbone", "cifar-resnet20", "--weights", text(&weights), "--data", &data];
    assert_eq!(run(folder.path(), &[&extract[..], &["--out", text(&features)]].concat()).code, 0);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 2)));
    let out = folder.path().join("out");
    let refused = |more: &[&str], all: &[&str]| run(folder.path(), &arguments(&data, &out, more)).refused(all);
    refused(&["--recipe", "cross-entropi"], &["no recipe `cross-entropi`", "`cross-entropy`"]);
    refused(&["--recipe", "cross-entropy:x=1"], &["bad parameters for `cross-entropy`", "unknown field `x`"]);
    refused(&["--recipe", "oe"], &["oe learns from outliers, and there are none"]);
    refused(&["--recipe", "cross-entropy", "--outliers", &data], &["cross-entropy does not learn from outliers"]);
    refused(&["--recipe", "sio+cross-entropy"], &["sio learns from synthetic images", "there are none"]);
    refused(&["--recipe", "cross-entropy", "--synthetic", &data], &["write sio+cross-entropy"]);
    refused(&["--recipe", "cross-entropy", "--keep", "best"], &["there are no validation images"]);
    let towers = ["train", "--recipe", "cross-entropy", "--data", &data, "--out", text(&out), "--towers", text(&out)];
    run(folder.path(), &towers).refused(&["cross-entropy has no use for --towers"]);
    refused(&["--recipe", "clip", "--outliers", &data], &["clip has no use for --outliers"]);
    refused(&["--recipe", "cross-entropy", "--augment", "crop,flop"], &["--augment", "`flop`", "`flip`"]);
    refused(&["--recipe", "cross-entropy", "--val", "world:sprites#test"], &["the classes of --val differ"]);
    refused(&["--recipe", "cross-entropy", "--schedule", "line"], &["cosine, constant, steps"]);
    refused(&["--recipe", "cross-entropy", "--device", "tpu"], &["no kind of device", "vulkan"]);
    #[cfg(not(feature = "vulkan"))]
    refused(&["--recipe", "cross-entropy", "--device", "vulkan"], &["built without vulkan", "--features vulkan"]);
    refused(&["--recipe", "cross-entropy", "--precision", "f8"], &["no precision", "bf16"]);
    refused(&["--recipe", "cross-entropy", "--precision", "f16"], &["train in bf16"]);
    refused(&["--recipe", "sio:alpha=0:second=none+cross-entropy"], &["no real image in a batch of 4", "raise alpha"]);
    let twofold = "sio:second=redrawn:weighting=explicit+cross-entropy";
    refused(&["--recipe", twofold], &["bad parameters for `sio`", "weighs synthetic images against real ones"]);
    let few = ["--recipe", "sio:exhaust=error:alpha=0.5+cross-entropy", "--synthetic", "world:sprites#val"];
    refused(&few, &["the classes of --synthetic differ"]);
    let empty = folder.path().join("empty");
    fs_err::create_dir_all(&empty).unwrap();
    let nothing = format!("folder:{}", text(&empty));
    let ran = run(folder.path(), &arguments(&nothing, &out, &["--recipe", "cross-entropy"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains(text(&empty)), "{}", ran.stderr);
}

#[test]
fn a_loss_that_is_no_number_says_where_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 2)));
    let out = folder.path().join("out");
    let wild = ["--recipe", "cross-entropy", "--epochs", "3", "--lr", "1e30", "--warmup", "0"];
    let ran = run(folder.path(), &arguments(&data, &out, &wild));
    ran.refused(&["the loss is", "epoch", "step", "lower --lr"]);
    assert!(!ran.stderr.contains("checkpoint of epoch 0"), "{}", ran.stderr);
}

#[test]
fn recipes_are_listed_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let all = run(folder.path(), &["recipes", "--json"]).json();
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    for name in ["cross-entropy", "sio", "clip", "captioner", "detector"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for name in names {
        let entry: Value = run(folder.path(), &["recipes", name, "--json"]).json();
        assert!(entry["paper"].as_str().unwrap().starts_with("https://"));
        let page = run(folder.path(), &["recipes", name]).stdout;
        assert!(page.starts_with(name) && page.contains("loss"), "{page}");
        let params = entry["params"].as_array().unwrap();
        assert!(params.iter().all(|param| !param["default"].is_null()), "{entry}");
        assert_eq!(page.matches("[default: ").count(), params.len(), "{page}");
    }
    let page = run(folder.path(), &["recipes", "fodfom"]).stdout;
    assert!(page.contains("tau: τ") && page.contains("[default: 0.1]"), "{page}");
    assert!(page.contains("standard (--augment) [default: contrastive]"), "{page}");
    run(folder.path(), &["recipes", "cross-entropi"]).refused(&["did you mean `cross-entropy`?"]);
}
