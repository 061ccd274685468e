//! Images with captions → a captioner, in a folder that `knownset synth captions` and transformers open.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::Preprocess;
use knownset_data::Texts;
use knownset_nn::Weights;
use knownset_nn::blip2::{Captioner, CaptionerDesign, Request};
use knownset_nn::extract::InputSource;
use knownset_nn::tokenizer::{LanguageTokenizer, TokenizerError};
use knownset_train::{Augment, Captioning, Described, Pictures, Writing};
use ndarray::Array4;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::{Watch, fingerprint, unused};
use crate::cli::{OptimiserName, Train};
use crate::commands::Status;
use crate::images::{Images, Inputs, STOP, TrainingImages};
use crate::printer::Printer;

/// Most tokens of the vocabulary: the bytes, and what the captions are made of.
const VOCABULARY: usize = 768;
/// Share of the run that is warm-up.
const WARMUP: f64 = 1.0 / 20.0;
/// Held-out images that are looked at.
const HELD_OUT: usize = 500;
/// Images captioned at a time.
const BATCH: usize = 64;

pub(super) fn run(args: &Train, printer: Printer) -> anyhow::Result<Status> {
    let writing = Writing::parse(&args.recipe)?;
    let flags = [
        ("--backbone", args.backbone.is_some()),
        ("--synthetic", args.synthetic.is_some()),
        ("--outliers", !args.outliers.is_empty()),
    ];
    unused("captioner", &flags)?;
    let images = Images::open(&args.data, true)?;
    let texts = images.all_texts(printer)?;
    let all = texts.iter().flat_map(|texts| &texts.captions).map(String::as_str);
    let tokenizer = LanguageTokenizer::train(all, VOCABULARY).context("cannot make a vocabulary")?;
    let design = match &args.towers {
        Some(folder) => CaptionerDesign::open(folder, &tokenizer)?,
        None => CaptionerDesign::sprite(&tokenizer)?,
    };
    let preprocess = &design.preprocess;
    let data = Captions::new(&images, preprocess, &texts, &tokenizer).with_context(|| args.data.clone())?;
    let held_out = args.val.as_ref().map(|reference| anyhow::Ok(Images::open(reference, true)?.at_most(HELD_OUT)));
    let held_out = held_out.transpose()?;
    let held_out_texts = held_out.as_ref().map(|images| images.all_texts(printer)).transpose()?.unwrap_or_default();
    let validation =
        held_out.as_ref().map(|images| Captions::new(images, preprocess, &held_out_texts, &tokenizer)).transpose()?;
    // A picture that is moved or turned may have another caption.
    let augment: Augment = match &args.augment {
        Some(text) => text.parse().context("--augment cannot be followed")?,
        None => Augment::default(),
    };
    fs_err::create_dir_all(&args.out)?;
    let task = Captioning {
        spec: &design.spec,
        preprocess,
        begin: tokenizer.begin().context("the vocabulary has no start token")?,
        writing,
        data: &data,
        validation: validation.as_ref().map(|captions| captions as _),
        augment: &augment,
    };
    let training =
        args.training(fingerprint(args, images.fingerprint())?, images.len(), OptimiserName::Adamw, WARMUP)?;
    let mut watch = Watch::new(printer, images.len(), "exact captions");
    let trained = task.train(&training, &mut |event| watch.see(&event))?;
    drop(watch);
    // Behind the training, which refuses a folder with another run's checkpoint.
    design.save(&args.out, &tokenizer)?;
    let weights = CaptionerDesign::save_weights(&args.out, &Weights::open(&trained.weights)?)?;

    let captioner = Captioner::load(&args.out)?;
    let figures = held_out.as_ref().map(|images| figures(&captioner, images, &held_out_texts, printer)).transpose()?;
    let out = weights.display().to_string();
    let result = json!({
        "out": out, "recipe": args.recipe, "kept": trained.kept, "epochs": trained.epochs, "held_out": figures,
    });
    printer.result(&result, || {
        let told = figures.as_ref().map(|Figures { images, exact_match, named }| {
            let named = named.map(|share| format!(", {:.2} % name the object", 100.0 * share)).unwrap_or_default();
            format!("; of {images} held-out captions {:.2} % are exact{named}", 100.0 * exact_match)
        });
        format!("{out}: trained for {} epochs{}", trained.epochs.len(), told.unwrap_or_default())
    })?;
    Ok(Status::Done)
}

/// The images of a set with their captions as tokens.
struct Captions<'a> {
    pictures: TrainingImages<'a>,
    tokens: Vec<Vec<Vec<u32>>>,
}

impl<'a> Captions<'a> {
    /// `texts` belong to the images, row by row.
    fn new(
        images: &'a Images,
        preprocess: &Preprocess,
        texts: &[Texts],
        tokenizer: &LanguageTokenizer,
    ) -> anyhow::Result<Self> {
        let silent = texts.iter().position(|texts| texts.captions.is_empty());
        if let Some(row) = silent {
            anyhow::bail!("there is no caption of {}", images.id(row));
        }
        let tokens = |texts: &Texts| texts.captions.iter().map(|caption| tokenizer.encode(caption)).collect();
        let tokens: Result<_, TokenizerError> = texts.par_iter().map(tokens).collect();
        Ok(Self { pictures: TrainingImages::all(images, preprocess), tokens: tokens? })
    }
}

impl Pictures for Captions<'_> {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        self.pictures.picture(index)
    }
}

impl Described for Captions<'_> {
    fn captions(&self, index: usize) -> &[Vec<u32>] {
        &self.tokens[index]
    }
}

/// How a captioner as it is given away does on images it was not trained on.
#[derive(Debug, Serialize)]
struct Figures {
    images: usize,
    /// Share of the captions that are, letter by letter, one of the image's.
    exact_match: f64,
    /// Share of those that hold a name of their own of what the image shows, of images where that is known.
    named: Option<f64>,
}

fn figures(captioner: &Captioner, images: &Images, texts: &[Texts], printer: Printer) -> anyhow::Result<Figures> {
    let inputs = Inputs { images, preprocess: captioner.preprocess() };
    let side = captioner.preprocess().size as usize;
    let watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let positions = captioner.spec().text.positions;
    let most = positions - captioner.spec().queries.min(positions - 1);
    let progress = printer.progress("captions", images.len());
    let (mut exact, mut named, mut known) = (0, 0, 0);
    for start in (0..images.len()).step_by(BATCH) {
        let rows = start..(start + BATCH).min(images.len());
        let load = |row: usize| inputs.load(row).map(|input| input.values);
        let values: Result<Vec<Vec<f32>>, String> = rows.clone().into_par_iter().map(load).collect();
        let batch = Array4::from_shape_vec((rows.len(), 3, side, side), values.map_err(anyhow::Error::msg)?.concat())?;
        let request = Request { most, ..Request::default() };
        for (row, said) in rows.clone().zip(captioner.captions(batch.view(), request, &watch)?) {
            exact += usize::from(texts[row].captions.contains(&said.text));
            let objects = images.objects(row);
            known += usize::from(!objects.is_empty());
            let own = objects.iter().filter_map(|object| object.names.last());
            named += usize::from(own.into_iter().any(|name| said.text.contains(name.as_str())));
        }
        progress.advance(rows.len());
    }
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let exact_match = share(exact, images.len().max(1));
    Ok(Figures { images: images.len(), exact_match, named: (known > 0).then(|| share(named, known)) })
}
