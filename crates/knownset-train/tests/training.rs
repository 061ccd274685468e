//! Whole runs on a toy problem.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use knownset_nn::{Weights, find};
use knownset_train::{Augment, Event, Labelled, Sgd, TrainError, Trained, Training};

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

fn training<'a>(data: &'a Toy, out: &'a Path, resume: bool) -> Training<'a> {
    Training {
        backbone: find("cifar-resnet20").unwrap(),
        classes: 2,
        data,
        validation: Some(data),
        fingerprint: "toy".into(),
        epochs: 3,
        batch: 8,
        sgd: Sgd { lr: 0.05, momentum: 0.9, weight_decay: 5e-4 },
        augment: Augment { pad: 4, flip: true },
        seed: 3,
        out,
        resume,
    }
}

fn run(training: &Training<'_>, stop_after: usize) -> Result<Trained, TrainError> {
    training.run(&mut |event| match event {
        Event::Epoch(epoch) if epoch.epoch == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

#[test]
fn it_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    let data = Toy { bright: 0.5 };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = run(&training(&data, whole.path(), false), 99).unwrap();
    assert_eq!(whole.epochs.len(), 3);
    assert!(whole.epochs[2].loss < whole.epochs[0].loss, "{:?}", whole.epochs);

    for (epoch, resume) in [(1, false), (2, true)] {
        let stopped = run(&training(&data, parts.path(), resume), epoch).unwrap_err();
        assert!(matches!(stopped, TrainError::Stopped { kept, .. } if kept == epoch), "{stopped}");
    }
    let resumed = run(&training(&data, parts.path(), true), 99).unwrap();
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
    assert!(run(&training(&data, folder.path(), false), 1).is_err(), "stopped after one epoch");
    let again = run(&training(&data, folder.path(), false), 99).unwrap_err();
    assert!(matches!(again, TrainError::Exists { .. }), "{again}");
    let other = Training { seed: 4, ..training(&data, folder.path(), true) };
    assert!(matches!(run(&other, 99), Err(TrainError::OtherRun { .. })));
    let fewer = Training { classes: 1, ..training(&data, folder.path(), true) };
    assert!(matches!(run(&fewer, 99), Err(TrainError::Label { image: 1, label: 1, classes: 1 })));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let good = Toy { bright: 0.5 };
    assert!(run(&training(&good, folder.path(), false), 1).is_err(), "stopped after one epoch");
    let broken = Toy { bright: f32::NAN };
    let error = run(&training(&broken, folder.path(), true), 99).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { epoch: 2, kept: 1, .. }), "{error}");
    assert_eq!(run(&training(&good, folder.path(), true), 99).unwrap().epochs.len(), 3);
}
