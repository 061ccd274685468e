//! What was found out, for a terminal and as a page.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use knownset_core::{Distribution, write_atomically};
use minijinja::{Value, context};

use super::mechanisms::{Cosines, Mechanisms};
use super::modalities::Modality;
use super::sensitivity::{Sensitivity, Side, Summary};
use super::wordings::Group;
use super::{Figures, Findings, Kind, SetRecord};
use crate::report::html::{environment, percent};
use crate::report::{charts, svg};
use crate::results::Skipped;

/// Sets that have a colour on the page.
const COLOURS: usize = 9;
const SIDES: [(Side, &str); 3] = [(Side::Both, "all"), (Side::Id, "known"), (Side::Ood, "unknown")];

/// Writes `probe.json` and `report.html`.
pub(super) fn write(folder: &Path, findings: &Findings, cosines: Option<&Cosines>) -> anyhow::Result<()> {
    let files = [("probe.json", serde_json::to_string_pretty(findings)?), ("report.html", page(findings, cosines)?)];
    for (name, text) in files {
        let path = folder.join(name);
        write_atomically(&path, |out| out.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A table as header and rows, for both outputs.
struct Grid {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    fn new(title: impl Into<String>, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self { title: title.into(), header: header.iter().map(ToString::to_string).collect(), rows }
    }

    fn terminal(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(&self.header).add_rows(&self.rows);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{}\n{table}\n", self.title)
    }

    fn context(&self) -> Value {
        context! { title => self.title.as_str(), header => self.header.clone(), rows => self.rows.clone() }
    }
}

/// For people.
pub(super) fn terminal(findings: &Findings) -> String {
    let grids = grids(findings);
    let mut text = String::new();
    for grid in grids {
        let _ = writeln!(text, "{}", grid.terminal());
    }
    let _ =
        write!(text, "AUROC and FPR95 in percent, means over sets; changes in points. s: cosines of images and words.");
    text
}

fn grids(findings: &Findings) -> Vec<Grid> {
    let mut grids = Vec::new();
    grids.extend(findings.mechanisms.iter().flat_map(mechanisms));
    grids.extend(findings.modalities.iter().flatten().map(modality));
    grids.extend(findings.sensitivity.iter().map(sensitivity));
    grids
}

fn mechanisms(found: &Mechanisms) -> Vec<Grid> {
    let alignment = &found.alignment;
    let told = |value: Option<f64>, show: fn(f64) -> String| value.map_or("–".into(), show);
    let title = format!(
        "Alignment: {} % of known images are nearest to their own class; Spearman of max s with being right {}",
        told(alignment.accuracy, percent),
        told(alignment.spearman, |value| format!("{value:.3}"))
    );
    let header = ["", "n", "mean", "std", "5 %", "median", "95 %"];
    let mut grids = vec![Grid::new(
        title,
        &header,
        vec![row("max s, right", alignment.right.as_ref()), row("max s, wrong", alignment.wrong.as_ref())],
    )];
    let nearness = &found.relative_nearness;
    let mut rows = vec![row("id", nearness.id.as_ref())];
    rows[0].push(String::new());
    for set in &nearness.ood {
        let mut cells = row(&set.name, set.m.as_ref());
        cells.push(percent(set.figures.auroc));
        rows.push(cells);
    }
    let title = format!("Relative nearness: m = max s to classes − max s to {} negative words", nearness.negatives);
    grids.push(Grid::new(title, &["", "n", "mean", "std", "5 %", "median", "95 %", "AUROC"], rows));
    let separation = &found.prompt_separation;
    grids.push(Grid::new(
        "Separation of prompts: cosines of texts",
        &header,
        vec![
            row("class with class", separation.between_classes.as_ref()),
            row("class with negative", separation.to_negatives.as_ref()),
            row("class with its nearest negative", separation.to_nearest_negative.as_ref()),
        ],
    ));
    grids
}

fn row(name: &str, found: Option<&Distribution>) -> Vec<String> {
    let Some(found) = found else { return vec![name.into(), "0".into()] };
    let numbers = [found.mean, found.std, found.q05, found.median, found.q95].map(|value| format!("{value:.4}"));
    [name.to_owned(), found.n.to_string()].into_iter().chain(numbers).collect()
}

fn modality(found: &Modality) -> Grid {
    let accuracy = found.accuracy.map(|value| format!(", accuracy {} %", percent(value))).unwrap_or_default();
    let penalty = found.l2.map(|l2| format!(", L2 {l2:e}")).unwrap_or_default();
    let cells = |name: &str, information: String, near: Option<Figures>, far: Option<Figures>| {
        let part = |figures: Option<Figures>| match figures {
            Some(figures) => [percent(figures.auroc), percent(figures.fpr95)],
            None => ["–".to_owned(), "–".to_owned()],
        };
        [name.to_owned(), information].into_iter().chain(part(near)).chain(part(far)).collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> =
        found.detectors.iter().map(|line| cells(&line.detector, told(line.information), line.near, line.far)).collect();
    rows.push(cells("median", String::new(), found.near.median, found.far.median));
    let title = format!("{} ({}{accuracy}{penalty})", found.name, found.backbone);
    let header = ["detector", "told", "near AUROC", "near FPR95", "far AUROC", "far FPR95"];
    Grid::new(title, &header, rows)
}

/// The name of what a detector was told, as JSON has it.
fn told(information: knownset_detect::Information) -> String {
    serde_json::to_value(information).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn sensitivity(found: &Sensitivity) -> Grid {
    let spread = |found: Option<&Distribution>| match found {
        Some(found) => [found.min, found.mean, found.max, found.std].map(percent).to_vec(),
        None => vec!["–".to_owned(); 4],
    };
    let mut rows = Vec::new();
    for summary in &found.summary {
        for group in Group::ALL {
            let count = found.prompts.iter().filter(|prompt| prompt.group == group).count();
            let what = format!("{}: {count} wordings, {}", summary.detector, group.name());
            rows.push(
                std::iter::once(what).chain(spread(summary.prompts.get(&group))).chain([String::new()]).collect(),
            );
        }
        for (side, name) in SIDES {
            let what = format!("{}: {name} images corrupted", summary.detector);
            let index = summary.asymmetry.get(side).map_or("–".into(), |index| format!("{index:.2}"));
            rows.push(
                std::iter::once(what).chain(spread(summary.corruptions.get(side).as_ref())).chain([index]).collect(),
            );
        }
    }
    let clean = |summary: &Summary| format!("{} {}", summary.detector, percent(summary.clean.auroc));
    let clean = found.summary.iter().map(clean).collect::<Vec<_>>().join(", ");
    let title = format!("Sensitivity: AUROC over wordings and over corruptions; clean {clean}");
    Grid::new(title, &["", "min", "mean", "max", "std", "asymmetry"], rows)
}

/// The self-contained page.
fn page(findings: &Findings, cosines: Option<&Cosines>) -> anyhow::Result<String> {
    let environment = environment("probe.html", include_str!("probe.html.jinja"))?;
    let sets: Vec<String> = findings.sets.iter().take(COLOURS).map(|set| set.name.clone()).collect();
    Ok(environment.get_template("probe.html")?.render(context! {
        title => "Probe of a model that reads words",
        subtitle => format!("{}, {} classes in words", findings.backbone, findings.known.classes.len()),
        sets,
        records => findings.sets.iter().map(record).collect::<Vec<_>>(),
        mechanisms => findings.mechanisms.as_ref().map(|found| context! {
            grids => mechanisms(found).iter().map(Grid::context).collect::<Vec<_>>(),
            plots => cosines.map(plots),
        }),
        modalities => findings.modalities.as_ref().map(|found| context! {
            bars => Value::from_safe_string(bars(found)),
            grids => found.iter().map(|one| context! {
                table => modality(one).context(),
                skipped => one.skipped.iter().map(skipped).collect::<Vec<_>>(),
            }).collect::<Vec<_>>(),
        }),
        sensitivity => findings.sensitivity.as_ref().map(|found| context! {
            table => sensitivity(found).context(),
            detectors => (0..found.summary.len()).map(|index| detector(found, index)).collect::<Vec<_>>(),
        }),
        version => env!("CARGO_PKG_VERSION"),
    })?)
}

fn record(set: &SetRecord) -> Value {
    let kind = match set.kind {
        Kind::Id => "known",
        Kind::Near => "near",
        Kind::Far => "far",
    };
    context! { name => set.name.as_str(), kind, reference => set.reference.as_str(), images => set.images }
}

fn skipped(skipped: &Skipped) -> Value {
    context! { detector => skipped.detector.as_str(), why => skipped.why.as_str() }
}

fn plots(cosines: &Cosines) -> Vec<Value> {
    let plot = |title: &str, keys: &[&str], sets: &[&[f64]], label: &str| {
        let svg = Value::from_safe_string(svg::densities(sets, label, "share"));
        context! { title, keys => keys.iter().map(ToString::to_string).collect::<Vec<_>>(), svg }
    };
    let nearness: Vec<&[f64]> = cosines.nearness.iter().take(COLOURS).map(Vec::as_slice).collect();
    vec![
        plot("Alignment", &["right", "wrong"], &[&cosines.right, &cosines.wrong], "largest cosine with a class"),
        plot("Relative nearness", &[], &nearness, "m, higher = nearer to the classes"),
        plot(
            "Separation of prompts",
            &["class with class", "class with negative", "class with its nearest negative"],
            &[&cosines.between_classes, &cosines.to_negatives, &cosines.to_nearest_negative],
            "cosine of two texts",
        ),
    ]
}

/// Best and median AUROC of every modality, near and far.
fn bars(modalities: &[Modality]) -> String {
    let auroc = |figures: Option<Figures>| figures.map(|figures| figures.auroc);
    let group = |modality: &'_ Modality| {
        let (near, far) = (&modality.near, &modality.far);
        vec![auroc(near.best_figures), auroc(near.median), auroc(far.best_figures), auroc(far.median)]
    };
    let groups: Vec<(&str, Vec<Option<f64>>)> = modalities.iter().map(|one| (one.name, group(one))).collect();
    charts::grouped_bars(&groups, "AUROC, %")
}

/// Maps and strips of one detector.
fn detector(found: &Sensitivity, index: usize) -> Value {
    let mut severities: Vec<u8> = found.corruptions.iter().map(|cell| cell.severity).collect();
    severities.sort_unstable();
    severities.dedup();
    let mut kinds: Vec<&str> = found.corruptions.iter().map(|cell| cell.kind).collect();
    kinds.dedup();
    let map = |side: Side| {
        let cell = |kind: &str, severity: u8| {
            let cell = found.corruptions.iter().find(|cell| cell.kind == kind && cell.severity == severity)?;
            Some(cell.change[index].get(side).auroc)
        };
        let rows: Vec<_> = kinds
            .iter()
            .map(|&kind| (kind.to_owned(), severities.iter().map(|&severity| cell(kind, severity)).collect()))
            .collect();
        charts::heat_map(&severities.iter().map(ToString::to_string).collect::<Vec<_>>(), &rows)
    };
    let summary = &found.summary[index];
    let mut strips: Vec<(String, Vec<f64>)> = Vec::new();
    for prompt in &found.prompts {
        let auroc = prompt.figures[index].auroc;
        let name = if prompt.seed.is_none() { &prompt.template } else { prompt.group.name() };
        match strips.last_mut().filter(|(last, _)| prompt.seed.is_some() && last == name) {
            Some((_, values)) => values.push(auroc),
            None => strips.push((name.to_owned(), vec![auroc])),
        }
    }
    for (side, name) in SIDES {
        let all = found.corruptions.iter().map(|cell| summary.clean.auroc + cell.change[index].get(side).auroc);
        strips.push((format!("{name} images corrupted"), all.collect()));
    }
    context! {
        name => summary.detector.as_str(),
        clean => percent(summary.clean.auroc),
        maps => SIDES.map(|(side, name)| context! { name, svg => Value::from_safe_string(map(side)) }).to_vec(),
        strip => Value::from_safe_string(charts::strip(&strips, Some(summary.clean.auroc))),
    }
}
