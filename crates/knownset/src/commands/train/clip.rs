//! Images with captions → a pair of towers, in a folder that `--backbone clip` and transformers open.

use anyhow::Context;
use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{ClipSpec, TowerSpec};
use knownset_nn::tokenizer::Tokenizer;
use knownset_train::{Augment, Contrastive, Optimiser, Schedule, Training};
use serde_json::json;

use super::{PAD_SHARE, Watch};
use crate::captions::CaptionedImages;
use crate::cli::Train;
use crate::commands::Status;
use crate::images::{Images, TrainingImages};
use crate::printer::Printer;

/// What validation asks of an image.
const PROMPT: &str = "a photo of a {}";

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    let tower = |depth| TowerSpec { width: 128, hidden: 512, depth, heads: 4, quick_gelu: true, epsilon: 1e-5 };
    let spec = ClipSpec { projection: 128, image: 48, patch: 8, vision: tower(6), vocabulary: 1500, context: 32, text: tower(3) };
    let preprocess = Preprocess {
        resize: Resize::Shorter { size: 48, filter: Filter::Bicubic },
        size: 48,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_58, 0.275_777_11],
    };
    let images = Images::open(&args.data, true)?;
    let texts = images.all_texts(printer)?;
    let all = texts.iter().flat_map(|texts| texts.captions.iter().chain(&texts.tags)).map(String::as_str);
    let tokenizer = Tokenizer::train(all, spec.vocabulary, spec.context).context("cannot make a vocabulary")?;
    fs_err::create_dir_all(&args.out)?;
    tokenizer.save(&args.out)?;
    let data = CaptionedImages::new(&images, &preprocess, &texts, &tokenizer);
    let validation = args.val.as_ref().map(|reference| Images::open(reference, true)).transpose()?;
    let validation = validation.as_ref().map(|images| {
        let prompts: Result<Vec<Vec<u32>>, _> = images.class_names().iter().map(|name| {
            let tokens = tokenizer.encode(&PROMPT.replace("{}", &name.replace('-', " ")))?;
            Ok::<_, anyhow::Error>(tokens.ids[..=tokens.end].to_vec())
        }).collect();
        Ok::<_, anyhow::Error>((TrainingImages::new(images, &preprocess), prompts?))
    });
    let validation = validation.transpose()?;
    let task = Contrastive {
        spec: &spec,
        preprocess: &preprocess,
        data: &data,
        validation: validation.as_ref().map(|(images, prompts)| (images as _, prompts.as_slice())),
        augment: Augment { pad: (spec.image as u32 / PAD_SHARE) as usize, flip: false },
    };
    let batch = args.batch_size.unwrap_or(128);
    let training = Training {
        fingerprint: images.fingerprint(),
        epochs: args.epochs,
        batch,
        optimiser: Optimiser::AdamW {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: args.weight_decay.unwrap_or(0.1),
        },
        schedule: Schedule { lr: args.lr.unwrap_or(1e-3), warmup: 2 * images.len().div_ceil(batch) / 2 },
        seed: args.seed,
        out: &args.out,
        resume: args.resume,
    };
    let mut watch = Watch::new(printer, images.len(), "zero-shot");
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    let out = trained.weights.display().to_string();
    let result = json!({ "out": out, "recipe": "clip", "epochs": trained.epochs });
    printer.result(&result, || format!("{out}: trained for {} epochs", trained.epochs.len()))?;
    Ok(Status::Done)
}
