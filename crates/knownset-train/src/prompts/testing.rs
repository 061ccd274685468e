//! What tests of recipes for prompts share.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::clip::Clip;
use knownset_nn::{HostTensor, Weights};

use super::context::Prompts;
use super::{Layout, PromptRecipe, Seen};
use crate::recipes::clip::unit;
use crate::testing::{gradients_agree, number, rows};

/// Images of the first stage, whose prompts are those of the classes.
pub(crate) fn seen(images: &[&[f32]], labels: &[usize], classes: &[&[f32]], scale: f64) -> Seen {
    negatives(images, labels, classes, classes, scale)
}

/// Images of a later stage.
pub(crate) fn negatives(
    images: &[&[f32]],
    labels: &[usize],
    classes: &[&[f32]],
    prompts: &[&[f32]],
    scale: f64,
) -> Seen {
    Seen {
        images: rows(images),
        patches: None,
        labels: labels.to_vec(),
        prompts: rows(prompts),
        classes: rows(classes),
        scale,
    }
}

/// Holds the loss of a later stage against differences of its negative prompts, of two classes.
pub(crate) fn differences_agree(recipe: &dyn PromptRecipe, prompts: &[&[f32]]) {
    gradients_agree(rows(prompts), |prompts| {
        let images: &[&[f32]] = &[&[0.8, 0.6, 0.0], &[0.0, -0.6, 0.8]];
        let classes: &[&[f32]] = &[&[1.0, 0.0, 0.0], &[0.0, 0.0, 1.0]];
        let seen = negatives(images, &[0, 1], classes, classes, 3.0);
        recipe.loss(1, &Seen { prompts: unit(prompts), ..seen })
    });
}

/// Vectors of a prompt in the golden file.
const TOKENS: usize = 4;
const NAMES: [&str; 3] = ["red cat", "dog", "old lighthouse"];
const LABELS: [usize; 3] = [0, 2, 1];

/// The tiny CLIP of knownset-nn's tests, with a tokenizer.
fn tiny_clip() -> (Clip, Weights) {
    let nn = Path::new(env!("CARGO_MANIFEST_DIR")).join("../knownset-nn/tests/golden");
    let folder = tempfile::tempdir().unwrap();
    for file in ["clip/hf-quick/config.json", "clip/hf-quick/model.safetensors"]
        .into_iter()
        .chain(["tokenizer/small/vocab.json", "tokenizer/small/merges.txt"])
    {
        let from = nn.join(file);
        fs_err::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    (Clip::open(folder.path()).unwrap(), Weights::open(&nn.join("clip/hf-quick/expected.safetensors")).unwrap())
}

fn tensor<const D: usize>(tensor: &HostTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(tensor.values.clone(), tensor.shape.clone()), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The largest difference, relative to the largest expected value, is below `tolerance`.
fn near(what: &str, found: &[f64], expected: &HostTensor, tolerance: f64) {
    assert_eq!(found.len(), expected.values.len(), "{what}");
    let largest = expected.values.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
    let worst =
        found.iter().zip(&expected.values).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max) / largest;
    println!("{what}: {worst:.1e}");
    assert!(worst < tolerance, "{what} differs by {worst:e} of the largest value");
}

/// Holds loss and gradient of a recipe's stage against `tests/golden/make_prompts.py`, through the text tower.
pub(crate) fn agrees_with_golden(recipe: &dyn PromptRecipe, stage: usize, name: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prompts.safetensors");
    let golden = Weights::open(&golden).unwrap();
    let expected = |what: &str| golden.get(&format!("{name}.{what}")).unwrap();
    let (clip, images) = tiny_clip();
    let device = Device::flex();
    let layout = Layout { tokens: TOKENS, ..recipe.stages()[stage].layout };
    let prompts = Prompts::new(&clip, &NAMES.map(str::to_owned), layout).unwrap();
    let context = tensor::<3>(expected("context"), &device.clone().autodiff()).require_grad();
    let embedded = prompts.embed(context.clone());
    near("texts", &values(embedded.clone()), expected("texts"), 1e-5);
    let whole = values(prompts.embed(tensor(expected("context"), &device)));
    let apart = values(embedded.clone()).iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 1e-6, "{apart} with and without gradients");

    let patches = images.get("patches").unwrap();
    let (count, d) = (patches.shape[1], patches.shape[2]);
    let flat = TensorData::new(patches.values.clone(), [LABELS.len() * count, d]);
    let patches = unit(Tensor::from_data(flat, &device)).reshape([LABELS.len(), count, d]);
    let classes = if stage == 0 { embedded.clone() } else { tensor(golden.get("coop.texts").unwrap(), &device) };
    let seen = Seen {
        images: unit(tensor(images.get("images").unwrap(), &device)),
        patches: recipe.reads_patches().then_some(patches),
        labels: LABELS.to_vec(),
        prompts: embedded,
        classes,
        scale: f64::from(clip.scale()),
    };
    if name == "coop" {
        near("logits", &values(seen.cosines() * seen.scale), expected("logits"), 1e-5);
    }
    let loss = recipe.loss(stage, &seen);
    near("loss", &[number(&loss)], expected("loss"), 1e-5);
    let gradient = context.grad(&loss.backward()).expect("the loss depends on the vectors");
    near("gradient", &values(gradient), expected("gradient"), 1e-4);
}
