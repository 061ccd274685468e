//! `knownset study`: recipes x seeds x detectors → one table with paired differences.

mod plan;
mod summary;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use knownset_core::write_atomically;
use knownset_detect::{Chosen as Detector, Stream, select};
use knownset_train::{Chosen, TrainError};
use serde_json::{Value, json};

use super::{Status, train};
use crate::benchmark::{Sets, run as compare};
use crate::cli::{Study, Train};
use crate::hint::Hint;
use crate::images::{self, Images};
use crate::inputs::Set;
use crate::printer::Printer;
use crate::results::Results;
use crate::shard::share;
use plan::Plan;
use summary::{Missing, Outcomes, Summary};

pub(super) fn run(args: &Study, printer: Printer) -> anyhow::Result<Status> {
    knownset_train::keep_freed_memory();
    let plan = Plan::read(&args.plan, args.baseline.as_deref())?;
    let detectors = select(&plan.detectors)?;
    // A mistake in the last run should not be found after days.
    for name in plan.runs.keys() {
        let typed = plan.arguments(name, 0, &args.out)?;
        Chosen::parse(&typed.recipe).with_context(|| format!("the run {name}"))?;
    }
    let all: Vec<(&String, u64)> =
        plan.runs.keys().flat_map(|name| plan.seeds.iter().map(move |&seed| (name, seed))).collect();
    let (mut outcomes, mut known) = (Outcomes::new(), Fingerprints::new());
    let judged = &all[share(all.len(), args.shard)];
    anyhow::ensure!(!judged.is_empty(), "{} runs are too few for this many shares", all.len());
    for &(name, seed) in judged {
        printer.note(format!("{name}, seed {seed}"));
        let found = one(args, &plan, name, seed, &detectors, &mut known, printer);
        let found = found.with_context(|| format!("the run {name} with seed {seed}"))?;
        outcomes.entry(name.clone()).or_default().push(found);
    }
    if args.shard.is_some() {
        return shared(judged, all.len(), printer);
    }
    let summary = Summary::new(&plan, &outcomes);
    for Missing { run, seed, detector, why } in &summary.skipped {
        printer.note(format!("warning: {run}, seed {seed}: {detector} left out, here and in every mean: {why}"));
    }
    let result = json!({ "plan": plan, "summary": summary });
    let name = args.baseline.as_ref().map_or("study".to_owned(), |baseline| format!("study-{baseline}"));
    write(&args.out.join(format!("{name}.json")), &serde_json::to_string_pretty(&result)?)?;
    write(&args.out.join(format!("{name}.md")), &tables::markdown(&plan, &summary))?;
    printer.result(&result, || tables::terminal(&plan, &summary))?;
    Ok(Status::Done)
}

/// What is said of a share: the tables take all of them.
fn shared(judged: &[(&String, u64)], all: usize, printer: Printer) -> anyhow::Result<Status> {
    let runs: Vec<Value> = judged.iter().map(|&(name, seed)| json!({ "name": name, "seed": seed })).collect();
    printer.result(&json!({ "judged": runs, "of": all }), || {
        let names: Vec<String> = judged.iter().map(|&(name, seed)| format!("{name}/seed-{seed}")).collect();
        let next = "when every share is there, the same command without --shard makes the tables";
        format!("{} of {all} judged: {}\n{next}", judged.len(), names.join(", "))
    })?;
    Ok(Status::Done)
}

/// What tells a set of images from another, by its reference; each is looked at once, and is not to change in a study.
type Fingerprints = BTreeMap<String, String>;

/// Trains a run with a seed and judges it.
fn one(
    args: &Study,
    plan: &Plan,
    name: &str,
    seed: u64,
    detectors: &[Detector],
    known: &mut Fingerprints,
    printer: Printer,
) -> anyhow::Result<Results> {
    let folder = args.out.join(name).join(format!("seed-{seed}"));
    let typed = plan.arguments(name, seed, &folder)?;
    let [record, outcome] = ["judged.json", "results.json"].map(|name| folder.join(name));
    let asked = asked(plan, &typed, name, detectors, args.stream.stream(), known)?;
    if fs_err::read_to_string(&record).is_ok_and(|judged| judged == asked) && outcome.is_file() {
        let text = fs_err::read_to_string(&outcome)?;
        return serde_json::from_str(&text).with_context(|| format!("{} is damaged", outcome.display()));
    }
    let trained = train::classifier(&typed, &Chosen::parse(&typed.recipe)?, printer);
    let trained = trained.map_err(|error| match error.downcast_ref() {
        Some(TrainError::OtherRun { .. }) => {
            error.context(Hint(format!("remove {}, or choose another --out", folder.display())))
        }
        _ => error,
    })?;
    let network = images::network(trained.backbone.name, Some(&trained.trained.weights), printer)?;
    let open = |what: &str, reference: &str| Set::from_images(what, reference, &network, &args.reading, printer);
    let sets = Sets {
        train: open("fit", &plan.fit)?,
        val: plan.val.as_ref().map(|reference| open("val", reference)).transpose()?,
        id: open("id", &plan.id)?,
        ood: plan.sets().map(|(name, text)| Ok((name.clone(), open(name, text)?))).collect::<anyhow::Result<_>>()?,
        stream: args.stream.stream(),
    };
    let results = compare(&sets, detectors, printer)?.results;
    // No record of other results may stand beside what is written now.
    if record.exists() {
        fs_err::remove_file(&record)?;
    }
    write(&outcome, &serde_json::to_string_pretty(&results)?)?;
    write(&record, &asked)?;
    Ok(results)
}

/// Everything that decides a run's results: where a folder has been judged by it, it is not judged again.
fn asked(
    plan: &Plan,
    typed: &Train,
    name: &str,
    detectors: &[Detector],
    stream: Stream,
    known: &mut Fingerprints,
) -> anyhow::Result<String> {
    let judged = [Some(&plan.fit), plan.val.as_ref(), Some(&plan.id)].into_iter().flatten();
    let judged = judged.chain(plan.sets().map(|(_, reference)| reference));
    let trained = [Some(&typed.data), typed.val.as_ref(), typed.synthetic.as_ref()].into_iter().flatten();
    let mut images = BTreeMap::new();
    for reference in judged.chain(trained).chain(&typed.outliers) {
        if !known.contains_key(reference) {
            known.insert(reference.clone(), Images::open(reference, false)?.fingerprint());
        }
        images.insert(reference, known.get(reference).cloned());
    }
    let asked = json!({
        "version": env!("CARGO_PKG_VERSION"), "images": images, "seed": typed.descent.seed,
        "detectors": detectors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "train": plan.train, "run": plan.runs.get(name), "fit": plan.fit, "val": plan.val, "id": plan.id, "ood": plan.ood,
        "stream": format!("{stream:?}"),
    });
    Ok(serde_json::to_string_pretty(&asked)?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = write_atomically(path, |out| out.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
