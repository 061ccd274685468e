//! Images with captions and an autoencoder → a diffusion model, in a pipeline folder that `knownset synth` and diffusers
//! open.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::Preprocess;
use knownset_data::Texts;
use knownset_nn::Compute;
use knownset_nn::clip::SPRITE_CLIP;
use knownset_nn::diffusion::{Pipeline, TextEncoder};
use knownset_nn::network::{Autoencoder, weights_sha256};
use knownset_train::{Conditions, Diffusing, DiffusionRecipe, GENERIC, Latents};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{WARMUP, Watch};
use crate::captions::prompt;
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, STOP, TrainingImages};
use crate::printer::Printer;
use crate::towers;

pub(super) fn run(args: &Train, recipe: &DiffusionRecipe, printer: Printer) -> anyhow::Result<Status> {
    let unused = [
        ("--towers", args.towers.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
        ("--augment, since latents are computed once", args.augment.is_some()),
    ];
    if let Some((flag, _)) = unused.into_iter().find(|(_, given)| *given) {
        anyhow::bail!("the recipe diffusion has no use for {flag}");
    }
    let folder = args.autoencoder.as_ref().context("the recipe diffusion needs --autoencoder DIR")?;
    let open = |compute: Compute| -> anyhow::Result<Autoencoder> {
        let opened = Autoencoder::open(folder, &compute.device()?);
        opened.with_context(|| format!("cannot load the autoencoder in {}", folder.display()))
    };
    let autoencoder = open(args.descent.device)?;
    let (preprocess, factor) = (recipe.preprocess(), autoencoder.spec().factor());
    let fits = (preprocess.size as usize).is_multiple_of(factor);
    let colours = autoencoder.spec().image;
    anyhow::ensure!(colours == 3, "the autoencoder in {} is for images of {colours} channels", folder.display());
    anyhow::ensure!(fits, "side={} is no multiple of {factor}, by which the autoencoder divides it", preprocess.size);
    let clip = towers::open(args.backbone.as_deref().unwrap_or(SPRITE_CLIP), args.weights.as_deref(), printer)?;
    let encoder = TextEncoder::of(&clip)?;
    let conditions = Conditions::new(&encoder, GENERIC)?;

    let data = Described::read(&args.data, &autoencoder, &preprocess, printer)?;
    let validation = args.val.as_ref().map(|text| Described::read(text, &autoencoder, &preprocess, printer));
    let validation = validation.transpose()?;
    let text = |index: usize, random: &mut ChaCha8Rng| prompt(&data.texts[index], random);
    let held_out = validation.as_ref().map(|validation| {
        (validation, move |index: usize, random: &mut ChaCha8Rng| prompt(&validation.texts[index], random))
    });
    let task = Diffusing {
        recipe,
        conditions: &conditions,
        data: (&data.latents, &text),
        validation: held_out.as_ref().map(|(validation, text)| (&validation.latents, text as _)),
    };
    let images = data.latents.len();
    let fingerprint = format!("{}; {}", data.fingerprint, weights_sha256(&autoencoder));
    let training = args.training(super::fingerprint(args, fingerprint)?, images, OptimiserName::Adamw, WARMUP)?;
    let mut watch = Watch::new(printer, images, "minus validation loss").without_shares();
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);

    let (unet, scale) = (task.network(&trained)?, data.latents.scale());
    let autoencoder = open(Compute::default())?.with_scale(scale);
    drop(conditions);
    Pipeline::new(Some(encoder), unet, Some(autoencoder), recipe.schedule()).save(&args.out)?;
    let out = args.out.display().to_string();
    let result = json!({
        "out": out, "recipe": "diffusion", "params": recipe, "scale": scale, "kept": trained.kept,
        "epochs": trained.epochs,
    });
    printer
        .result(&result, || format!("{out}: a pipeline whose UNet was trained for {} epochs", trained.epochs.len()))?;
    Ok(Status::Done)
}

/// Images as the diffusion model learns from them.
struct Described {
    fingerprint: String,
    latents: Latents,
    texts: Vec<Texts>,
}

impl Described {
    fn read(
        reference: &str,
        autoencoder: &Autoencoder,
        preprocess: &Preprocess,
        printer: Printer,
    ) -> anyhow::Result<Self> {
        let images = Images::open(reference, true)?;
        let texts = images.all_texts(printer)?;
        let progress = printer.progress("latents", images.len());
        let latents =
            Latents::encode(autoencoder, &TrainingImages::all(&images, preprocess), preprocess, &mut |count| {
                progress.advance(count);
                if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        Ok(Self { fingerprint: images.fingerprint(), latents, texts })
    }
}
