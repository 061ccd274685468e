//! Running the binary, and small things for it to run on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use knownset_core::{Features, Head, write_features};
use knownset_nn::Architecture;
use knownset_nn::network::{ResNet, initialise, to_weights};
use ndarray::{Array1, Array2};
use serde_json::Value;

/// What a run of the binary left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The run succeeded; its JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The run failed with exit status 2, printed nothing as data and said all of this.
    #[track_caller]
    pub(crate) fn refused(&self, all: &[&str]) {
        assert_eq!(self.code, 2, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        for text in all {
            assert!(self.stderr.contains(text), "no {text:?} in: {}", self.stderr);
        }
    }
}

/// The binary, with a cache of its own below `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("knownset"));
    command.env("KNOWNSET_CACHE", folder.join("cache"));
    command
}

/// Runs the binary.
pub(crate) fn run<S: AsRef<OsStr>>(folder: &Path, args: &[S]) -> Ran {
    Ran::of(command(folder).args(args).output().unwrap())
}

/// A path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Numbers in −1…1 that look random and are the same everywhere.
pub(crate) fn noise(seed: u32, index: usize) -> f32 {
    let mut x = seed.wrapping_mul(0x9e37_79b9) ^ (index as u32).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
    x = (x ^ (x >> 12)).wrapping_mul(0x297a_2d39);
    f64::from(x ^ (x >> 15)) as f32 / u32::MAX as f32 * 2.0 - 1.0
}

/// Features of three classes in eight dimensions, with a head; `shift` moves all of them away from the classes.
pub(crate) fn features(seed: u32, n: usize, shift: f32) -> Features {
    let (classes, d) = (3, 8);
    let weight = Array2::from_shape_fn((classes, d), |(class, j)| if j % classes == class { 1.0 } else { -0.2 });
    let labels = Array1::from_shape_fn(n, |row| (row % classes) as i64);
    let embedding = Array2::from_shape_fn((n, d), |(row, j)| {
        let own = if j % classes == row % classes { 2.0 * (1.0 - shift) } else { 0.1 };
        (own + shift + 0.5 * noise(seed, row * d + j)).max(0.0)
    });
    let bias = Array1::from(vec![0.1, 0.0, -0.1]);
    let logits = embedding.dot(&weight.t()) + &bias;
    Features {
        ids: (0..n).map(|row| format!("image-{row:04}")).collect(),
        labels: Some(labels),
        logits: Some(logits),
        embedding: Some(embedding),
        head: Some(Head { weight, bias }),
        class_names: Some(["ant", "bee", "cow"].map(str::to_owned).to_vec()),
        ..Features::default()
    }
}

/// Writes features and gives their path.
pub(crate) fn feature_file(folder: &Path, name: &str, features: &Features) -> PathBuf {
    let path = folder.join(format!("{name}.safetensors"));
    write_features(&path, features).unwrap();
    path
}

/// A `cifar-resnet20` for four classes with random weights.
pub(crate) fn weights(folder: &Path, seed: u64) -> PathBuf {
    let Architecture::ResNet(spec) = knownset_nn::find("cifar-resnet20").unwrap().architecture else { unreachable!() };
    let network = initialise(ResNet::new(spec, 4, &burn::tensor::Device::flex()), seed);
    let path = folder.join(format!("weights-{seed}.safetensors"));
    to_weights(&network).save(&path).unwrap();
    path
}

/// A picture with structure.
pub(crate) fn picture(seed: u32, side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        let value = |channel: usize| (127.0 + 120.0 * noise(seed, (x / 4 + 9 * (y / 4)) as usize * 3 + channel)) as u8;
        Rgb([value(0), value(1), value(2)])
    })
}

/// An ImageFolder of four classes with `per_class` pictures each.
pub(crate) fn image_folder(folder: &Path, name: &str, per_class: u32) -> PathBuf {
    let root = folder.join(name);
    for (index, class) in ["ant", "bee", "cow", "dog"].iter().enumerate() {
        let class = root.join(class);
        fs_err::create_dir_all(&class).unwrap();
        for number in 0..per_class {
            picture(index as u32 * 1000 + number, 32).save(class.join(format!("{number:03}.png"))).unwrap();
        }
    }
    root
}

/// The shared measurement data, where it is at hand.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    println!("skipped: no shared data");
    None
}

/// The tiny checkpoints that the networks' parity tests use.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../knownset-nn/tests/golden").join(name)
}

/// Copies a folder and what is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { fs_err::copy(&path, &to).map(drop).unwrap() }
    }
}

/// A file of JSON, line by line.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    fs_err::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
