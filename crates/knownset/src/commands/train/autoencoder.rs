//! Images → an autoencoder, in a folder that `--recipe diffusion` and diffusers open.

use anyhow::Context;
use knownset_train::{Augment, AutoencoderRecipe, Autoencoding};
use serde_json::json;

use super::{WARMUP, Watch, fingerprint};
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

/// Their usual changes to training images.
const AUGMENT: &str = "flip";

pub(super) fn run(args: &Train, recipe: &AutoencoderRecipe, printer: Printer) -> anyhow::Result<Status> {
    let unused = [
        ("--backbone", args.backbone.is_some()),
        ("--towers", args.towers.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
    ];
    if let Some((flag, _)) = unused.into_iter().find(|(_, given)| *given) {
        anyhow::bail!("the recipe autoencoder has no use for {flag}");
    }
    let preprocess = recipe.preprocess();
    let images = Images::open(&args.data, true)?;
    let validation = args.val.as_ref().map(|reference| Images::open(reference, true)).transpose()?;
    let augment: Augment = match &args.augment {
        Some(text) => text.parse().context("--augment cannot be followed")?,
        None => AUGMENT.parse()?,
    };
    let all = |images| TrainingImages::all(images, &preprocess);
    let (data, validation) = (all(&images), validation.as_ref().map(all));
    let validation = validation.as_ref().map(|images| images as _);
    let task = Autoencoding { recipe, data: &data, validation, augment: &augment };
    let training =
        args.training(fingerprint(args, images.fingerprint())?, images.len(), OptimiserName::Adamw, WARMUP)?;
    let mut watch = Watch::new(printer, images.len(), "PSNR in dB").without_shares();
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    recipe.network(&trained)?.save(&args.out)?;
    let out = args.out.display().to_string();
    let result = json!({
        "out": out, "recipe": "autoencoder", "params": recipe, "kept": trained.kept, "epochs": trained.epochs,
    });
    printer.result(&result, || format!("{out}: an autoencoder trained for {} epochs", trained.epochs.len()))?;
    Ok(Status::Done)
}
