//! Whole runs on a toy problem.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{ClipSpec, TowerSpec};
use knownset_nn::{Precision, Weights, find};
use knownset_train::{
    Augment, Captioned, Chosen, Classification, Contrastive, Curve, Decays, Event, Keep, Labelled, Optimiser, Pictures,
    Schedule, TrainError, Trained, Training,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Bright pictures against dark ones, with a little texture.
struct Toy {
    bright: f32,
    len: usize,
}

impl Toy {
    const GOOD: Self = Self { bright: 0.5, len: 24 };
}

impl Pictures for Toy {
    fn len(&self) -> usize {
        self.len
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let level = if index.is_multiple_of(2) { 0.1 } else { self.bright };
        Ok((0..3 * 32 * 32).map(|pixel| level + 0.04 * ((pixel * 7 + index * 13) % 11) as f32).collect())
    }
}

impl Labelled for Toy {
    fn label(&self, index: usize) -> usize {
        index % 2
    }
}

fn augment() -> &'static Augment {
    static AUGMENT: LazyLock<Augment> = LazyLock::new(|| Augment::crop_and_flip(4));
    &AUGMENT
}

fn classification(data: &Toy) -> Classification<'_> {
    Classification {
        backbone: find("cifar-resnet20").unwrap(),
        classes: 2,
        data,
        synthetic: None,
        outliers: None,
        validation: Some(data),
        augment: augment(),
    }
}

fn training(out: &Path, resume: bool) -> Training<'_> {
    Training {
        fingerprint: "toy".into(),
        epochs: 3,
        batch: 8,
        accumulate: 1,
        optimiser: Optimiser::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4, decays: Decays::All },
        schedule: Schedule { lr: 0.05, warmup: 0, curve: Curve::Cosine { least: 0.0 } },
        clip: None,
        ema: None,
        keep: Keep::Last,
        seed: 3,
        compute: knownset_nn::Compute::default(),
        precision: Precision::F32,
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
    let plain = Chosen::parse("cross-entropy").unwrap();
    plain.train(&classification(data), training, &mut until(stop_after))
}

#[test]
fn it_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    let data = Toy::GOOD;
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
    let files = fs_err::read_dir(parts.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.filter(|name| name.starts_with("events.out.tfevents.")).count(), 3, "one file a session");
}

#[test]
fn what_cannot_go_on_is_refused() {
    let data = Toy::GOOD;
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&data, &training(folder.path(), false), 1).is_err(), "stopped after one epoch");
    let again = run(&data, &training(folder.path(), false), 99).unwrap_err();
    assert!(matches!(again, TrainError::Exists { .. }), "{again}");
    let other = Training { seed: 4, ..training(folder.path(), true) };
    assert!(matches!(run(&data, &other, 99), Err(TrainError::OtherRun { .. })));
    let fewer = Classification { classes: 1, ..classification(&data) };
    let refused = |recipe: &str, task: Classification<'_>, training: &Training<'_>| {
        Chosen::parse(recipe).unwrap().train(&task, training, &mut until(99)).unwrap_err()
    };
    let next = training(folder.path(), true);
    assert!(matches!(
        refused("cross-entropy", fewer, &next),
        TrainError::Label { what: "training", image: 1, label: 1, classes: 1 }
    ));
    let towers = Classification { backbone: find("sprite-clip").unwrap(), ..classification(&data) };
    assert!(matches!(refused("cross-entropy", towers, &next), TrainError::Backbone { backbone: "sprite-clip" }));
    let empty = Toy { len: 0, ..Toy::GOOD };
    let nothing = Classification { data: &empty, ..classification(&data) };
    assert!(matches!(refused("cross-entropy", nothing, &next), TrainError::Empty));
    let outliers = Classification { outliers: Some(&data), ..classification(&data) };
    assert!(matches!(refused("cross-entropy", outliers, &next), TrainError::UnwantedOutliers { .. }));
    let synthetic = Classification { synthetic: Some(&data), ..classification(&data) };
    assert!(matches!(refused("cross-entropy", synthetic, &next), TrainError::UnwantedSynthetic { .. }));
    assert!(matches!(refused("sio+cross-entropy", classification(&data), &next), TrainError::NoSynthetic));
    let few = Toy { len: 2, ..Toy::GOOD };
    let few = Classification { synthetic: Some(&few), ..classification(&data) };
    assert!(matches!(refused("sio:exhaust=error+cross-entropy", few, &next), TrainError::Exhausted { found: 2 }));
    for (recipe, share) in [("sio:alpha=0:second=none+cross-entropy", 0.0), ("sio:alpha=0.1:second=none+oe", 0.1)] {
        let task = Classification { outliers: recipe.ends_with("oe").then_some(&data as _), ..classification(&data) };
        let error = refused(recipe, task, &next);
        assert!(matches!(error, TrainError::NothingLeft { alpha, batch: 8 } if alpha == share), "{error}");
    }
    let task = Classification { synthetic: Some(&data), ..classification(&data) };
    let error = refused("sio:alpha=0.1:weighting=explicit+cross-entropy", task, &next);
    assert!(matches!(error, TrainError::NothingLeft { batch: 8, .. }), "{error}");
    // A set that is given, but empty.
    let none = Classification { outliers: Some(&empty), ..classification(&data) };
    assert!(matches!(refused("oe", none, &next), TrainError::NoOutliers { .. }));
    assert!(matches!(refused("cross-entropy", none, &next), TrainError::UnwantedOutliers { .. }));
    let none = Classification { synthetic: Some(&empty), ..classification(&data) };
    assert!(matches!(refused("sio+cross-entropy", none, &next), TrainError::NoSynthetic));
    let halved = Training { precision: Precision::F16, ..training(folder.path(), true) };
    assert!(matches!(refused("cross-entropy", classification(&data), &halved), TrainError::Underflow));
    let blind = Classification { validation: None, ..classification(&data) };
    let fresh = tempfile::tempdir().unwrap();
    let best = Training { keep: Keep::Best, ..training(fresh.path(), false) };
    assert!(matches!(refused("cross-entropy", blind, &best), TrainError::NoValidation));
}

#[test]
fn it_learns_in_mixed_precision() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [exact, mixed] = [Precision::F32, Precision::Bf16].map(|precision| {
        let out = &folders[usize::from(precision == Precision::Bf16)];
        run(&Toy::GOOD, &Training { precision, ..training(out.path(), false) }, 99).unwrap()
    });
    let losses = |trained: &Trained| trained.epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>();
    let (exact, mixed) = (losses(&exact), losses(&mixed));
    assert!((exact[0] - mixed[0]).abs() < 0.1 * exact[0] && exact[0] != mixed[0], "rounded: {exact:?} {mixed:?}");
    assert!(mixed[2] < 0.1 * mixed[0], "{mixed:?}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let good = Toy::GOOD;
    assert!(run(&good, &training(folder.path(), false), 1).is_err(), "stopped after one epoch");
    let broken = Toy { bright: f32::NAN, ..Toy::GOOD };
    let error = run(&broken, &training(folder.path(), true), 99).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { epoch: 2, kept: 1, .. }), "{error}");
    assert_eq!(run(&good, &training(folder.path(), true), 99).unwrap().epochs.len(), 3);
}

/// Two epochs of one step, whose loss is told before the weights change; after the last epoch no other loss tells. The
/// rate is multiplied by `factor` in between.
fn wild(out: &Path, lr: f64, factor: f64, ema: Option<f64>) -> Training<'_> {
    Training {
        epochs: 2,
        batch: Toy::GOOD.len,
        schedule: Schedule { lr, warmup: 0, curve: Curve::Steps { after: vec![1], factor } },
        ema,
        ..training(out, false)
    }
}

#[test]
fn weights_that_are_no_numbers_stop_the_run_and_keep_the_checkpoint() {
    let data = Toy::GOOD;
    for ema in [None, Some(0.5)] {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let error = run(&data, &wild(folder.path(), 0.05, 1e300, ema), 99).unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { epoch: 2, kept: 1, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("not finite after epoch 2") && text.contains("checkpoint of epoch 1 is kept"), "{text}");
        assert!(!folder.path().join("weights.safetensors").exists());
        let checkpoint = folder.path().join("checkpoint");
        let progress = fs_err::read_to_string(checkpoint.join("progress.json")).unwrap();
        let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
        assert_eq!(progress["epochs"].as_array().unwrap().len(), 1);
        let mut kept = vec!["epoch-0001.safetensors"];
        kept.extend(ema.map(|_| "epoch-0001.ema.safetensors"));
        for name in kept {
            let kept = Weights::open(&checkpoint.join(name)).unwrap();
            assert!(kept.iter().all(|(_, tensor)| tensor.values.iter().all(|value| value.is_finite())), "{name}");
        }
        assert!(!checkpoint.join("epoch-0002.safetensors").exists());

        let error = run(&data, &wild(other.path(), 1e300, 1.0, ema), 99).unwrap_err();
        assert!(matches!(error, TrainError::NotFinite { epoch: 1, kept: 0, .. }), "{error}");
        assert!(!error.to_string().contains("checkpoint"), "{error}");
        assert!(!other.path().join("checkpoint").exists() && !other.path().join("weights.safetensors").exists());
    }
}

#[test]
fn without_a_checkpoint_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Toy { bright: f32::NAN, ..Toy::GOOD };
    let error = run(&broken, &training(folder.path(), false), 99).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { epoch: 1, kept: 0, .. }), "{error}");
    assert!(!error.to_string().contains("checkpoint"), "{error}");
    let plain = Chosen::parse("cross-entropy").unwrap();
    let stopped =
        plain.train(&classification(&Toy::GOOD), &training(folder.path(), false), &mut |_| ControlFlow::Break(()));
    let error = stopped.unwrap_err();
    assert_eq!(error.to_string(), "stopped in epoch 1; run the same command again");
}

#[test]
fn every_setting_of_the_loop_goes_on_to_the_same_bits() {
    let data = Toy::GOOD;
    let settings = |out, resume| Training {
        accumulate: 2,
        optimiser: Optimiser::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4, decays: Decays::Matrices },
        schedule: Schedule { lr: 0.05, warmup: 2, curve: Curve::Steps { after: vec![2], factor: 0.1 } },
        clip: Some(1.0),
        ema: Some(0.5),
        keep: Keep::Best,
        ..training(out, resume)
    };
    let mixed = Chosen::parse("sio:alpha=0.5:weighting=explicit+cross-entropy:label-smoothing=0.1").unwrap();
    let task = Classification { synthetic: Some(&data), ..classification(&data) };
    let go = |training: &Training<'_>, stop: usize| mixed.train(&task, training, &mut until(stop));
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = go(&settings(whole.path(), false), 99).unwrap();
    assert!(go(&settings(parts.path(), false), 1).is_err(), "stopped after one epoch");
    let resumed = go(&settings(parts.path(), true), 99).unwrap();
    let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!((weights(&resumed), resumed.kept), (weights(&whole), whole.kept));
    let best = whole.epochs.iter().map(|epoch| epoch.validation_accuracy.unwrap()).fold(0.0, f64::max);
    assert_eq!(whole.epochs[whole.kept - 1].validation_accuracy, Some(best));
    let other = tempfile::tempdir().unwrap();
    let last = go(&Training { keep: Keep::Last, ema: None, ..settings(other.path(), false) }, 99).unwrap();
    assert_ne!(weights(&last), weights(&whole), "the running mean is what is given away");
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
    let augment = Augment::crop(0);
    let task = Contrastive { spec: &spec, preprocess: &preprocess, data: &Named, validation: None, augment: &augment };
    let towers = |out, resume| Training {
        epochs: 6,
        batch: KINDS,
        optimiser: Optimiser::AdamW {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.1,
            decays: Decays::Matrices,
        },
        schedule: Schedule { lr: 5e-3, warmup: 4, curve: Curve::Cosine { least: 0.0 } },
        ..training(out, resume)
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = task.train(&towers(whole.path(), false), &mut until(99)).unwrap();
    let (first, last) = (&whole.epochs[0], &whole.epochs[5]);
    assert!(last.loss < 0.8 * first.loss && last.accuracy > first.accuracy, "{:?}", whole.epochs);

    assert!(task.train(&towers(parts.path(), false), &mut until(2)).is_err(), "stopped after two epochs");
    let mixed = Training { precision: Precision::Bf16, ..towers(parts.path(), true) };
    assert!(matches!(task.train(&mixed, &mut until(99)), Err(TrainError::OnlyF32)));
    let resumed = task.train(&towers(parts.path(), true), &mut until(99)).unwrap();
    let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap().sha256();
    assert_eq!(weights(&resumed), weights(&whole));
}
