//! `knownset synth captions`: images → what a captioner writes of them.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::Ordering;

use knownset_nn::blip2::{Caption as Said, CaptionError, Captioner, Request};
use knownset_nn::extract::{Input, InputSource};
use knownset_nn::generate::{Decoding, GenerateError};
use ndarray::Array4;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::dataset;
use super::lines::{self, Answer, Written};
use crate::checkpoints;
use crate::cli::{CaptionerName, Captions};
use crate::commands::Status;
use crate::images::{Images, Inputs, STOP};
use crate::printer::Printer;

#[derive(Serialize)]
struct Caption {
    caption: String,
    tokens: Vec<u32>,
}

pub(super) fn run(args: &Captions, printer: Printer) -> anyhow::Result<Status> {
    write(args, printer)?.print(printer)
}

pub(super) fn write(args: &Captions, printer: Printer) -> anyhow::Result<Written> {
    let CaptionerName::Blip2 = args.captioner;
    let captioner = checkpoints::open("captioner", &args.weights, Captioner::load)?;
    let settings = json!({
        "stage": "captions", "captioner": "blip2", "network": captioner.sha256(), "prompt": args.prompt,
        "max_tokens": args.max_tokens,
    });
    let images = dataset::open(&args.lines.source.data, args.lines.strict)?;
    lines::write(&args.lines, &images, "captions", &settings, printer, |rows| captions(&captioner, args, &images, rows))
}

/// Captions of a few images.
fn captions(
    captioner: &Captioner,
    args: &Captions,
    images: &Images,
    rows: Range<usize>,
) -> anyhow::Result<Vec<Answer<Caption>>> {
    let inputs = Inputs { images, preprocess: captioner.preprocess() };
    let loaded: Vec<Result<Input, String>> = rows.into_par_iter().map(|row| inputs.load(row)).collect();
    let read: Vec<&Input> = loaded.iter().flatten().collect();
    let said: Vec<Result<Said, String>> = match ask(captioner, args, &read) {
        // One image is too much: what is said of the others does not depend on it.
        Err(CaptionError::Generate(GenerateError::NotFinite(_))) => {
            read.iter().map(|&input| alone(captioner, args, input)).collect::<Result<_, CaptionError>>()?
        }
        said => said?.into_iter().map(Ok).collect(),
    };
    let mut said = said.into_iter();
    let answer = |loaded: Result<Input, String>| match loaded {
        Err(why) => Some(Answer::Unreadable(why)),
        Ok(input) => Some(match said.next()? {
            Err(why) => Answer::Broken(why),
            Ok(Said { text, tokens }) => {
                Answer::Said { said: Caption { caption: text, tokens }, truncated: input.truncated }
            }
        }),
    };
    Ok(loaded.into_iter().filter_map(answer).collect())
}

/// What is said of images.
fn ask(captioner: &Captioner, args: &Captions, inputs: &[&Input]) -> Result<Vec<Said>, CaptionError> {
    let side = captioner.preprocess().size as usize;
    let values: Vec<f32> = inputs.iter().flat_map(|input| &input.values).copied().collect();
    let batch = Array4::from_shape_vec((inputs.len(), 3, side, side), values).expect("inputs of one size");
    let watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let request = Request { prompt: &args.prompt, most: args.max_tokens, decoding: Decoding::Greedy };
    captioner.captions(batch.view(), request, &watch)
}

/// The same of one image; inside, that the network's output is no number.
fn alone(captioner: &Captioner, args: &Captions, input: &Input) -> Result<Result<Said, String>, CaptionError> {
    match ask(captioner, args, &[input]) {
        Err(CaptionError::Generate(why @ GenerateError::NotFinite(_))) => Ok(Err(why.to_string())),
        said => Ok(said?.pop().ok_or_else(|| "nothing was said".to_owned())),
    }
}
