//! Labelled images through a frozen tower → a head on its patches, for `--head`.

use anyhow::Context;
use knownset_nn::LoadedBackbone;
use knownset_train::{ChosenTokens, Curve, Schedule, TokenClassification, TokenSet, Training};
use serde_json::json;

use super::{Watch, unused};
use crate::cli::{OptimiserName, Reading, Train};
use crate::commands::Status;
use crate::images;
use crate::inputs::Set;
use crate::printer::Printer;

/// Images per call of the tower; results do not depend on it.
const BATCH: usize = 64;

pub(super) fn run(args: &Train, recipe: &ChosenTokens, printer: Printer) -> anyhow::Result<Status> {
    let name = recipe.entry().name;
    let flags = [
        ("--towers", args.towers.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
        ("--augment", args.augment.is_some()),
    ];
    unused(name, &flags)?;
    let open = |backbone: &String| images::with_patches(backbone, args.weights.as_deref(), printer);
    let network = args.backbone.as_ref().map(open).transpose()?;
    let (training, data) = read("train", &args.data, args, network.as_ref(), printer)?;
    let validation = args.val.as_ref().map(|text| read("val", text, args, network.as_ref(), printer)).transpose()?;
    let names = training.features.class_names.as_ref();
    if let Some((there, here)) = validation.as_ref().and_then(|(set, _)| set.features.class_names.as_ref()).zip(names) {
        anyhow::ensure!(
            there == here,
            "the classes of --val differ from those of --data: {there:?} there, {here:?} here"
        );
    }
    let classes = training.features.classes();
    anyhow::ensure!(classes >= 2, "{} has {classes} classes; a head needs at least two", args.data);
    let origin = training.features.origin.as_ref();
    let other = validation.as_ref().and_then(|(set, _)| set.features.origin.as_ref());
    if let Some((train, val)) = origin.zip(other) {
        train.check_same(val).context("--data and --val are not of one network")?;
    }
    let task = TokenClassification {
        classes,
        data: &data,
        validation: validation.as_ref().map(|(_, tokens)| tokens),
        tower: origin.map(|origin| origin.weights_sha256.as_str()),
    };
    let said = args.training(super::fingerprint(args, data.fingerprint())?, data.len(), OptimiserName::Adamw, 0.0)?;
    let followed = followed(args, &said, &recipe.usual(&said), data.len());
    let mut watch = Watch::new(printer, data.len(), "validation");
    let trained = recipe.train(&task, &followed, &mut |event| watch.see(&event))?;
    drop(watch);

    let out = trained.weights.display().to_string();
    let result = json!({
        "out": out, "recipe": recipe.label(), "params": recipe.params(), "backbone": args.backbone,
        "class_names": names, "images": data.len(), "kept": trained.kept, "epochs": trained.epochs,
    });
    printer.result(&result, || {
        let ([tokens, width], epochs) = (data.token_shape(), trained.epochs.len());
        format!("{out}: a head for {tokens} patches of length {width}, {epochs} epochs over {} images", data.len())
    })?;
    Ok(Status::Done)
}

/// The tokens of images, through a network if there is one and else from a feature file; each image passes once.
fn read(
    what: &str,
    text: &str,
    args: &Train,
    network: Option<&LoadedBackbone>,
    printer: Printer,
) -> anyhow::Result<(Set, TokenSet)> {
    let reading = Reading { batch_size: BATCH, strict: true, keeping: args.keeping.clone() };
    let mut set = Set::open(what, text, network, &reading, printer)?;
    let tokens = TokenSet::new(&set.features).with_context(|| format!("{text} cannot be learned from"))?;
    // The patches are by far the largest array; the set of tokens has them now.
    set.features.patches = None;
    Ok((set, tokens))
}

/// What was said, and for the rest what the paper does.
fn followed<'a>(args: &Train, said: &Training<'a>, usual: &Training<'a>, images: usize) -> Training<'a> {
    let descent = &args.descent;
    let batch = descent.batch_size.unwrap_or(usual.batch);
    let steps = images.div_ceil(batch).div_ceil(descent.accumulate);
    let curve = match &descent.schedule {
        Curve::Cosine { .. } => usual.schedule.curve.clone(),
        other => other.clone(),
    };
    let own = descent.optimiser.is_some() || descent.weight_decay.is_some() || descent.decays.is_some();
    Training {
        epochs: descent.epochs.unwrap_or(usual.epochs),
        batch,
        optimiser: if own { said.optimiser } else { usual.optimiser },
        schedule: Schedule {
            lr: descent.lr.unwrap_or(usual.schedule.lr),
            warmup: (descent.warmup.unwrap_or(0.0) * steps as f64) as usize,
            curve,
        },
        ..said.clone()
    }
}
