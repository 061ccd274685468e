//! Labelled images → a trained classifier.

use anyhow::Context;
use knownset_core::Preprocess;
use knownset_nn::BackboneEntry;
use knownset_train::{Augment, Chosen, Classification, Pictures, Trained};
use serde_json::json;

use super::{PAD_SHARE, Watch, fingerprint, unused};
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

/// A trained classifier.
pub(crate) struct Classifier {
    pub(crate) backbone: &'static BackboneEntry,
    pub(crate) class_names: Vec<String>,
    pub(crate) trained: Trained,
}

pub(super) fn run(args: &Train, recipe: &Chosen, printer: Printer) -> anyhow::Result<Status> {
    let Classifier { backbone, class_names, trained } = train(args, recipe, printer)?;
    let out = trained.weights.display().to_string();
    let result = json!({
        "out": out, "recipe": recipe.to_string(), "params": recipe.params(), "backbone": backbone.name,
        "class_names": class_names, "kept": trained.kept, "epochs": trained.epochs,
    });
    printer.result(&result, || {
        let epochs = trained.epochs.len();
        format!("{out}: {} trained for {epochs} epochs, these are epoch {}'s weights", backbone.name, trained.kept)
    })?;
    Ok(Status::Done)
}

/// Trains as the arguments say.
pub(crate) fn train(args: &Train, recipe: &Chosen, printer: Printer) -> anyhow::Result<Classifier> {
    let flags = [
        ("--weights", args.weights.is_some()),
        ("--autoencoder", args.autoencoder.is_some()),
        ("--towers", args.towers.is_some()),
    ];
    unused(&recipe.to_string(), &flags)?;
    let backbone = knownset_nn::find(args.backbone.as_deref().unwrap_or("sprite-resnet"))?;
    let preprocess = &backbone.preprocess;
    let images = Images::open(&args.data, true)?;
    let classes = images.class_names().len();
    anyhow::ensure!(classes >= 2, "{} has {classes} classes; a classifier needs at least two", args.data);
    let same_classes = |flag: &str, reference: &Option<String>| -> anyhow::Result<Option<Images>> {
        let Some(reference) = reference else { return Ok(None) };
        let other = Images::open(reference, true)?;
        anyhow::ensure!(
            other.class_names() == images.class_names(),
            "the classes of {flag} differ from those of --data: {:?} there, {:?} here",
            other.class_names(),
            images.class_names()
        );
        Ok(Some(other))
    };
    let validation = same_classes("--val", &args.val)?;
    let synthetic = same_classes("--synthetic", &args.synthetic)?;
    let outliers: Vec<Images> = args.outliers.iter().map(|text| Images::open(text, true)).collect::<Result<_, _>>()?;
    let all = std::iter::once(&images).chain(&synthetic).chain(&outliers);
    let all = all.map(Images::fingerprint).collect::<Vec<_>>().join("; ");

    let labelled = |images| TrainingImages::labelled(images, preprocess);
    let data = labelled(&images);
    let (validation, synthetic) = (validation.as_ref().map(labelled), synthetic.as_ref().map(labelled));
    let outliers = (!outliers.is_empty()).then(|| Joined::new(&outliers, preprocess));
    let augment = match &args.augment {
        Some(text) => text.parse().context("--augment cannot be followed")?,
        None => Augment::crop_and_flip((preprocess.size / PAD_SHARE) as usize),
    };
    let task = Classification {
        backbone,
        classes,
        data: &data,
        synthetic: synthetic.as_ref().map(|images| images as _),
        outliers: outliers.as_ref().map(|images| images as _),
        validation: validation.as_ref().map(|images| images as _),
        augment: &augment,
    };
    let training = args.training(fingerprint(args, all)?, data.len(), OptimiserName::Sgd, 0.0)?;
    let mut watch = Watch::new(printer, data.len(), "validation");
    let trained = recipe.train(&task, &training, &mut |event| watch.see(&event))?;
    Ok(Classifier { backbone, class_names: images.class_names().to_vec(), trained })
}

/// Several sets of images, one behind the other.
struct Joined<'a>(Vec<TrainingImages<'a>>);

impl<'a> Joined<'a> {
    fn new(sets: &'a [Images], preprocess: &Preprocess) -> Self {
        Self(sets.iter().map(|images| TrainingImages::all(images, preprocess)).collect())
    }
}

impl Pictures for Joined<'_> {
    fn len(&self) -> usize {
        self.0.iter().map(Pictures::len).sum()
    }

    fn picture(&self, mut index: usize) -> Result<Vec<f32>, String> {
        for set in &self.0 {
            if index < set.len() {
                return set.picture(index);
            }
            index -= set.len();
        }
        Err(format!("there is no image {index} behind the last one"))
    }
}
