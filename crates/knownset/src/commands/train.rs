//! `knownset train`: labelled images → a trained classifier.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_train::{Augment, Event, Sgd, Training, find};
use serde_json::json;

use super::Status;
use crate::cli::Train;
use crate::images::{Images, STOP, TrainingImages};
use crate::printer::Printer;

/// Pixels of padding per 32 pixels of the network's input, as in the usual crop of 32-pixel images padded by 4.
const PAD_SHARE: u32 = 8;

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    let names = || knownset_train::RECIPES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    let recipe = find(&args.recipe).with_context(|| format!("no recipe {:?}; there are: {}", args.recipe, names()))?;
    let backbone = knownset_nn::find(&args.backbone)?;
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
    let training = Training {
        backbone,
        classes,
        data: &data,
        validation: validation.as_ref().map(|images| images as _),
        fingerprint: images.fingerprint(),
        epochs: args.epochs,
        batch: args.batch_size,
        sgd: Sgd { lr: args.lr, momentum: args.momentum, weight_decay: args.weight_decay },
        augment: Augment { pad: (backbone.preprocess.size / PAD_SHARE) as usize, flip: true },
        seed: args.seed,
        out: &args.out,
        resume: args.resume,
    };
    let mut progress = printer.progress("epoch 1", images.len());
    let trained = training.run(&mut |event| {
        match event {
            Event::Step(count) => progress.advance(count),
            Event::Epoch(epoch) => {
                let validation = epoch.validation_accuracy.map(|share| format!(", validation {:.2} %", 100.0 * share));
                let (number, loss, accuracy) = (epoch.epoch, epoch.loss, 100.0 * epoch.accuracy);
                let (validation, seconds) = (validation.unwrap_or_default(), epoch.seconds);
                printer
                    .note(format!("epoch {number}: loss {loss:.4}, train {accuracy:.2} %{validation}, {seconds:.0} s"));
                progress = printer.progress(&format!("epoch {}", number + 1), images.len());
            }
        }
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    drop(progress);
    let out = trained.weights.display().to_string();
    let result = json!({
        "out": out, "recipe": recipe.name, "backbone": backbone.name, "class_names": images.class_names(),
        "epochs": trained.epochs,
    });
    printer.result(&result, || format!("{out}: {} trained for {} epochs", backbone.name, trained.epochs.len()))?;
    Ok(Status::Done)
}
