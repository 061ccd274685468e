//! `knownset synth boxes`: images → where a detector sees what a prompt names.

use std::ops::Range;

use anyhow::Context;
use knownset_data::preprocess_scaled;
use knownset_nn::grounding::{Grounding, Thresholds};
use ndarray::Array3;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::lines::{self, Answer};
use crate::cli::{Boxes, GroundingName};
use crate::commands::Status;
use crate::images::Images;
use crate::printer::Printer;

#[derive(Serialize, Default)]
struct Found {
    /// Left, top, right and bottom in pixels.
    boxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
    phrases: Vec<String>,
}

pub(super) fn run(args: &Boxes, printer: Printer) -> anyhow::Result<Status> {
    let GroundingName::GroundingDino = args.grounding;
    let folder = args.weights.display();
    let network = Grounding::load(&args.weights).with_context(|| format!("cannot load the detector in {folder}"))?;
    let thresholds = Thresholds { score: args.box_threshold, text: args.text_threshold };
    let settings = json!({
        "stage": "boxes", "grounding": "grounding-dino", "weights": network.weights_sha256(), "prompt": args.prompt,
        "box_threshold": args.box_threshold, "text_threshold": args.text_threshold,
    });
    lines::write(&args.lines, "boxes", &settings, printer, |images, rows| {
        boxes(&network, &args.prompt, thresholds, images, rows)
    })
}

/// What is found in a few images.
fn boxes(
    network: &Grounding,
    prompt: &str,
    thresholds: Thresholds,
    images: &Images,
    rows: Range<usize>,
) -> anyhow::Result<Vec<Answer<Found>>> {
    let one = |row: usize| -> anyhow::Result<Answer<Found>> {
        let image = match images.decoded(row) {
            Ok(decoded) => decoded.image,
            Err(why) => return Ok(Answer::Unreadable(why.to_string())),
        };
        let (values, shape) = preprocess_scaled(&image, network.preprocess());
        let input = Array3::from_shape_vec(shape, values)?;
        let found = network.detect(input.view(), image.dimensions(), prompt, thresholds);
        let mut all = Found::default();
        for found in found.with_context(|| format!("in {}", images.id(row)))? {
            all.boxes.push(found.corners);
            all.scores.push(found.score);
            all.phrases.push(found.phrase);
        }
        Ok(Answer::Said(all))
    };
    rows.into_par_iter().map(one).collect()
}
