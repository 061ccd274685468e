//! A few labelled images and class names → prompts for frozen towers: the known set in words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use knownset_core::{Features, write_features};
use knownset_data::words::spoken;
use knownset_nn::Architecture;
use knownset_nn::clip::SPRITE_CLIP;
use knownset_train::{Augment, ChosenPrompts, Curve, Learned, Prompting, Schedule, Stage, Training};
use serde_json::json;

use super::{Watch, fingerprint, unused};
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;
use crate::towers;

/// The rate of the first epochs, and how many these are, in the recipes' papers.
const HELD: (f64, f64) = (1e-5, 1.0);

/// Their changes to training images.
const AUGMENT: &str = "resized-crop,flip";

pub(super) fn run(args: &Train, recipe: &ChosenPrompts, printer: Printer) -> anyhow::Result<Status> {
    let name = recipe.entry().name;
    let flags = [
        ("--towers", args.towers.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
    ];
    unused(name, &flags)?;
    let backbone = args.backbone.as_deref().unwrap_or(SPRITE_CLIP);
    let reads = knownset_nn::find(backbone)?.architecture == Architecture::Clip;
    anyhow::ensure!(reads, "the recipe {name} learns prompts for towers that read words, which {backbone} does not");
    let clip = towers::open(backbone, args.weights.as_deref(), printer)?;
    let preprocess = clip.preprocess();
    let images = Images::open(&args.data, true)?;
    let validation = args.val.as_ref().map(|reference| Images::open(reference, true)).transpose()?;
    if let Some(other) = &validation {
        let (there, here) = (other.class_names(), images.class_names());
        anyhow::ensure!(
            there == here,
            "the classes of --val differ from those of --data: {there:?} there, {here:?} here"
        );
    }
    let classes: Vec<String> = images.class_names().iter().map(|name| spoken(name)).collect();
    anyhow::ensure!(classes.len() >= 2, "{} has {} classes; prompts need at least two", args.data, classes.len());
    let labelled = |images| TrainingImages::labelled(images, preprocess);
    let (data, validation) = (labelled(&images), validation.as_ref().map(labelled));
    let augment: Augment = match &args.augment {
        Some(text) => text.parse().context("--augment cannot be followed")?,
        None => AUGMENT.parse()?,
    };
    let task = Prompting {
        clip: &clip,
        classes: &classes,
        data: &data,
        validation: validation.as_ref().map(|images| images as _),
        augment: &augment,
    };
    let few = recipe.draw(&task, args.descent.seed)?.len();
    let stages = recipe.stages();
    let folders: Vec<PathBuf> = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| if number == 0 { args.out.clone() } else { args.out.join(stage.name) })
        .collect();
    let said = args.training(fingerprint(args, images.fingerprint())?, few, OptimiserName::Sgd, 0.0)?;
    let trainings: Vec<Training<'_>> = stages
        .iter()
        .zip(&folders)
        .map(|(stage, folder)| Training { out: folder, ..followed(args, &said, stage, few) })
        .collect();

    let mut watch: Option<(&str, Watch)> = None;
    let learned = recipe.train(&task, &trainings, &mut |stage, event| {
        if watch.as_ref().is_none_or(|(name, _)| *name != stage.name) {
            printer.note(format!("learning prompts.{} from {few} images", stage.name));
            watch = Some((stage.name, Watch::new(printer, few, "validation")));
        }
        watch.as_mut().map_or(std::ops::ControlFlow::Continue(()), |(_, watch)| watch.see(&event))
    })?;
    drop(watch);

    let Learned { prompts, stages: runs } = learned;
    let known = Features {
        prompts: prompts.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect(),
        class_names: Some(classes.clone()),
        origin: Some(clip.origin().clone()),
        ..Features::default()
    };
    let path = args.out.join("known.safetensors");
    write_features(&path, &known)?;
    let out = path.display().to_string();
    let told = stages
        .iter()
        .zip(&runs)
        .map(|(stage, run)| (stage.name, json!({ "weights": run.weights, "kept": run.kept, "epochs": run.epochs })));
    let result = json!({
        "out": out, "recipe": recipe.label(), "params": recipe.params(), "backbone": backbone, "class_names": classes,
        "images": few, "stages": told.collect::<BTreeMap<_, _>>(),
    });
    printer.result(&result, || {
        let epochs: usize = runs.iter().map(|run| run.epochs.len()).sum();
        format!("{out}: prompts for {} classes, {epochs} epochs over {few} images", classes.len())
    })?;
    Ok(Status::Done)
}

/// A stage's run: what was said, and for the rest what its paper does.
fn followed<'a>(args: &Train, said: &Training<'a>, stage: &Stage, images: usize) -> Training<'a> {
    let descent = &args.descent;
    let batch = descent.batch_size.unwrap_or(stage.batch);
    let steps = images.div_ceil(batch).div_ceil(descent.accumulate);
    let warmup = (descent.warmup.unwrap_or(HELD.1) * steps as f64) as usize;
    let lr = descent.lr.unwrap_or(stage.lr);
    let schedule = match &descent.schedule {
        Curve::Cosine { .. } => Schedule { lr, warmup: 0, curve: Curve::HeldCosine { first: HELD.0, held: warmup } },
        other => Schedule { lr, warmup, curve: other.clone() },
    };
    Training {
        epochs: descent.epochs.unwrap_or(stage.epochs),
        batch,
        optimiser: if descent.optimiser.is_some() { said.optimiser } else { stage.optimiser },
        schedule,
        ..said.clone()
    }
}
