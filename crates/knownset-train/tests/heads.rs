//! Whole runs of the recipes that change the head or the loss, on a toy problem with the smallest network there is.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem, Trunk, load};
use knownset_nn::{Architecture, BackboneEntry, Weights};
use knownset_train::{
    Augment, Chosen, Classification, Curve, Decays, Event, Keep, Labelled, Optimiser, Pictures, Schedule, TrainError,
    Trained, Training,
};

const SIDE: usize = 12;
const CLASSES: usize = 3;

static TINY: BackboneEntry = BackboneEntry {
    name: "tiny",
    doc: "One block.",
    paper: "https://arxiv.org/abs/1512.03385",
    preprocess: Preprocess {
        resize: Resize::Exact { size: SIDE as u32, filter: Filter::Bilinear },
        size: SIDE as u32,
        mean: [0.5; 3],
        std: [0.25; 3],
    },
    architecture: Architecture::ResNet(ResNetSpec {
        stem: Stem { kernel: 3, stride: 1, pool: false },
        block: BlockKind::Basic,
        shortcut: Shortcut::Projection,
        widths: &[16],
        blocks: &[1],
        names: ResNetNames { shortcut: "downsample", head: "fc" },
    }),
};

/// Red, green and blue pictures, brighter at the top.
struct Toy;

impl Pictures for Toy {
    fn len(&self) -> usize {
        30
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let plane = SIDE * SIDE;
        let colour = |channel| if channel == index % CLASSES { 0.5 } else { 0.2 };
        let shade = |place: usize| 0.3 * (1.0 - (place / SIDE) as f32 / SIDE as f32);
        let grain = |pixel: usize| 0.02 * ((pixel * 7 + index * 13) % 11) as f32;
        Ok((0..3 * plane).map(|pixel| colour(pixel / plane) + shade(pixel % plane) + grain(pixel)).collect())
    }
}

impl Labelled for Toy {
    fn label(&self, index: usize) -> usize {
        index % CLASSES
    }
}

fn run(recipe: &str, out: &Path, resume: bool, stop_after: usize) -> Result<Trained, TrainError> {
    let training = Training {
        fingerprint: "toy".into(),
        epochs: 4,
        batch: 6,
        accumulate: 1,
        optimiser: Optimiser::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4, decays: Decays::All },
        schedule: Schedule { lr: 0.02, warmup: 0, curve: Curve::Cosine { least: 0.0 } },
        clip: Some(2.5),
        ema: None,
        keep: Keep::Last,
        seed: 3,
        compute: knownset_nn::Compute::default(),
        precision: knownset_nn::Precision::F32,
        out,
        resume,
    };
    let augment = Augment::crop_and_flip(1);
    let task = Classification {
        backbone: &TINY,
        classes: CLASSES,
        data: &Toy,
        synthetic: None,
        outliers: None,
        validation: Some(&Toy),
        augment: &augment,
    };
    Chosen::parse(recipe).unwrap().train(&task, &training, &mut |event| match event {
        Event::Epoch(epoch) if epoch.epoch == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

/// The exported file without the recipe's own tensors, used as any backbone, on the toy pictures.
fn exported_accuracy(weights: &Path) -> f64 {
    let mut tensors = Weights::open(weights).unwrap().into_tensors();
    tensors.retain(|name, _| !name.starts_with("recipe."));
    let device = Device::flex();
    let trunk = Trunk::new(TINY.architecture, CLASSES, &device).unwrap();
    let trunk = load(trunk, &Weights::from_tensors(tensors)).unwrap();
    let values = (0..Toy.len()).flat_map(|index| Toy.picture(index).unwrap());
    let values: Vec<f32> = values.map(|value| (value - 0.5) / 0.25).collect();
    let pictures: Tensor<4> = Tensor::from_data(TensorData::new(values, [Toy.len(), 3, SIDE, SIDE]), &device);
    let chosen = trunk.classify(trunk.embed(pictures)).argmax(1).into_data();
    let right = chosen.iter::<i64>().enumerate().filter(|&(index, class)| Toy.label(index) == class as usize).count();
    right as f64 / Toy.len() as f64
}

/// It learns, goes on to the same bits after a stop, and its exported linear head decides as the recipe does.
fn whole_run(recipe: &str) {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = run(recipe, whole.path(), false, 99).unwrap();
    let (first, last) = (&whole.epochs[0], &whole.epochs[3]);
    assert!(last.loss < first.loss && last.validation_accuracy > Some(0.9), "{:?}", whole.epochs);

    let stopped = run(recipe, parts.path(), false, 2).unwrap_err();
    assert!(matches!(stopped, TrainError::Stopped { kept: 2, .. }), "{stopped}");
    let resumed = run(recipe, parts.path(), true, 99).unwrap();
    let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(weights(&resumed), weights(&whole));

    assert_eq!(Some(exported_accuracy(&whole.weights)), last.validation_accuracy);
}

#[test]
fn logit_norm() {
    whole_run("logit-norm");
}

#[test]
fn t2fnorm() {
    whole_run("t2fnorm");
}

#[test]
fn conf_branch() {
    whole_run("conf-branch");
}

#[test]
fn g_odin_by_every_comparison() {
    for h in ["cosine", "inner", "euclidean"] {
        whole_run(&format!("g-odin:h={h}"));
    }
}

#[test]
fn arpl() {
    whole_run("arpl");
}

#[test]
fn rot_pred() {
    whole_run("rot-pred");
}

#[test]
fn ish() {
    whole_run("ish:percentile=50");
}

#[test]
fn rts() {
    whole_run("rts");
}
