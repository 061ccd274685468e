//! Labelled images → a trained classifier.

use knownset_train::{Augment, Classification, Optimiser, RecipeEntry, Schedule, Training};
use serde_json::json;

use super::{PAD_SHARE, Watch};
use crate::cli::Train;
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

pub(super) fn run(args: &Train, recipe: &RecipeEntry, printer: Printer) -> anyhow::Result<Status> {
    let backbone = knownset_nn::find(args.backbone.as_deref().unwrap_or("sprite-resnet"))?;
    let images = Images::open(&args.data, true)?;
    let classes = images.class_names().len();
    anyhow::ensure!(classes >= 2, "{} has {classes} classes; a classifier needs at least two", args.data);
    let data = TrainingImages::new(&images, &backbone.preprocess);
    let validation = args.val.as_ref().map(|reference| Images::open(reference, true)).transpose()?;
    if let Some(validation) = &validation {
        anyhow::ensure!(
            validation.class_names() == images.class_names(),
            "the classes of --val differ from those of --data"
        );
    }
    let validation = validation.as_ref().map(|images| TrainingImages::new(images, &backbone.preprocess));
    let augment = Augment::crop_and_flip((backbone.preprocess.size / PAD_SHARE) as usize);
    let task = Classification {
        backbone,
        classes,
        data: &data,
        validation: validation.as_ref().map(|images| images as _),
        augment: &augment,
    };
    let (momentum, weight_decay) = (args.momentum.unwrap_or(0.9), args.weight_decay.unwrap_or(5e-4));
    let training = Training {
        fingerprint: images.fingerprint(),
        epochs: args.epochs,
        batch: args.batch_size.unwrap_or(64),
        optimiser: Optimiser::Sgd { momentum, weight_decay },
        schedule: Schedule { lr: args.lr.unwrap_or(0.1), warmup: 0 },
        seed: args.seed,
        out: &args.out,
        resume: args.resume,
    };
    let mut watch = Watch::new(printer, images.len(), "validation");
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    let out = trained.weights.display().to_string();
    let result = json!({
        "out": out, "recipe": recipe.name, "backbone": backbone.name, "class_names": images.class_names(),
        "epochs": trained.epochs,
    });
    printer.result(&result, || format!("{out}: {} trained for {} epochs", backbone.name, trained.epochs.len()))?;
    Ok(Status::Done)
}
