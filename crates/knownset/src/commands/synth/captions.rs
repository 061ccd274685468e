//! `knownset synth captions`: images → what a captioner writes of them.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::Ordering;

use knownset_nn::blip2::{Captioner, Request};
use knownset_nn::extract::InputSource;
use knownset_nn::generate::Decoding;
use ndarray::Array4;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

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
        "stage": "captions", "captioner": "blip2", "weights": captioner.weights_sha256(), "prompt": args.prompt,
        "max_tokens": args.max_tokens,
    });
    lines::write(&args.lines, "captions", &settings, printer, |images, rows| captions(&captioner, args, images, rows))
}

/// Captions of a few images.
fn captions(
    captioner: &Captioner,
    args: &Captions,
    images: &Images,
    rows: Range<usize>,
) -> anyhow::Result<Vec<Answer<Caption>>> {
    let preprocess = captioner.preprocess();
    let inputs = Inputs { images, preprocess };
    let loaded: Vec<Result<Vec<f32>, String>> =
        rows.into_par_iter().map(|row| inputs.load(row).map(|input| input.values)).collect();
    let side = preprocess.size as usize;
    let values: Vec<f32> = loaded.iter().flatten().flatten().copied().collect();
    let batch = Array4::from_shape_vec((loaded.iter().flatten().count(), 3, side, side), values)?;
    let watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let request = Request { prompt: &args.prompt, most: args.max_tokens, decoding: Decoding::Greedy };
    let mut captions = captioner.captions(batch.view(), request, &watch)?.into_iter();
    Ok(loaded
        .into_iter()
        .filter_map(|loaded| match loaded {
            Err(why) => Some(Answer::Unreadable(why)),
            Ok(_) => captions.next().map(|said| Answer::Said(Caption { caption: said.text, tokens: said.tokens })),
        })
        .collect())
}
