//! Whole runs of the recipes that learn from outliers, given or made, or from mixed and changed pictures, on a toy problem
//! with the smallest network there is.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{BlockKind, ResNetNames, ResNetSpec, Shortcut, Stem};
use knownset_nn::{Architecture, BackboneEntry, Weights, frozen};
use knownset_train::{
    Augment, Chosen, Classification, Curve, Decays, Event, Keep, Labelled, Optimiser, Outliers, Pictures, Schedule,
    TrainError, Trained, Training,
};
use ndarray::Array4;

const SIDE: usize = 12;

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

/// Dark and bright pictures, of three textures.
struct Known;

impl Pictures for Known {
    fn len(&self) -> usize {
        30
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let level = [0.1, 0.5][index % 2];
        Ok((0..3 * SIDE * SIDE).map(|pixel| level + 0.04 * ((pixel * 7 + index * 13) % 11) as f32).collect())
    }
}

impl Labelled for Known {
    fn label(&self, index: usize) -> usize {
        index % 2
    }
}

/// Stripes.
struct Stripes;

impl Pictures for Stripes {
    fn len(&self) -> usize {
        7
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let period = 2 + index;
        Ok((0..3 * SIDE * SIDE).map(|pixel| f32::from((pixel % SIDE).is_multiple_of(period))).collect())
    }
}

/// A recipe and the tensors it exports beside the backbone, with their shapes, for d = 16 and K = 2.
type Case = (&'static str, &'static [(&'static str, [usize; 2])]);

const CASES: &[Case] = &[
    ("oe:ratio=1", &[]),
    ("energy-reg:ratio=1", &[]),
    ("mixoe:alpha=1", &[]),
    ("mixoe:alpha=1:mode=mixup", &[]),
    ("mcd:start=0.6:ratio=1", &[("recipe.second.bias", [1, 2]), ("recipe.second.weight", [2, 16])]),
    (
        "vos:start=0.3:queue=5:samples=50:select=2",
        &[("recipe.energy.logistic", [1, 2]), ("recipe.energy.weight", [1, 2])],
    ),
    ("npos:start=0.3:queue=5:k=2:boundary=3:samples=8:keep=3:width=8", &[]),
    ("npos:views=standard:start=0.3:queue=5:k=2:boundary=3:samples=8:keep=3:width=8", &[]),
    ("cider:width=8", &[]),
    ("cider:views=standard:width=8", &[]),
    ("mixup", &[]),
    ("reg-mixup", &[]),
    ("cut-mix", &[]),
    ("aug-mix", &[]),
    ("pix-mix", &[]),
    ("rand-augment", &[]),
    ("fodfom", &[("recipe.outlier.bias", [1, 1]), ("recipe.outlier.weight", [1, 16])]),
    ("ascood", &[("recipe.ascood.deviation", [1, 1])]),
    ("ascood:mode=shuffle", &[("recipe.ascood.deviation", [1, 1])]),
];

fn train(recipe: &str, out: &Path, resume: bool, stop_after: usize) -> Result<Trained, TrainError> {
    static AUGMENT: LazyLock<Augment> = LazyLock::new(|| Augment::crop_and_flip(2));
    let chosen = Chosen::parse(recipe).unwrap();
    let learns_from_outliers = chosen.entry().outliers == Outliers::Required;
    let task = Classification {
        backbone: &TINY,
        classes: 2,
        data: &Known,
        synthetic: None,
        outliers: learns_from_outliers.then_some(&Stripes),
        validation: Some(&Known),
        augment: &AUGMENT,
    };
    let training = Training {
        fingerprint: "toy".into(),
        epochs: 3,
        batch: 6,
        accumulate: 1,
        optimiser: Optimiser::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4, decays: Decays::All },
        schedule: Schedule { lr: 0.02, warmup: 0, curve: Curve::Constant },
        clip: Some(5.0),
        ema: None,
        keep: Keep::Last,
        seed: 7,
        compute: knownset_nn::Compute::default(),
        precision: knownset_nn::Precision::F32,
        out,
        resume,
    };
    chosen.train(&task, &training, &mut |event| match event {
        Event::Epoch(epoch) if epoch.epoch == stop_after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

/// Share of the known pictures that the exported backbone tells right by its linear layer.
fn accuracy(weights: &Weights) -> f64 {
    let backbone = frozen(&TINY, weights).unwrap();
    let plane = SIDE * SIDE;
    let right = (0..Known.len()).filter(|&index| {
        let picture = Known.picture(index).unwrap();
        let spec = &TINY.preprocess;
        let value = |(_, channel, y, x): (usize, usize, usize, usize)| {
            (picture[channel * plane + y * SIDE + x] - spec.mean[channel]) / spec.std[channel]
        };
        let logits = backbone.forward(Array4::from_shape_fn((1, 3, SIDE, SIDE), value).view()).logits.unwrap();
        usize::from(logits[[0, 1]] > logits[[0, 0]]) == Known.label(index)
    });
    right.count() as f64 / Known.len() as f64
}

#[test]
fn every_recipe_learns_and_goes_on_to_the_same_bits_and_exports_a_linear_head() {
    let mut seen = BTreeSet::new();
    for &(recipe, extra) in CASES {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = train(recipe, whole.path(), false, 99).unwrap_or_else(|error| panic!("{recipe}: {error}"));
        let last = &run.epochs[2];
        // A term that comes on later raises the loss.
        let learns = last.loss < run.epochs[0].loss || last.accuracy > run.epochs[0].accuracy;
        assert!(learns, "{recipe} learns nothing: {:?}", run.epochs);

        let stopped = train(recipe, parts.path(), false, 2).unwrap_err();
        assert!(matches!(stopped, TrainError::Stopped { kept: 2, .. }), "{recipe}: {stopped}");
        let resumed = train(recipe, parts.path(), true, 99).unwrap();
        let weights = |trained: &Trained| Weights::open(&trained.weights).unwrap();
        assert_eq!(weights(&resumed).sha256(), weights(&run).sha256(), "{recipe}");
        assert_eq!(resumed.epochs[2].loss, last.loss, "{recipe}");

        let weights = weights(&run);
        let found: BTreeMap<&str, &[usize]> = weights
            .iter()
            .filter(|(name, _)| name.starts_with("recipe."))
            .map(|(name, tensor)| (name, tensor.shape.as_slice()))
            .collect();
        let expected: BTreeMap<&str, &[usize]> = extra.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
        assert_eq!(found, expected, "{recipe}");
        assert_eq!(Some(accuracy(&weights)), last.validation_accuracy, "{recipe}");
        if let Some(energy) = weights.get("recipe.energy.weight") {
            // It begins at 1, and decay moves it by less.
            assert!(energy.values.iter().all(|w| (w - 1.0).abs() > 1e-3), "{recipe}: w learns nothing: {energy:?}");
        }
        seen.insert(weights.sha256());
    }
    assert_eq!(seen.len(), CASES.len(), "no two recipes or modes train the same network");
}

#[test]
fn parameters_out_of_range_are_refused() {
    let wrong = [
        "oe:ratio=0",
        "oe:weight=-1",
        "energy-reg:m-out=-30",
        "mixoe:alpha=0",
        "mixoe:mode=paste",
        "mcd:start=1.5",
        "vos:select=0",
        "vos:select=20000",
        "vos:queue=0",
        "npos:keep=601",
        "npos:k=0",
        "npos:sigma=0",
        "cider:temperature=0",
        "cider:momentum=1",
        "cider:views=blurred",
        "npos:views=blurred",
        "mixup:alpha=0",
        "ascood:share=0",
        "ascood:share=1.1",
        "ascood:sigma=0",
    ];
    for recipe in wrong {
        assert!(Chosen::parse(recipe).is_err(), "{recipe}");
    }
}
