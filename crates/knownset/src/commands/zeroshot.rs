//! `knownset zeroshot`: class names and images → labels and scores, no training images needed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use comfy_table::{Table, presets};
use knownset_core::prompts::CLASSES;
use knownset_core::write_features;
use knownset_detect::{Chosen, FitInput, Fitted, select};
use knownset_nn::clip::Clip;
use serde::Serialize;

use super::{Status, bench, judge};
use crate::benchmark::{Sets, run as compare};
use crate::cli::Zeroshot;
use crate::images::Images;
use crate::inputs::Set;
use crate::known_words::{KnownWords, Record, build};
use crate::printer::Printer;
use crate::report::tables;
use crate::results::{ImageCounts, Results};
use crate::towers::{self, Towers};

/// Detectors of images alone, and of images against others.
const ALONE: &str = "mcm";
const AGAINST: &str = "zero-shot";

/// What is said of images when there is nothing to compare them with.
#[derive(Serialize)]
struct Said {
    known: Record,
    accuracy: Option<f64>,
    detectors: Vec<String>,
    images: Vec<One>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<ImageCounts>,
}

#[derive(Serialize)]
struct One {
    id: String,
    /// The class whose words are nearest.
    label: String,
    /// Higher = more in-distribution, by detector.
    scores: BTreeMap<String, f64>,
}

/// A benchmark, and the words it stands on.
#[derive(Serialize)]
struct Compared<'a> {
    known: &'a Record,
    #[serde(flatten)]
    results: &'a Results,
}

pub(super) fn run(args: &Zeroshot, printer: Printer) -> anyhow::Result<Status> {
    let started = Instant::now();
    let default = if args.ood.is_empty() { ALONE } else { AGAINST };
    let detectors = select(args.detectors.as_deref().unwrap_or(default))?;
    let clip = towers::open(&args.towers.backbone, args.towers.weights.as_deref(), printer)?;
    let towers = Towers::new(clip, detectors.iter().any(|chosen| chosen.entry().info.needs.patches));
    let images = Images::open(&args.data, args.reading.strict)?;
    let known = if let Some(path) = &args.known {
        kept(path, towers.clip(), printer)?
    } else {
        let classes = args.words.class_names(&images)?;
        let cache = args.reading.keeping.cache();
        build(&args.words, &classes, &detectors, towers.clip(), cache.as_ref(), printer)?
    };
    let read = |what: &str, images: Images| towers.read(what, images, &known.features, &args.reading, printer);
    let id = read("id", images)?;
    if args.ood.is_empty() {
        return alone(&known, &id, &detectors, printer);
    }
    let open =
        |(name, text): &(String, String)| Ok((name.clone(), read(name, Images::open(text, args.reading.strict)?)?));
    let ood = args.ood.iter().map(open).collect::<anyhow::Result<_>>()?;
    let sets = Sets { train: Set::of(known.features.clone()), val: None, id, ood, stream: args.stream.stream() };
    let extracted = started.elapsed().as_secs_f64();
    let mut outcome = compare(&sets, &detectors, printer)?;
    outcome.results.timing.insert("read".into(), extracted);
    outcome.results.timing.insert("total".into(), started.elapsed().as_secs_f64());
    if let Some(folder) = &args.out {
        let how = args.known.as_ref().map_or_else(|| args.words.templates.clone(), |path| path.display().to_string());
        let subtitle = format!("{} classes given in words, {how}", known.record.classes.len());
        bench::write(folder, "Zero-shot detection", &subtitle, &sets, &outcome)?;
        write_features(&folder.join("known.safetensors"), &known.features)?;
        let words = serde_json::to_vec_pretty(&known.record)?;
        knownset_core::write_atomically(&folder.join("words.json"), |out| out.write_all(&words))?;
        printer.note(format!("wrote {}", folder.join("report.html").display()));
    }
    let compared = Compared { known: &known.record, results: &outcome.results };
    printer.result(&compared, || tables::terminal(&outcome.results))?;
    Ok(judge(&outcome.results, &args.gate, printer))
}

/// A known set in words that was made before, by these towers.
fn kept(path: &Path, clip: &Clip, printer: Printer) -> anyhow::Result<KnownWords> {
    let features = Set::from_file(path, printer)?.features;
    let file = path.display();
    anyhow::ensure!(features.prompts.contains_key(CLASSES), "{file} has no prompts.{CLASSES}: no known set in words");
    if let Some(origin) = &features.origin {
        origin.check_same(clip.origin()).with_context(|| format!("{file} was made by other towers"))?;
    }
    let names = features.class_names.clone();
    let classes = names.unwrap_or_else(|| (0..features.classes()).map(|class| class.to_string()).collect());
    Ok(KnownWords { features, record: Record { classes, ..Record::default() } })
}

/// Labels and scores of one set of images.
fn alone(known: &KnownWords, set: &Set, detectors: &[Chosen], printer: Printer) -> anyhow::Result<Status> {
    let input = FitInput::new(&known.features, None)?;
    let mut scores = Vec::new();
    for chosen in detectors {
        let fitted = Fitted::fit(chosen, &input).with_context(|| format!("cannot fit {chosen}"))?;
        scores.push((chosen.to_string(), fitted.score(&set.features)?));
    }
    let features = &set.features;
    let labels = features.predictions().unwrap_or_default();
    let one = |row: usize| One {
        id: features.id(row),
        label: known.record.classes[labels[row]].clone(),
        scores: scores.iter().map(|(name, scores)| (name.clone(), scores[row])).collect(),
    };
    let said = Said {
        known: Record {
            classes: known.record.classes.clone(),
            templates: known.record.templates.clone(),
            ..Record::default()
        },
        accuracy: features.accuracy(),
        detectors: detectors.iter().map(ToString::to_string).collect(),
        images: (0..features.len()).map(one).collect(),
        counts: set.counts.clone(),
    };
    printer.result(&said, || table(&said))?;
    Ok(Status::Done)
}

fn table(said: &Said) -> String {
    let mut table = Table::new();
    let names = said.detectors.iter().map(String::as_str);
    table.load_style(presets::NOTHING).set_header(["id", "label"].into_iter().chain(names));
    for one in &said.images {
        let scores = said.detectors.iter().map(|name| format!("{:.6}", one.scores[name]));
        table.add_row([one.id.clone(), one.label.clone()].into_iter().chain(scores));
    }
    let accuracy = said.accuracy.map(|accuracy| format!("\naccuracy {:.2} %", 100.0 * accuracy));
    format!("{table}{}", accuracy.unwrap_or_default())
}
