//! Images with captions → a pair of towers, in a folder that `--backbone clip` and transformers open.

use anyhow::Context;
use knownset_nn::Weights;
use knownset_nn::clip::{ClipDesign, SPRITE_CLIP};
use knownset_nn::tokenizer::Tokenizer;
use knownset_train::{Augment, Contrastive, RecipeEntry};
use serde_json::json;

use super::{PAD_SHARE, WARMUP, Watch, fingerprint, unused};
use crate::captions::CaptionedImages;
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

/// What validation asks of an image.
const PROMPT: &str = "a photo of a {}";

pub(super) fn run(args: &Train, recipe: &RecipeEntry, printer: Printer) -> anyhow::Result<Status> {
    unused("clip", &[("--synthetic", args.synthetic.is_some()), ("--outliers", !args.outliers.is_empty())])?;
    let design = match (&args.towers, args.backbone.as_deref()) {
        (Some(folder), _) => ClipDesign::open(folder)?,
        (None, None | Some(SPRITE_CLIP)) => ClipDesign::bundled()?,
        (None, Some(other)) => {
            anyhow::bail!("the recipe clip trains {SPRITE_CLIP} or the towers of --towers, not {other}")
        }
    };
    let ClipDesign { spec, preprocess } = &design;
    let images = Images::open(&args.data, true)?;
    let texts = images.all_texts(printer)?;
    let all = texts.iter().flat_map(|texts| texts.captions.iter().chain(&texts.tags)).map(String::as_str);
    let tokenizer = Tokenizer::train(all, spec.vocabulary, spec.context).context("cannot make a vocabulary")?;
    let data = CaptionedImages::new(&images, preprocess, &texts, &tokenizer);
    let validation = args.val.as_ref().map(|reference| Images::open(reference, true)).transpose()?;
    let prompts = |images: &Images| -> anyhow::Result<Vec<Vec<u32>>> {
        let prompt = |name: &String| PROMPT.replace("{}", &knownset_data::words::spoken(name));
        let tokens = images.class_names().iter().map(|name| tokenizer.encode(&prompt(name)));
        Ok(tokens.map(|tokens| tokens.map(|tokens| tokens.ids[..=tokens.end].to_vec())).collect::<Result<_, _>>()?)
    };
    let validation =
        validation.as_ref().map(|images| anyhow::Ok((TrainingImages::labelled(images, preprocess), prompts(images)?)));
    let validation = validation.transpose()?;
    let augment = match &args.augment {
        Some(text) => text.parse().context("--augment cannot be followed")?,
        None => Augment::crop((preprocess.size / PAD_SHARE) as usize),
    };
    fs_err::create_dir_all(&args.out)?;
    let task = Contrastive {
        spec,
        preprocess,
        data: &data,
        validation: validation.as_ref().map(|(images, prompts)| (images as _, prompts.as_slice())),
        augment: &augment,
    };
    let training =
        args.training(fingerprint(args, images.fingerprint())?, images.len(), OptimiserName::Adamw, WARMUP)?;
    let mut watch = Watch::new(printer, images.len(), "zero-shot");
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    // Behind the training, which refuses a folder with another run's checkpoint.
    tokenizer.save(&args.out)?;
    design.save(&args.out, &tokenizer)?;
    let weights = ClipDesign::save_weights(&args.out, Weights::open(&trained.weights)?)?;
    let out = weights.display().to_string();
    printer.result(&json!({ "out": out, "recipe": recipe.name, "epochs": trained.epochs }), || {
        format!("{out}: trained for {} epochs", trained.epochs.len())
    })?;
    Ok(Status::Done)
}
