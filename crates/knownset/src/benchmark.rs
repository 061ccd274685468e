//! Fit, score, compare: every detector on the same features.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context;
use knownset_core::metrics::Metrics;
use knownset_core::{Features, ScoreTable};
use knownset_detect::{Chosen, FitInput, Fitted, Information, Stream, Streamed};

use crate::images::STOP;
use crate::inputs::Set;
use crate::printer::Printer;
use crate::report::html::{DetectorScores, Scores};
use crate::results::{IdSummary, Results, Row, Skipped};

/// What a benchmark compares.
pub(crate) struct Sets {
    /// The known set.
    pub(crate) train: Set,
    /// Held-out part of it.
    pub(crate) val: Option<Set>,
    /// In-distribution test images.
    pub(crate) id: Set,
    /// Images to refuse, by name.
    pub(crate) ood: Vec<(String, Set)>,
    /// How the ID images and those of a set are mixed for detectors that learn from what they score.
    pub(crate) stream: Stream,
}

/// Figures and the scores behind them.
pub(crate) struct Outcome {
    pub(crate) results: Results,
    pub(crate) scores: Scores,
}

/// Fits every detector and scores every set. A detector that cannot run is skipped with its reason; of `all`, those of
/// other recipes than the network's are left out.
pub(crate) fn run(sets: &Sets, detectors: &[Chosen], printer: Printer) -> anyhow::Result<Outcome> {
    let val = sets.val.as_ref().map(|set| &set.features);
    let input = FitInput::new(&sets.train.features, val).context("the train set cannot be used")?;
    let mut results = Results {
        id: IdSummary { n: sets.id.features.len(), accuracy: sets.id.features.accuracy() },
        images: image_counts(sets),
        ..Results::default()
    };
    let mut scores = Scores::new();
    let detectors: Vec<&Chosen> = detectors.iter().filter(|chosen| chosen.applies(&sets.train.features)).collect();
    let progress = printer.progress("detectors", detectors.len());
    for chosen in detectors {
        anyhow::ensure!(!STOP.load(Ordering::Relaxed), "stopped by Ctrl-C");
        let started = Instant::now();
        let name = chosen.to_string();
        match score_all(chosen, &input, sets) {
            Ok(found) => {
                results.results.extend(rows(chosen, &found, &sets.ood)?);
                results.information.insert(name.clone(), chosen.entry().info.information);
                results.timing.insert(name.clone(), started.elapsed().as_secs_f64());
                scores.insert(name, found);
            }
            Err(error) => results.skipped.push(Skipped { detector: name, why: format!("{error:#}") }),
        }
        progress.advance(1);
    }
    anyhow::ensure!(
        !results.results.is_empty(),
        "no detector could run; {}",
        results
            .skipped
            .iter()
            .map(|skipped| format!("{}: {}", skipped.detector, skipped.why))
            .collect::<Vec<_>>()
            .join("; ")
    );
    Ok(Outcome { results, scores })
}

fn score_all(chosen: &Chosen, input: &FitInput<'_>, sets: &Sets) -> anyhow::Result<DetectorScores> {
    let fitted = Fitted::fit(chosen, input)?;
    let id = &sets.id.features;
    // A row's score depends on other rows only where a detector learns from the stream: else the ID set is scored once.
    let alone = (fitted.info().information != Information::TestStream).then(|| fitted.score(id)).transpose();
    let alone = alone.context("cannot score the ID set")?;
    let against = |(name, set): &(String, Set)| -> anyhow::Result<Streamed> {
        let context = || format!("cannot score the ID set and {name}");
        let Some(alone) = &alone else {
            return fitted.score_against(id, &set.features, &sets.stream).with_context(context);
        };
        let (id_rows, ood_rows) = sets.stream.rows(id.len(), set.features.len());
        let scores = fitted.score(&set.features).with_context(context)?;
        let pick = |scores: &[f64], rows: &[usize]| rows.iter().map(|&row| scores[row]).collect();
        Ok(Streamed { id: pick(alone, &id_rows), ood: pick(&scores, &ood_rows), id_rows, ood_rows })
    };
    Ok(DetectorScores { against: sets.ood.iter().map(against).collect::<anyhow::Result<_>>()? })
}

fn rows(chosen: &Chosen, scores: &DetectorScores, ood: &[(String, Set)]) -> anyhow::Result<Vec<Row>> {
    let compare = |((name, _), scores): (&(String, Set), &Streamed)| {
        let metrics = Metrics::new(&scores.id, &scores.ood).with_context(|| format!("{chosen} on {name}"))?;
        Ok(Row { detector: chosen.to_string(), ood: name.clone(), n: scores.ood.len(), metrics })
    };
    ood.iter().zip(&scores.against).map(compare).collect()
}

fn image_counts(sets: &Sets) -> BTreeMap<String, crate::results::ImageCounts> {
    let mut all = vec![("train", &sets.train), ("id", &sets.id)];
    all.extend(sets.val.iter().map(|set| ("val", set)));
    all.extend(sets.ood.iter().map(|(name, set)| (name.as_str(), set)));
    all.into_iter().filter_map(|(name, set)| Some((name.to_owned(), set.counts.clone()?))).collect()
}

/// One detector's scores of a set, to be saved.
pub(crate) fn score_table(features: &Features, rows: &[usize], scores: &[f64]) -> ScoreTable {
    let predictions = features.predictions();
    ScoreTable {
        ids: if features.ids.is_empty() {
            Vec::new()
        } else {
            rows.iter().map(|&row| features.ids[row].clone()).collect()
        },
        scores: scores.to_vec(),
        predictions: predictions.map(|classes| rows.iter().map(|&row| classes[row] as i64).collect()),
        labels: features.labels.as_ref().map(|labels| rows.iter().map(|&row| labels[row]).collect()),
    }
}
