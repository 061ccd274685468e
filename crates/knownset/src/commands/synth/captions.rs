//! `knownset synth captions`: images → what a captioner writes of them.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::Ordering;

use knownset_nn::blip2::{Caption as Said, CaptionError, Captioner, Request};
use knownset_nn::extract::{Input, InputSource};
use knownset_nn::generate::{Decoding, GenerateError};
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
        "stage": "captions", "captioner": "blip2", "weights": captioner.sha256(), "prompt": args.prompt,
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
    let loaded: Vec<Result<Input, String>> = rows.clone().into_par_iter().map(|row| inputs.load(row)).collect();
    let side = preprocess.size as usize;
    let watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let mut silent = HashMap::new();
    let mut said = loop {
        let read = rows.clone().zip(&loaded).filter_map(|(row, input)| Some((row, input.as_ref().ok()?)));
        let asked: Vec<(usize, &Input)> = read.filter(|(row, _)| !silent.contains_key(row)).collect();
        let values: Vec<f32> = asked.iter().flat_map(|(_, input)| &input.values).copied().collect();
        let batch = Array4::from_shape_vec((asked.len(), 3, side, side), values)?;
        let request = Request { prompt: &args.prompt, most: args.max_tokens, decoding: Decoding::Greedy };
        match captioner.captions(batch.view(), request, &watch) {
            // The others are asked about again: what is said of an image does not depend on those beside it.
            Err(CaptionError::Generate(GenerateError::NotFinite(text))) => {
                let row = asked[text].0;
                silent.insert(row, format!("{}: the captioner's output is not finite", images.id(row)));
            }
            said => break said?.into_iter(),
        }
    };
    let answer = |(row, loaded): (usize, Result<Input, String>)| match (loaded, silent.remove(&row)) {
        (Err(why), _) => Some(Answer::Unreadable(why)),
        (Ok(_), Some(why)) => Some(Answer::Silent(why)),
        (Ok(input), None) => {
            let Said { text, tokens } = said.next()?;
            Some(Answer::Said { said: Caption { caption: text, tokens }, truncated: input.truncated })
        }
    };
    Ok(rows.clone().zip(loaded).filter_map(answer).collect())
}
