//! `knownset detectors|backbones|datasets|recipes`: what there is, from the registries.

use std::fmt::Write;

use comfy_table::{Table, presets};
use knownset_data::DATASETS;
use knownset_detect::DETECTORS;
use knownset_nn::BACKBONES;
use knownset_train::{Outliers, RECIPES};
use serde_json::{Value, json};

use super::Status;
use crate::cli::List;
use crate::printer::Printer;
use crate::report::tables;

pub(super) fn detectors(args: &List, printer: Printer) -> anyhow::Result<Status> {
    if let Some(name) = &args.name {
        let info = &knownset_detect::find(name)?.info;
        printer.result(info, || {
            let mut text =
                format!("{} ({}, {})\n{}\n\nscore  {}\n", info.name, info.title, info.year, info.paper, info.formula);
            let _ = writeln!(text, "reads  {}\nknows  {}", needs(info), tables::knows(Some(info.information)));
            if let Some(recipe) = info.needs.recipe {
                let _ = writeln!(text, "for    networks trained with --recipe {recipe}");
            }
            for param in info.params {
                let _ = writeln!(text, "\n{}: {}", param.name, param.doc);
            }
            text
        })?;
        return Ok(Status::Done);
    }
    let infos: Vec<_> = DETECTORS.iter().map(|entry| &entry.info).collect();
    printer.result(&infos, || {
        let rows = infos.iter().map(|info| {
            let knows = tables::knows(Some(info.information)).to_owned();
            [info.name.into(), info.year.to_string(), knows, needs(info), info.formula.into()]
        });
        table(["name", "year", "knows", "reads", "score (higher = more in-distribution)"], rows)
    })?;
    Ok(Status::Done)
}

fn needs(info: &knownset_detect::Info) -> String {
    let needs = info.needs;
    let arrays = [
        ("logits", needs.logits),
        ("embedding", needs.embedding),
        ("head", needs.head),
        ("labels", needs.labels),
        ("patches", needs.patches),
        ("rotations", needs.rotations),
    ];
    let images = arrays.iter().filter(|(_, needed)| *needed).map(|(name, _)| (*name).to_owned());
    let parts = needs.parts.iter().map(|name| format!("parts.{name}"));
    let words = needs.prompts.iter().map(|name| format!("prompts.{name}"));
    images.chain(parts).chain(words).collect::<Vec<_>>().join(", ")
}

pub(super) fn backbones(args: &List, printer: Printer) -> anyhow::Result<Status> {
    let describe = |entry: &knownset_nn::BackboneEntry| {
        json!({
            "name": entry.name,
            "doc": entry.doc,
            "paper": entry.paper,
            "preprocess": entry.preprocess,
            "bundled_weights": knownset_nn::is_bundled(entry.name),
        })
    };
    if let Some(name) = &args.name {
        let value = describe(knownset_nn::find(name)?);
        printer.result(&value, || pretty(&value))?;
        return Ok(Status::Done);
    }
    let values: Vec<Value> = BACKBONES.iter().map(|entry| describe(entry)).collect();
    printer.result(&values, || {
        let rows = BACKBONES.iter().map(|entry| {
            let weights = if knownset_nn::is_bundled(entry.name) { "bundled" } else { "--weights FILE" };
            [entry.name.into(), format!("{} px", entry.preprocess.size), weights.into(), entry.doc.into()]
        });
        table(["name", "input", "weights", "what"], rows)
    })?;
    Ok(Status::Done)
}

pub(super) fn datasets(args: &List, printer: Printer) -> anyhow::Result<Status> {
    let chosen: Vec<_> =
        DATASETS.iter().filter(|entry| args.name.as_ref().is_none_or(|name| entry.name == name)).collect();
    let known = || DATASETS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    anyhow::ensure!(!chosen.is_empty(), "no such dataset format; there are: {}", known());
    let values: Vec<Value> =
        chosen.iter().map(|entry| json!({"name": entry.name, "syntax": entry.syntax, "doc": entry.doc})).collect();
    printer.result(&values, || {
        let mut text = table(["reference", "what"], chosen.iter().map(|entry| [entry.syntax.into(), entry.doc.into()]));
        if chosen.iter().any(|entry| entry.name == "world") {
            let splits = knownset_data::world::SPLITS.iter();
            let rows = splits
                .map(|split| [format!("world:sprites#{}", split.name), split.images.to_string(), split.doc.into()]);
            let _ = write!(text, "\n\n{}", table(["bundled", "images", "what"], rows));
        }
        text
    })?;
    Ok(Status::Done)
}

pub(super) fn recipes(args: &List, printer: Printer) -> anyhow::Result<Status> {
    if let Some(name) = &args.name {
        let entry = knownset_train::find(name)?;
        let defaults = entry.defaults()?;
        let default = |name: &str| defaults.get(name).cloned().unwrap_or_default();
        let mut described = serde_json::to_value(entry)?;
        for (param, value) in entry.params.iter().zip(described["params"].as_array_mut().into_iter().flatten()) {
            value["default"] = default(param.name);
        }
        printer.result(&described, || {
            let outliers = match entry.outliers {
                Outliers::None if entry.learns_prompts() => "a few images of each known class, through frozen towers",
                Outliers::None if entry.reads_tokens() => "patches of images of the known classes, from a frozen tower",
                Outliers::None if entry.wraps() => {
                    "what NAME does, and synthetic images of the known classes (--synthetic)"
                }
                Outliers::None => "images of the known classes",
                Outliers::Required => "images of the known classes and outliers (--outliers)",
            };
            let mut text = format!(
                "{} ({}, {})\n{}\n\nloss         {}\nlearns from  {outliers}\n",
                entry.name, entry.title, entry.year, entry.paper, entry.loss
            );
            for param in entry.params {
                let default = default(param.name);
                let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                let _ = writeln!(text, "\n{}: {} [default: {default}]", param.name, param.doc);
            }
            text
        })?;
        return Ok(Status::Done);
    }
    printer.result(&RECIPES, || {
        let rows = RECIPES.iter().map(|entry| {
            let outliers = if entry.outliers == Outliers::Required { "outliers" } else { "" };
            [entry.name.into(), entry.year.to_string(), outliers.into(), entry.loss.into()]
        });
        table(["name", "year", "needs", "loss"], rows)
    })?;
    Ok(Status::Done)
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    table.to_string()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
