//! Whole runs of the recipes for prompts, on a tiny CLIP with random weights.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use knownset_nn::clip::Clip;
use knownset_train::{
    Augment, ChosenPrompts, Curve, Event, Keep, Labelled, Learned, Pictures, Prompting, Schedule, TrainError, Training,
};
use ndarray::Array2;

/// Red and blue pictures, each on a grey of its own.
struct Colours {
    len: usize,
}

const SIDE: usize = 32;
const EPOCHS: usize = 6;

impl Pictures for Colours {
    fn len(&self) -> usize {
        self.len
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let (grey, strong) = (0.1 + 0.03 * index as f32, 2 * (index % 2));
        let pixel = |place: usize| if place / (SIDE * SIDE) == strong { 0.9 } else { grey };
        Ok((0..3 * SIDE * SIDE).map(pixel).collect())
    }
}

impl Labelled for Colours {
    fn label(&self, index: usize) -> usize {
        index % 2
    }
}

fn tiny_clip() -> Clip {
    let nn = Path::new(env!("CARGO_MANIFEST_DIR")).join("../knownset-nn/tests/golden");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs_err::copy(nn.join("clip/hf-quick").join(file), folder.path().join(file)).unwrap();
    }
    for file in ["vocab.json", "merges.txt"] {
        fs_err::copy(nn.join("tokenizer/small").join(file), folder.path().join(file)).unwrap();
    }
    Clip::open(folder.path()).unwrap()
}

/// What a run is given; `stop` is the stage and the epoch after which it is stopped.
struct Job<'a> {
    recipe: &'a str,
    out: &'a Path,
    resume: bool,
    stop: Option<(&'a str, usize)>,
    data: Colours,
    names: [&'a str; 2],
}

impl<'a> Job<'a> {
    fn new(recipe: &'a str, out: &'a Path) -> Self {
        Self { recipe, out, resume: false, stop: None, data: Colours { len: 24 }, names: ["red cat", "dog"] }
    }

    fn run(&self) -> Result<Learned, TrainError> {
        let (clip, augment) = (tiny_clip(), Augment::crop_and_flip(1));
        let classes = self.names.map(str::to_owned);
        let data = &self.data;
        let task = Prompting { clip: &clip, classes: &classes, data, validation: Some(data), augment: &augment };
        let chosen = ChosenPrompts::parse(self.recipe).unwrap();
        let stages = chosen.stages();
        let folders: Vec<PathBuf> = stages.iter().map(|stage| self.out.join(stage.name)).collect();
        let trainings: Vec<Training<'_>> = stages
            .iter()
            .zip(&folders)
            .map(|(stage, out)| Training {
                fingerprint: "colours".into(),
                epochs: EPOCHS,
                batch: 5,
                accumulate: 1,
                optimiser: stage.optimiser,
                schedule: Schedule {
                    lr: 10.0 * stage.lr,
                    warmup: 0,
                    curve: Curve::HeldCosine { first: 1e-3, held: 2 },
                },
                clip: None,
                ema: None,
                keep: Keep::Last,
                seed: 5,
                compute: knownset_nn::Compute::default(),
                precision: knownset_nn::Precision::F32,
                out,
                resume: self.resume,
            })
            .collect();
        chosen.train(&task, &trainings, &mut |stage, event| match (event, self.stop) {
            (Event::Epoch(epoch), Some((name, last))) if stage.name == name && epoch.epoch == last => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
    }
}

#[test]
fn every_recipe_learns_and_a_stopped_run_goes_on_to_the_same_bits() {
    for (recipe, arrays) in [
        ("coop:tokens=4:shots=8", vec![("classes", 2)]),
        ("coop:tokens=4:shots=8:class-specific=true", vec![("classes", 2)]),
        ("locoop:tokens=4:shots=8", vec![("classes", 2)]),
        ("negprompt:tokens=4:shots=8", vec![("classes", 2), ("negated", 4)]),
        ("lsn:tokens=4:shots=8", vec![("classes", 2), ("negated", 6)]),
    ] {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let whole = Job::new(recipe, whole.path()).run().unwrap();
        for (stage, trained) in whole.stages.iter().enumerate() {
            let (first, later) = trained.epochs.split_first().unwrap();
            // Epochs have other crops of eight pictures a class, so that not each of them is better than the one before.
            assert!(later.iter().any(|epoch| epoch.loss < first.loss), "{recipe}, stage {stage}: {:?}", trained.epochs);
            assert!(later.iter().all(|epoch| epoch.validation_accuracy.is_some()), "{recipe}");
        }
        let shapes: Vec<(&str, usize)> = whole.prompts.iter().map(|(&name, rows)| (name, rows.nrows())).collect();
        assert_eq!(shapes, arrays, "{recipe}");
        let long = |rows: &Array2<f32>| rows.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-5);
        assert!(whole.prompts.values().all(long), "{recipe}");

        let last = arrays.last().unwrap().0;
        let job = Job { stop: Some((last, 2)), ..Job::new(recipe, parts.path()) };
        assert!(matches!(job.run(), Err(TrainError::Stopped { kept: 2, .. })), "{recipe}");
        assert!(matches!(Job::new(recipe, parts.path()).run(), Err(TrainError::Exists { .. })), "{recipe}");
        let resumed = Job { resume: true, ..Job::new(recipe, parts.path()) }.run().unwrap();
        assert_eq!(resumed.prompts, whole.prompts, "{recipe}");
    }
}

#[test]
fn few_images_of_each_class_are_drawn_by_seed() {
    let (clip, augment, data) = (tiny_clip(), Augment::crop(0), Colours { len: 24 });
    let classes = ["red cat", "dog"].map(str::to_owned);
    let task = Prompting { clip: &clip, classes: &classes, data: &data, validation: None, augment: &augment };
    let draw = |recipe: &str, seed| ChosenPrompts::parse(recipe).unwrap().draw(&task, seed).unwrap();
    let few = draw("coop:shots=3", 1);
    assert_eq!(few.iter().map(|&image| image % 2).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert!((few[0] != few[1] && few[1] != few[2] && few[0] != few[2]) && few == draw("lsn:shots=3", 1));
    assert_ne!(few, draw("coop:shots=3", 2));
    assert_eq!((draw("coop:shots=0", 1).len(), draw("coop:shots=100", 1).len()), (24, 24));
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let refused = |job: Job<'_>| job.run().unwrap_err().to_string();
    let long = refused(Job::new("coop", out));
    assert!(long.starts_with("`red cat.` takes") && long.contains("context 16") && long.contains("reads 16"), "{long}");
    let one = Job { data: Colours { len: 1 }, ..Job::new("coop:tokens=4", out) };
    assert_eq!(refused(one), "there is no training image of dog");
    assert!(Job { stop: Some(("classes", 1)), ..Job::new("coop:tokens=4", out) }.run().is_err());
    let other = Job { names: ["red cat", "house"], resume: true, ..Job::new("coop:tokens=4", out) };
    assert!(refused(other).contains("made with other settings"));
}
