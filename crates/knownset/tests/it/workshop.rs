//! Tiny networks, images and captions for the stages that make images nobody took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::Weights;
use knownset_nn::clip::ClipDesign;
use knownset_nn::diffusion::Pipeline;
use knownset_nn::network::{Clip, ClipSpec, TowerSpec, clip_init, initialise_with, to_weights};
use knownset_nn::tokenizer::Tokenizer;
use serde_json::json;

use crate::util::{Ran, copy, golden, image_folder, run, text};

/// A folder with networks, images and captions.
pub(crate) struct Workshop {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) images: PathBuf,
    pub(crate) data: String,
}

/// As many captions of each class, all different.
pub(crate) const CAPTIONS: [&str; 12] = [
    "red",
    "small and old",
    "two of them",
    "near a tree",
    "in the sea",
    "with a hat",
    "asleep",
    "green",
    "big",
    "wet",
    "round",
    "on a table",
];

impl Workshop {
    /// A pipeline, and a CLIP whose text tower is its text encoder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = folder.path().join("pipeline");
        copy(&golden("diffusion/sd1"), &pipeline);
        copy(&golden("tokenizer/small"), &pipeline.join("tokenizer"));
        clip(&folder.path().join("clip"), &pipeline);
        let images = image_folder(folder.path(), "images", 3);
        let data = format!("folder:{}", text(&images));
        let workshop = Self { folder, images, data };
        let line = |(index, caption): (usize, &&str)| {
            let id = format!("{}/{:03}.png", ["ant", "bee", "cow", "dog"][index / 3], index % 3);
            json!({ "id": id, "label": index / 3, "caption": caption, "tokens": [] }).to_string()
        };
        let all: Vec<String> = CAPTIONS.iter().enumerate().map(line).collect();
        fs_err::write(workshop.path("captions.jsonl"), all.join("\n") + "\n").unwrap();
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, stage: &str, out: &str, usual: &[&str], more: &[&str]) -> Ran {
        let arguments = self.arguments(stage, out, usual, more);
        run(self.folder.path(), &arguments)
    }

    fn arguments(&self, stage: &str, out: &str, usual: &[&str], more: &[&str]) -> Vec<String> {
        let out = self.path(out);
        let mut arguments = vec!["synth", stage, "--out", text(&out)];
        // What is given again takes the place of what is usual.
        for pair in [&["--data", &self.data], usual].concat().chunks(2).filter(|pair| !more.contains(&pair[0])) {
            arguments.extend(pair);
        }
        arguments.extend(more);
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// One caption of each class, moved twice.
    pub(crate) fn outliers(&self, out: &str, more: &[&str]) -> Ran {
        let arguments = self.outliers_arguments(out, more);
        run(self.folder.path(), &arguments)
    }

    pub(crate) fn outliers_arguments(&self, out: &str, more: &[&str]) -> Vec<String> {
        let [captions, clip, weights] = ["captions.jsonl", "clip", "pipeline"].map(|name| self.path(name));
        let networks = ["--captions", text(&captions), "--clip", text(&clip), "--weights", text(&weights)];
        let usual = ["--edge", "euclidean", "--percent", "40", "--moves", "2", "--steps", "2", "--guidance", "3"];
        self.arguments("outliers", out, &[&networks[..], &usual].concat(), more)
    }

    pub(crate) fn backgrounds(&self, out: &str, more: &[&str]) -> Ran {
        let boxes = self.path("boxes.jsonl");
        self.run("backgrounds", out, &["--boxes", text(&boxes)], more)
    }

    pub(crate) fn files(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(out), "", &mut files);
        files
    }
}

/// Every file below a folder.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs_err::read(&path).unwrap());
        }
    }
}

/// Writes a CLIP that reads texts as the pipeline does, and looks at images as chance has it.
fn clip(folder: &Path, pipeline: &Path) {
    fs_err::create_dir_all(folder).unwrap();
    let spec = *Pipeline::open(pipeline).unwrap().text_encoder().unwrap().spec();
    let vision = TowerSpec { width: 16, hidden: 24, depth: 1, heads: 2, quick_gelu: true, epsilon: 1e-5 };
    let spec = ClipSpec {
        projection: spec.tower.width,
        image: 16,
        patch: 8,
        vision,
        vocabulary: spec.vocabulary,
        context: spec.context,
        text: spec.tower,
    };
    let network = initialise_with(Clip::new(&spec, &burn::tensor::Device::flex()), 5, clip_init(&spec));
    let mut tensors = to_weights(&network).into_tensors();
    let encoder = Weights::open(&pipeline.join("text_encoder/model.safetensors")).unwrap();
    for (name, tensor) in encoder.into_tensors() {
        let known = tensors.insert(format!("text_model.{name}"), tensor);
        assert!(known.is_some(), "{name}");
    }
    Weights::from_tensors(tensors).save(&folder.join("model.safetensors")).unwrap();
    let resize = Resize::Shorter { size: 16, filter: Filter::Bicubic };
    let preprocess = Preprocess { resize, size: 16, mean: [0.5; 3], std: [0.5; 3] };
    let tokenizer = Tokenizer::open(&pipeline.join("tokenizer")).unwrap().with_context_length(spec.context).unwrap();
    ClipDesign { spec, preprocess }.save(folder, &tokenizer).unwrap();
    tokenizer.save(folder).unwrap();
}
