//! `knownset eval`: saved scores → the same figures as `bench`.

use std::path::Path;

use anyhow::Context;
use knownset_core::ScoreTable;
use knownset_core::metrics::Metrics;

use super::{Status, judge};
use crate::cli::Eval;
use crate::printer::Printer;
use crate::report::html::{DetectorScores, Report, Scores};
use crate::report::{self, tables};
use crate::results::{IdSummary, Results, Row};

pub(super) fn run(args: &Eval, printer: Printer) -> anyhow::Result<Status> {
    let id = ScoreTable::read(&args.id)?;
    let mut results = Results { id: IdSummary { n: id.scores.len(), accuracy: id.accuracy() }, ..Results::default() };
    let mut oods = Vec::new();
    for (ood, path) in &args.ood {
        let table = ScoreTable::read(Path::new(path))?;
        let metrics = Metrics::new(&id.scores, &table.scores).with_context(|| format!("cannot compare with {path}"))?;
        results.results.push(Row { detector: args.name.clone(), ood: ood.clone(), n: table.scores.len(), metrics });
        oods.push(table.scores);
    }
    if let Some(folder) = &args.out {
        let scores = Scores::from([(args.name.clone(), DetectorScores::of_tables(&id.scores, oods))]);
        let subtitle = format!("recomputed from the saved scores of {}", args.id.display());
        let (results, galleries) = (&results, Vec::new());
        let report = Report { title: "Evaluation", subtitle: &subtitle, results, scores: &scores, galleries };
        report::write(folder, &report)?;
    }
    printer.result(&results, || tables::terminal(&results))?;
    Ok(judge(&results, &args.gate, printer))
}
