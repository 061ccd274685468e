//! Whole runs of the recipe for heads on tokens.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::Path;

use knownset_core::Features;
use knownset_nn::Weights;
use knownset_train::{
    ChosenTokens, Curve, Event, Keep, Schedule, TokenClassification, TokenSet, TrainError, Trained, Training,
};
use ndarray::{Array1, Array3};

const WIDTH: usize = 8;

/// Images of three classes, each with one token in four that tells which, at a place that does not.
fn tokens(n: usize, count: usize) -> TokenSet {
    let patches = Array3::from_shape_fn((n, count, WIDTH), |(image, token, d)| {
        let noise = ((image * 31 + token * 17 + d * 7) % 23) as f32 / 23.0 - 0.5;
        let tells = token == image / 3 % count && d == image % 3;
        if tells { 3.0 } else { 0.4 * noise }
    });
    let labels = Array1::from_shape_fn(n, |image| (image % 3) as i64);
    TokenSet::new(&Features { patches: Some(patches), labels: Some(labels), ..Features::default() }).unwrap()
}

/// What a run is given; `stop` is the epoch after which it is stopped.
struct Job<'a> {
    recipe: &'a str,
    out: &'a Path,
    resume: bool,
    stop: Option<usize>,
    classes: usize,
    validation: TokenSet,
}

impl<'a> Job<'a> {
    fn new(out: &'a Path) -> Self {
        let recipe = "tagood:heads=2:momentum=0.9";
        Self { recipe, out, resume: false, stop: None, classes: 3, validation: tokens(12, 4) }
    }

    fn run(&self) -> Result<Trained, TrainError> {
        let data = tokens(30, 4);
        let validation = Some(&self.validation);
        let task = TokenClassification { classes: self.classes, data: &data, validation, tower: Some("0af9") };
        let chosen = ChosenTokens::parse(self.recipe).unwrap();
        let said = Training {
            fingerprint: data.fingerprint(),
            epochs: 0,
            batch: 0,
            accumulate: 1,
            optimiser: knownset_train::Optimiser::Sgd {
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.0,
                decays: knownset_train::Decays::All,
            },
            schedule: Schedule { lr: 0.0, warmup: 0, curve: Curve::Constant },
            clip: None,
            ema: None,
            keep: Keep::Last,
            seed: 5,
            compute: knownset_nn::Compute::default(),
            precision: knownset_nn::Precision::F32,
            out: self.out,
            resume: self.resume,
        };
        let usual = chosen.usual(&said);
        assert_eq!((usual.epochs, usual.batch, usual.schedule.lr), (100, 256, 0.01));
        let training = Training { epochs: 6, batch: 8, ..usual };
        chosen.train(&task, &training, &mut |event| match event {
            Event::Epoch(epoch) if self.stop == Some(epoch.epoch) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }
}

#[test]
fn a_head_on_tokens_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trained = Job::new(whole.path()).run().unwrap();
    let (first, last) = (&trained.epochs[0], &trained.epochs[5]);
    assert!(last.loss < first.loss && last.validation_accuracy > Some(0.5), "{:?}", trained.epochs);
    let weights = Weights::open(&trained.weights).unwrap();
    let values = |name: &str| weights.get(name).unwrap().values.clone();
    assert_eq!(weights.get("recipe.centres").unwrap().shape, [3, WIDTH]);
    assert_eq!((values("recipe.groups"), values("recipe.heads")), (vec![4.0], vec![2.0]));
    assert_eq!(values("recipe.tower"), b"0af9".map(f32::from));
    assert_eq!(weights.get("layers.pos_embedding").unwrap().shape, [1, 5, WIDTH]);
    assert_eq!(weights.get("layers.layers.encoder_layer_1.self_attention.in_proj_weight").unwrap().shape, [24, WIDTH]);

    // Dropout, centres and the optimiser's state: nothing of them is lost between epochs.
    let stopped = Job { stop: Some(2), ..Job::new(parts.path()) }.run();
    assert!(matches!(stopped, Err(TrainError::Stopped { kept: 2, .. })));
    assert!(matches!(Job::new(parts.path()).run(), Err(TrainError::Exists { .. })));
    let other = Job { resume: true, recipe: "tagood:heads=2", ..Job::new(parts.path()) };
    assert!(matches!(other.run(), Err(TrainError::OtherRun { .. })));
    let resumed = Job { resume: true, ..Job::new(parts.path()) }.run().unwrap();
    assert_eq!(Weights::open(&resumed.weights).unwrap().sha256(), weights.sha256());
}

#[test]
fn tokens_that_a_head_cannot_learn_from_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |job: Job<'_>| job.run().unwrap_err();
    let label = refused(Job { classes: 2, ..Job::new(folder.path()) }).to_string();
    assert_eq!(label, "training image 2 has label 2, but there are 2 classes");
    let other = refused(Job { validation: tokens(12, 5), ..Job::new(folder.path()) }).to_string();
    assert_eq!(other, "the validation images have 5 tokens of length 8, expected 4 of length 8");
    let heads = refused(Job { recipe: "tagood:heads=3", ..Job::new(folder.path()) });
    assert!(matches!(heads, TrainError::Params { .. }), "{heads}");
}
