//! `knownset synth boxes`: images → where a detector sees what a prompt names.

use std::ops::Range;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_data::preprocess_scaled;
use knownset_data::words::spoken;
use knownset_nn::grounding::{Grounding, GroundingError, Thresholds};
use ndarray::Array3;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::dataset;
use super::lines::{self, Answer, Written};
use crate::checkpoints;
use crate::cli::{BoxThresholds, Boxes, GroundingName};
use crate::commands::Status;
use crate::images::{Images, STOP};
use crate::printer::Printer;

#[derive(Serialize, Default)]
struct Found {
    /// Left, top, right and bottom in pixels.
    boxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
    phrases: Vec<String>,
}

pub(super) fn run(args: &Boxes, printer: Printer) -> anyhow::Result<Status> {
    write(args, printer)?.print(printer)
}

pub(super) fn write(args: &Boxes, printer: Printer) -> anyhow::Result<Written> {
    let GroundingName::GroundingDino = args.grounding;
    let network = checkpoints::open("detector", &args.weights, Grounding::load)?;
    let BoxThresholds { box_threshold, text_threshold } = args.thresholds;
    let thresholds = Thresholds { score: box_threshold, text: text_threshold };
    let settings = json!({
        "stage": "boxes", "grounding": "grounding-dino", "network": network.sha256(), "prompt": args.prompt,
        "box_threshold": box_threshold, "text_threshold": text_threshold,
    });
    let images = dataset::open(&args.lines.source.data, args.lines.strict)?;
    let named = args.prompt.is_some() || !images.class_names().is_empty();
    anyhow::ensure!(named, "{} has no classes to look for; give --prompt", args.lines.source.data);
    lines::write(&args.lines, &images, "boxes", &settings, printer, |rows| {
        boxes(&network, args.prompt.as_deref(), thresholds, &images, rows)
    })
}

/// What is found in a few images.
fn boxes(
    network: &Grounding,
    prompt: Option<&str>,
    thresholds: Thresholds,
    images: &Images,
    rows: Range<usize>,
) -> anyhow::Result<Vec<Answer<Found>>> {
    let one = |row: usize| -> anyhow::Result<Answer<Found>> {
        anyhow::ensure!(!STOP.load(Ordering::Relaxed), "stopped");
        let (image, truncated) = match images.decoded(row) {
            Ok(decoded) => (decoded.image, decoded.truncated),
            Err(why) => return Ok(Answer::Unreadable(why.to_string())),
        };
        let Some(prompt) = prompt.map(str::to_owned).or_else(|| own_class(images, row)) else {
            return Ok(Answer::Silent(format!("{} has no class to look for", images.id(row))));
        };
        let (values, shape) = preprocess_scaled(&image, network.preprocess());
        let input = Array3::from_shape_vec(shape, values)?;
        let found = match network.detect(input.view(), image.dimensions(), &prompt, thresholds) {
            Err(why @ GroundingError::NotFinite) => return Ok(Answer::Broken(why.to_string())),
            found => found.with_context(|| format!("in {}", images.id(row)))?,
        };
        let mut all = Found::default();
        for found in found {
            all.boxes.push(found.corners);
            all.scores.push(found.score);
            all.phrases.push(found.phrase);
        }
        Ok(Answer::Said { said: all, truncated })
    };
    rows.into_par_iter().map(one).collect()
}

/// The prompt that is an image's own class, as it is spoken.
fn own_class(images: &Images, row: usize) -> Option<String> {
    let label = usize::try_from(images.label(row)).ok()?;
    Some(format!("{} .", spoken(images.class_names().get(label)?).to_lowercase()))
}
