//! `knownset score`: what a fitted detector says of features or images.

use std::path::Path;

use anyhow::Context;
use comfy_table::{Table, presets};
use knownset_core::Features;
use knownset_core::neighbours::Bank;
use knownset_detect::Fitted;
use knownset_nn::LoadedBackbone;
use serde::Serialize;

use super::Status;
use crate::benchmark::score_table;
use crate::cli::{Reading, Score};
use crate::hint::Hint;
use crate::images;
use crate::inputs::Set;
use crate::printer::Printer;
use crate::results::ImageCounts;

/// Training images named per scored image.
const NEAREST: usize = 3;

/// The JSON document.
#[derive(Serialize)]
struct Scored {
    detector: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    scores: Vec<One>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<ImageCounts>,
}

/// What is said of one image.
#[derive(Serialize)]
struct One {
    id: String,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_ood: Option<bool>,
    /// The classifier's answer: a name where names are known, else an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted: Option<String>,
    /// Ids of the nearest training images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<String>,
}

pub(super) fn run(args: &Score, printer: Printer) -> anyhow::Result<Status> {
    let fitted = Fitted::load(&args.detector)?;
    let network = args
        .data
        .as_ref()
        .map(|_| network_of(&fitted, args.weights.as_deref(), args.head.as_deref(), printer))
        .transpose()?;
    let set = open(args.features.as_deref(), args.data.as_deref(), network.as_ref(), &args.reading, printer)?;
    let features = &set.features;
    if let (Some(_), None) = (fitted.origin(), &features.origin) {
        printer.note("note: these features do not say which network made them; only their width could be checked");
    }
    let scores = fitted.score(features)?;
    let train = args.train.as_ref().map(|path| Set::from_file(path, printer)).transpose()?;
    let nearest = train.map(|train| nearest(&train.features, features)).transpose()?;
    if let Some(path) = &args.out {
        let rows: Vec<usize> = (0..scores.len()).collect();
        score_table(features, &rows, &scores).write(path)?;
    }
    let scored = describe(&fitted, features, &scores, nearest, set.counts);
    printer.result(&scored, || table(&scored))?;
    Ok(Status::Done)
}

/// The network a detector was fitted on, from the weights and the head named or from where they were.
pub(super) fn network_of(
    fitted: &Fitted,
    weights: Option<&Path>,
    head: Option<&Path>,
    printer: Printer,
) -> anyhow::Result<LoadedBackbone> {
    let origin = fitted.origin().ok_or_else(|| {
        anyhow::anyhow!("this detector was fitted on features that do not say which network made them")
            .context(Hint("extract features with that network and give them as --features".into()))
    })?;
    let weights = weights.or(origin.weights.as_ref().map(Path::new));
    let head = head.or(origin.head.as_ref().map(Path::new));
    let hint = if head.is_some() {
        "give the places of weights and head with --weights and --head"
    } else {
        "give the weights' place with --weights"
    };
    let loaded =
        images::headed(&origin.backbone, weights, head, printer).map_err(|error| error.context(Hint(hint.into())))?;
    origin.check_same(&loaded.origin).context("these are not the weights the detector was fitted on")?;
    Ok(loaded)
}

/// Features from a file or from images.
pub(super) fn open(
    file: Option<&Path>,
    reference: Option<&str>,
    network: Option<&LoadedBackbone>,
    reading: &Reading,
    printer: Printer,
) -> anyhow::Result<Set> {
    match (file, reference, network) {
        (Some(path), _, _) => Set::from_file(path, printer),
        (None, Some(reference), Some(network)) => Set::from_images("score", reference, network, reading, printer),
        _ => anyhow::bail!("give --features or --data"),
    }
}

fn nearest(train: &Features, features: &Features) -> anyhow::Result<Vec<Vec<String>>> {
    let rows = train.embedding.as_ref().context("the --train features have no `embedding`")?;
    let queries = features.embedding.as_ref().context("these features have no `embedding` to look neighbours up by")?;
    anyhow::ensure!(
        rows.ncols() == queries.ncols(),
        "--train has embeddings of width {}, these features of width {}",
        rows.ncols(),
        queries.ncols()
    );
    let found = Bank::new(rows.view()).nearest(queries.view(), NEAREST);
    Ok(found.into_iter().map(|found| found.iter().map(|neighbour| train.id(neighbour.row)).collect()).collect())
}

fn describe(
    fitted: &Fitted,
    features: &Features,
    scores: &[f64],
    nearest: Option<Vec<Vec<String>>>,
    images: Option<ImageCounts>,
) -> Scored {
    let calibration = fitted.calibration.as_ref();
    let predictions = features.predictions();
    let name = |class: usize| {
        let names = fitted.class_names().or(features.class_names.as_deref());
        names.and_then(|names| names.get(class).cloned()).unwrap_or_else(|| class.to_string())
    };
    let one = |(row, &score): (usize, &f64)| {
        let verdict = calibration.map(|calibration| calibration.verdict(score));
        One {
            id: features.id(row),
            score,
            p_value: verdict.map(|verdict| verdict.p_value),
            is_ood: verdict.map(|verdict| verdict.is_ood),
            predicted: predictions.as_ref().map(|classes| name(classes[row])),
            nearest: nearest.as_ref().map(|nearest| nearest[row].clone()).unwrap_or_default(),
        }
    };
    Scored {
        detector: fitted.info().name,
        threshold: calibration.map(knownset_core::calibration::Calibration::threshold),
        alpha: calibration.map(knownset_core::calibration::Calibration::alpha),
        scores: scores.iter().enumerate().map(one).collect(),
        images,
    }
}

fn table(scored: &Scored) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "score", "p-value", "verdict", "predicted", "nearest"]);
    for one in &scored.scores {
        table.add_row([
            one.id.clone(),
            format!("{:.6}", one.score),
            one.p_value.map(|p| format!("{p:.4}")).unwrap_or_default(),
            one.is_ood.map(|is_ood| if is_ood { "OOD" } else { "known" }).unwrap_or_default().into(),
            one.predicted.clone().unwrap_or_default(),
            one.nearest.join(" "),
        ]);
    }
    table.to_string()
}
