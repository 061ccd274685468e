//! Whole runs on a toy problem.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{ClipSpec, TowerSpec};
use knownset_nn::{Weights, find};
use knownset_train::{
    Augment, Captioned, Classification, Contrastive, Event, Labelled, Optimiser, Schedule, TrainError, Trained,
    Training,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Bright images against dark ones, with a little texture.
struct Toy {
    bright: f32,
}

impl Labelled for Toy {
    fn len(&self) -> usize {
        24
    }

    fn label(&self, index: usize) -> usize {
        index % 2
    }

    fn input(&self, index: usize) -> Result<Vec<f32>, String> {
        let level = if index.is_multiple_of(2) { -0.5 } else { self.bright };
        Ok((0..3 * 32 * 32).map(|pixel| level + 0.1 * ((pixel * 7 + index * 13) % 11) as f32).collect())
    }
}

static CROP_AND_FLIP: LazyLock<Augment> = LazyLock::new(|| Augment::crop_and_flip(4));

fn classification(data: &Toy) -> Classification<'_> {
    Classification {
        backbone: find("cifar-resnet20").unwrap(),
        classes: 2,
        data,
        validation: Some(data),
        augment: &CROP_AND_FLIP,
    }
}

fn training(out: &Path, resume: bool) -> Training<'_> {
    Training {
        fingerprint: "toy".into(),
        epochs: 3,
        batch: 8,
        optimiser: Optimiser::Sgd { momentum: 0.9, weight_decay: 5e-4 },
        schedule: Schedule { lr: 0.05, warmup: 0 },
        seed: 3,
        out,
        resume,
    }
}

/// Stops after an epoch of that number.
fn until(stop_after: usize) -> impl FnMut(Event<'_>) -> ControlFlow<()> {
    move |event| match event {
        Event::Epoch(epoch) if epoch.epoch == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

fn run(data: &Toy, training: &Training<'_>, stop_after: usize) -> Result<Trained, TrainError> {
    classification(data).train(training, &mut until(stop_after))
}

#[test]
fn it_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    let data = Toy { bright: 0.5 };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = run(&data, &training(whole.path(), false), 99).unwrap();
    assert_eq!(whole.epochs.len(), 3);
    assert!(whole.epochs[2].loss < whole.epochs[0].loss, "{:?}", whole.epochs);

    for (epoch, resume) in [(1, false), (2, true)] {
        let stopped = run(&data, &training(parts.path(), resume), epoch).unwrap_err();
        assert!(matches!(stopped, TrainError::Stopped { kept, .. } if kept == epoch), "{stopped}");
    }
    let resumed = run(&data, &training(parts.path(), true), 99).unwrap();
    let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(weights(&resumed), weights(&whole));
    for (resumed, whole) in resumed.epochs.iter().zip(&whole.epochs) {
        assert_eq!((resumed.loss, resumed.validation_accuracy), (whole.loss, whole.validation_accuracy));
    }
    let log = fs_err::read_to_string(parts.path().join("log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 3);
}

#[test]
fn what_cannot_go_on_is_refused() {
    let data = Toy { bright: 0.5 };
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&data, &training(folder.path(), false), 1).is_err(), "stopped after one epoch");
    let again = run(&data, &training(folder.path(), false), 99).unwrap_err();
    assert!(matches!(again, TrainError::Exists { .. }), "{again}");
    let other = Training { seed: 4, ..training(folder.path(), true) };
    assert!(matches!(run(&data, &other, 99), Err(TrainError::OtherRun { .. })));
    let fewer = Classification { classes: 1, ..classification(&data) };
    let fewer = fewer.train(&training(folder.path(), true), &mut until(99));
    assert!(matches!(fewer, Err(TrainError::Label { image: 1, label: 1, classes: 1 })));
    let towers = Classification { backbone: find("sprite-clip").unwrap(), ..classification(&data) };
    let towers = towers.train(&training(folder.path(), true), &mut until(99));
    assert!(matches!(towers, Err(TrainError::Backbone { backbone: "sprite-clip" })));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let good = Toy { bright: 0.5 };
    assert!(run(&good, &training(folder.path(), false), 1).is_err(), "stopped after one epoch");
    let broken = Toy { bright: f32::NAN };
    let error = run(&broken, &training(folder.path(), true), 99).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { epoch: 2, kept: 1, .. }), "{error}");
    assert_eq!(run(&good, &training(folder.path(), true), 99).unwrap().epochs.len(), 3);
}

/// Four kinds of images, each with its own word of two tokens between the start token 6 and the end token 7.
struct Named;

const KINDS: usize = 4;

impl Captioned for Named {
    fn len(&self) -> usize {
        32
    }

    fn pair(&self, index: usize, random: &mut ChaCha8Rng) -> Result<(Vec<f32>, Vec<u32>), String> {
        let kind = index % KINDS;
        let noise: f32 = random.random();
        let pixel = |i: usize| if i * KINDS / (3 * 16 * 16) == kind { 1.0 } else { 0.05 * noise };
        Ok(((0..3 * 16 * 16).map(pixel).collect(), vec![6, kind as u32, kind as u32 + 1, 7]))
    }
}

#[test]
fn towers_learn_which_text_belongs_and_a_stopped_run_goes_on_to_the_same_bits() {
    let tower = |depth| TowerSpec { width: 16, hidden: 32, depth, heads: 2, quick_gelu: true, epsilon: 1e-5 };
    let (vision, text) = (tower(2), tower(1));
    let spec = ClipSpec { projection: 8, image: 16, patch: 8, vision, vocabulary: 8, context: 6, text };
    let resize = Resize::Exact { size: 16, filter: Filter::Bilinear };
    let preprocess = Preprocess { resize, size: 16, mean: [0.0; 3], std: [1.0; 3] };
    let task = Contrastive {
        spec: &spec,
        preprocess: &preprocess,
        data: &Named,
        validation: None,
        augment: &Augment::default(),
    };
    let towers = |out, resume| Training {
        epochs: 6,
        batch: KINDS,
        optimiser: Optimiser::AdamW { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.1 },
        schedule: Schedule { lr: 5e-3, warmup: 4 },
        ..training(out, resume)
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = task.train(&towers(whole.path(), false), &mut until(99)).unwrap();
    let (first, last) = (&whole.epochs[0], &whole.epochs[5]);
    assert!(last.loss < 0.8 * first.loss && last.accuracy > first.accuracy, "{:?}", whole.epochs);

    assert!(task.train(&towers(parts.path(), false), &mut until(2)).is_err(), "stopped after two epochs");
    let resumed = task.train(&towers(parts.path(), true), &mut until(99)).unwrap();
    let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(weights(&resumed), weights(&whole));
}
