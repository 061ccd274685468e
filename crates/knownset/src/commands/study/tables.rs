//! A study's tables, in percent, for a terminal and in Markdown.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use knownset_core::Interval;

use super::plan::Plan;
use super::summary::{Figures, Run, Summary};

/// What the figures are.
const CAPTION: &str = "Percent. Mean over seeds ± standard deviation (n − 1). Gains are differences from the baseline, \
    seed by seed, with their 95 % confidence interval by Student's t; a star marks those that exclude 0. Figures of a \
    group are means over its sets; those of a run are means over all detectors that every run has.";

pub(super) fn terminal(plan: &Plan, summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header(plan)).add_rows(summary.runs.iter().map(|run| row(plan, run)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n\n{CAPTION}")
}

pub(super) fn markdown(plan: &Plan, summary: &Summary) -> String {
    let mut text = String::new();
    let rows: Vec<Vec<String>> = summary.runs.iter().map(|run| row(plan, run)).collect();
    write_table(&mut text, &header(plan), &rows);
    let _ = write!(text, "\n{CAPTION}\n");
    for group in plan.ood.keys() {
        let _ = write!(text, "\n## AUROC by detector: {group}\n\n");
        let mut header = vec!["detector".to_owned()];
        header.extend(summary.runs.iter().map(|run| run.name.clone()));
        write_table(&mut text, &header, &detector_rows(summary, group));
    }
    text
}

fn header(plan: &Plan) -> Vec<String> {
    let mut header = vec!["run".to_owned(), "accuracy".to_owned(), "gain".to_owned()];
    for group in plan.ood.keys() {
        header.extend([format!("{group} AUROC"), "gain".to_owned(), format!("{group} best")]);
    }
    header
}

fn row(plan: &Plan, run: &Run) -> Vec<String> {
    let mut cells = vec![run.name.clone(), spread(run.accuracy.as_ref()), gain(run.accuracy_gain.as_ref())];
    for group in plan.ood.keys() {
        let mean = run.mean.get(group);
        cells.push(spread(mean.map(|figures| &figures.auroc)));
        cells.push(gain(mean.and_then(|figures| figures.auroc_gain.as_ref())));
        cells.push(best(run, group).unwrap_or_default());
    }
    cells
}

/// The detector with the highest mean AUROC on a group, and its figure.
fn best(run: &Run, group: &str) -> Option<String> {
    let all = run.detectors.iter().filter_map(|(name, groups)| Some((groups.get(group)?.auroc.mean, name)));
    let (auroc, name) = all.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!("{name} {}", percent(auroc)))
}

/// One row per detector, best on the baseline first; the best run of each in bold.
fn detector_rows(summary: &Summary, group: &str) -> Vec<Vec<String>> {
    let mut names: Vec<&String> = summary.runs.iter().flat_map(|run| run.detectors.keys()).collect();
    names.sort();
    names.dedup();
    let figures = |run: &'_ Run, name: &String| -> Option<(f64, Option<Interval>)> {
        let Figures { auroc, auroc_gain, .. } = run.detectors.get(name)?.get(group)?;
        Some((auroc.mean, *auroc_gain))
    };
    let first = |name: &String| summary.runs.first().and_then(|run| figures(run, name)).map_or(-1.0, |found| found.0);
    names.sort_by(|a, b| first(b).total_cmp(&first(a)));
    let rows = names.into_iter().map(|name| {
        let found: Vec<_> = summary.runs.iter().map(|run| figures(run, name)).collect();
        let best = found.iter().flatten().map(|found| found.0).fold(f64::NEG_INFINITY, f64::max);
        let cell = |found: &Option<(f64, Option<Interval>)>| {
            let Some((auroc, gain)) = found else { return String::new() };
            let text = if *auroc == best { format!("**{}**", percent(*auroc)) } else { percent(*auroc) };
            if gain.is_some_and(|gain| gain.excludes_zero()) { text + "*" } else { text }
        };
        std::iter::once(name.clone()).chain(found.iter().map(cell)).collect()
    });
    rows.collect()
}

fn write_table(text: &mut String, header: &[String], rows: &[Vec<String>]) {
    let _ = writeln!(text, "| {} |\n|{}", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

fn spread(interval: Option<&Interval>) -> String {
    interval.map_or(String::new(), |found| format!("{} ± {}", percent(found.mean), percent(found.std)))
}

fn gain(interval: Option<&Interval>) -> String {
    interval.map_or(String::new(), |found| {
        let star = if found.excludes_zero() { "*" } else { "" };
        let [low, high] = found.ci95.map(|end| 100.0 * end);
        // A single seed says nothing about its spread.
        let range = if found.n > 1 { format!(" [{low:+.2}, {high:+.2}]") } else { String::new() };
        format!("{:+.2}{range}{star}", 100.0 * found.mean)
    })
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}
