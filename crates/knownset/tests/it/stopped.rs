//! What a stage leaves when it is stopped in the middle, by Ctrl-C or by a disk that is full, and how it goes on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use knownset_core::numpy::write_rows;
use knownset_core::{Tensor, TensorFile};
use ndarray::ArrayD;

use crate::util::{Ran, command, golden, image_folder, noise, run, text};
use crate::workshop::Workshop;

/// How long a run may take to get somewhere.
const PATIENCE: Duration = Duration::from_mins(2);

/// Starts the binary, presses Ctrl-C as soon as `there` is, and waits for the end.
fn pressed(folder: &Path, arguments: &[String], there: impl Fn() -> bool) -> Ran {
    let mut command = command(folder);
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was stopped");
        assert!(start.elapsed() < PATIENCE, "the run does not get anywhere");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap())
}

/// Runs the binary where no file can be larger than so many blocks of 512 bytes: to the program, a full disk.
fn cramped(folder: &Path, blocks: u32, arguments: &[String]) -> Ran {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let binary = command(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(binary.get_program()).args(arguments);
    shell.env("KNOWNSET_CACHE", folder.join("cache"));
    Ran::of(shell.output().unwrap())
}

/// Lines that are there by now.
fn written(path: &Path) -> usize {
    fs_err::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn captions(workshop: &Workshop, data: &str, out: &str) -> Vec<String> {
    let (weights, out) = (golden("blip2/half"), workshop.path(out));
    let usual = ["synth", "captions", "--weights", text(&weights), "--data", data, "--out", text(&out)];
    [&usual[..], &["--max-tokens", "5", "--batch-size", "1"]].concat().into_iter().map(str::to_owned).collect()
}

/// Noise for as many images of the workshop's pipeline.
fn latents(workshop: &Workshop, images: usize) -> PathBuf {
    let path = workshop.path("noise.npy");
    let rows = (0..images)
        .map(|row| ArrayD::from_shape_fn(vec![4, 4, 4], |at| noise(3, row * 64 + at[0] * 16 + at[1] * 4 + at[2])));
    write_rows(&path, images, &[4, 4, 4], rows).unwrap();
    path
}

fn images(workshop: &Workshop, latents: &Path, out: &str, steps: &str) -> Vec<String> {
    let [contexts, weights, out] = ["kept/contexts.npy", "pipeline", out].map(|name| workshop.path(name));
    let usual = ["synth", "image", "--weights", text(&weights), "--context", text(&contexts)];
    let more = ["--latents", text(latents), "--steps", steps, "--out", text(&out)];
    [&usual[..], &more].concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn outliers_that_were_interrupted_go_on() {
    let workshop = Workshop::new();
    let long = ["--steps", "150"];
    assert_eq!(workshop.outliers("whole", &long).code, 0);
    let manifest = workshop.path("parts/manifest.jsonl");
    let arguments = workshop.outliers_arguments("parts", &long);
    let ran = pressed(workshop.folder.path(), &arguments, || written(&manifest) > 0);
    ran.refused(&["stopped", "of 8 outliers", "run the same command again to go on"]);
    let done = written(&manifest);
    assert!((1..8).contains(&done), "{done}");
    assert_eq!(workshop.outliers("parts", &long).code, 0);
    assert!(workshop.files("parts") == workshop.files("whole"));
}

#[test]
fn outliers_on_a_full_disk_say_which_file_and_go_on() {
    let workshop = Workshop::new();
    assert_eq!(workshop.outliers("whole", &[]).code, 0);
    let whole = workshop.files("whole");
    let arguments = workshop.outliers_arguments("parts", &["--no-cache"]);
    cramped(workshop.folder.path(), 1, &arguments).refused(&["cannot write", "made.json"]);
    cramped(workshop.folder.path(), 2, &arguments).refused(&["cannot write", "features.npz"]);
    let parts = workshop.path("parts");
    assert!(!parts.exists(), "half a file is none, and what cannot be made leaves nothing");

    // The disk fills up while images are drawn.
    fs_err::create_dir_all(&parts).unwrap();
    for name in ["features.npz", "edges.jsonl", "fakes.npz", "made.json"] {
        fs_err::copy(workshop.path("whole").join(name), parts.join(name)).unwrap();
    }
    let largest = whole.iter().filter(|(name, _)| name.starts_with("images/")).map(|(_, bytes)| bytes.len()).max();
    assert!(largest < Some(1024), "there is place for a picture: {largest:?}");
    cramped(workshop.folder.path(), 2, &arguments).refused(&["cannot write", "manifest.jsonl"]);
    let kept = fs_err::read(parts.join("manifest.jsonl")).unwrap();
    assert!(!kept.is_empty() && whole["manifest.jsonl"].starts_with(&kept), "what was written is whole");
    assert_eq!(workshop.outliers("parts", &["--no-cache"]).code, 0);
    assert!(workshop.files("parts") == whole);
}

#[test]
fn images_that_were_interrupted_go_on() {
    let workshop = Workshop::new();
    let folder = workshop.folder.path();
    assert_eq!(workshop.outliers("kept", &["--keep-contexts"]).code, 0);
    let latents = latents(&workshop, 8);
    let arguments = |out: &str, steps: &str| images(&workshop, &latents, out, steps);
    assert_eq!(run(folder, &arguments("whole.npz", "150")).code, 0);
    let arrays = |name: &str| TensorFile::read(&workshop.path(name)).unwrap().tensors;
    let whole = arrays("whole.npz");
    let size = whole.values().map(|array| array.shape().iter().product::<usize>() * 4 / 8).sum::<usize>();
    let parts = workshop.path("parts.npz.parts");
    let there = || fs_err::metadata(&parts).is_ok_and(|file| file.len() >= 2 * size as u64);
    pressed(folder, &arguments("parts.npz", "150"), there).refused(&["stopped", "of 8 images", "to go on"]);
    assert!(there() && !workshop.path("parts.npz").exists());
    run(folder, &arguments("parts.npz", "7")).refused(&["parts.npz.parts", "other settings", "`steps`"]);
    // As a run leaves it that is killed in the middle of an image. What it has finished is not drawn again: a mark stays.
    let mut bytes = fs_err::read(&parts).unwrap();
    bytes[..4].copy_from_slice(&7.25_f32.to_le_bytes());
    fs_err::write(&parts, &bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(run(folder, &arguments("parts.npz", "150")).code, 0);
    assert!(!parts.exists() && !workshop.path("parts.npz.parts.made.json").exists());
    let mut expected = whole;
    let Some(Tensor::F32(latents)) = expected.get_mut("latents") else { panic!("no latents") };
    latents[[0, 0, 0, 0]] = 7.25;
    assert!(arrays("parts.npz") == expected);

    // More than there can be was not made by this command.
    fs_err::write(&parts, vec![0; 9 * size]).unwrap();
    run(folder, &arguments("parts.npz", "150")).refused(&["parts.npz.parts", "by something else"]);
    assert!(!workshop.path("parts.npz.parts.made.json").exists(), "what is refused leaves nothing");
}

#[test]
fn images_on_a_full_disk_go_on() {
    let workshop = Workshop::new();
    let folder = workshop.folder.path();
    assert_eq!(workshop.outliers("kept", &["--keep-contexts"]).code, 0);
    let latents = latents(&workshop, 8);
    let arguments = |out: &str| images(&workshop, &latents, out, "2");
    assert_eq!(run(folder, &arguments("whole.npz")).code, 0);
    let whole = TensorFile::read(&workshop.path("whole.npz")).unwrap().tensors;
    let bytes = whole.values().map(|array| array.shape().iter().product::<usize>() * 4).sum::<usize>();
    let parts = workshop.path("parts.npz.parts");
    let blocks = u32::try_from(bytes / 512 - 1).unwrap();
    cramped(folder, blocks, &arguments("parts.npz")).refused(&["cannot write", "parts.npz.parts"]);
    assert!(fs_err::metadata(&parts).unwrap().len() as usize >= bytes / 8 * 7, "what was drawn is kept");
    assert!(!workshop.path("parts.npz").exists());
    assert_eq!(run(folder, &arguments("parts.npz")).code, 0);
    assert!(TensorFile::read(&workshop.path("parts.npz")).unwrap().tensors == whole && !parts.exists());
}

#[test]
fn captions_and_backgrounds_that_were_interrupted_go_on() {
    let workshop = Workshop::new();
    let folder = workshop.folder.path();
    let data = format!("folder:{}", text(&image_folder(folder, "many", 200)));
    let said = workshop.path("said.jsonl");
    pressed(folder, &captions(&workshop, &data, "said.jsonl"), || written(&said) > 0).refused(&["stopped", "of 800"]);
    let done = written(&said);
    assert!((1..800).contains(&done), "{done}");
    let kept = fs_err::read(&said).unwrap();
    pressed(folder, &captions(&workshop, &data, "said.jsonl"), || written(&said) > done).refused(&["stopped"]);
    assert!(fs_err::read(&said).unwrap().starts_with(&kept));

    let boxes: Vec<String> = ["ant", "bee", "cow", "dog"]
        .iter()
        .flat_map(|class| (0..200).map(move |n| format!("{class}/{n:03}.png")))
        .map(|id| serde_json::json!({ "id": id, "boxes": [[4.0, 5.0, 20.0, 21.0]] }).to_string())
        .collect();
    fs_err::write(workshop.path("boxes.jsonl"), boxes.join("\n") + "\n").unwrap();
    let blurred = |out: &str| -> Vec<String> {
        let [boxes, out] = ["boxes.jsonl", out].map(|name| workshop.path(name));
        let usual = ["synth", "backgrounds", "--data", &data, "--boxes", text(&boxes), "--out", text(&out)];
        usual.into_iter().chain(["--batch-size", "1"]).map(str::to_owned).collect()
    };
    assert_eq!(run(folder, &blurred("whole")).code, 0);
    let manifest = workshop.path("parts/manifest.jsonl");
    let ran = pressed(folder, &blurred("parts"), || written(&manifest) > 0);
    ran.refused(&["stopped", "of 800 backgrounds", "run the same command again to go on"]);
    assert!((1..800).contains(&written(&manifest)));
    assert_eq!(run(folder, &blurred("parts")).code, 0);
    assert!(workshop.files("parts") == workshop.files("whole"));
}

#[test]
fn what_one_run_makes_no_other_touches() {
    let workshop = Workshop::new();
    assert_eq!(workshop.outliers("out", &[]).code, 0);
    let whole = workshop.files("out");
    let record = fs_err::File::open(workshop.path("out/made.json")).unwrap();
    record.file().lock().unwrap();
    for other in [&[][..], &["--seed", "1"]] {
        workshop.outliers("out", other).refused(&["another run is making", "out"]);
    }
    drop(record);
    assert!(workshop.files("out") == whole);
    assert_eq!(workshop.outliers("out", &[]).code, 0);
}

#[test]
fn captions_on_a_full_disk_go_on() {
    let workshop = Workshop::new();
    let folder = workshop.folder.path();
    let captions = |out: &str| captions(&workshop, &workshop.data, out);
    assert_eq!(run(folder, &captions("whole.jsonl")).code, 0);
    let whole = fs_err::read(workshop.path("whole.jsonl")).unwrap();
    assert!(whole.len() > 512, "{}", whole.len());
    cramped(folder, 1, &captions("parts.jsonl")).refused(&["cannot write", "parts.jsonl"]);
    let kept = fs_err::read(workshop.path("parts.jsonl")).unwrap();
    assert!(!kept.is_empty() && kept.len() <= 512 && whole.starts_with(&kept));
    assert_eq!(run(folder, &captions("parts.jsonl")).code, 0);
    assert!(fs_err::read(workshop.path("parts.jsonl")).unwrap() == whole);
}
