//! `knownset bench`: known set + images to refuse → table and report.

use std::path::Path;
use std::time::Instant;

use knownset_detect::select;
use knownset_nn::LoadedBackbone;

use super::{Status, judge};
use crate::benchmark::{Outcome, Sets, run as compare, score_table};
use crate::cli::{Bench, Network};
use crate::gallery::galleries;
use crate::images;
use crate::inputs::Set;
use crate::printer::Printer;
use crate::report::{self, html::Report, tables};

pub(super) fn run(args: &Bench, printer: Printer) -> anyhow::Result<Status> {
    let detectors = select(&args.detectors)?;
    let started = Instant::now();
    let Network { backbone, weights, head } = &args.network;
    let load = |name: &String| images::headed(name, weights.as_deref(), head.as_deref(), printer);
    let network = backbone.as_ref().map(load).transpose()?;
    let sets = open(args, network.as_ref(), printer)?;
    let read = started.elapsed().as_secs_f64();
    let mut outcome = compare(&sets, &detectors, printer)?;
    let timing = &mut outcome.results.timing;
    timing.insert("read".into(), read);
    timing.insert("total".into(), started.elapsed().as_secs_f64());
    if let Some(folder) = &args.out {
        let subtitle = match &network {
            Some(network) => format!("{} on {}", network.origin.backbone, args.id),
            None => format!("features of {}", args.id),
        };
        write(folder, "Out-of-distribution benchmark", &subtitle, &sets, &outcome)?;
        printer.note(format!("wrote {}", folder.join("report.html").display()));
    }
    printer.result(&outcome.results, || tables::terminal(&outcome.results))?;
    Ok(judge(&outcome.results, &args.gate, printer))
}

fn open(args: &Bench, network: Option<&LoadedBackbone>, printer: Printer) -> anyhow::Result<Sets> {
    let open = |what: &str, text: &str| Set::open(what, text, network, &args.reading, printer);
    let named = |(name, text): &(String, String)| Ok((name.clone(), open(name, text)?));
    Ok(Sets {
        train: open("train", &args.train)?,
        val: args.val.as_ref().map(|text| open("val", text)).transpose()?,
        id: open("id", &args.id)?,
        ood: args.ood.iter().map(named).collect::<anyhow::Result<_>>()?,
        stream: args.stream.stream(),
    })
}

/// Writes tables, report and the scores of every detector, from which `eval` recomputes the figures.
pub(super) fn write(folder: &Path, title: &str, subtitle: &str, sets: &Sets, outcome: &Outcome) -> anyhow::Result<()> {
    let best = outcome.results.leaderboard().first().and_then(|best| outcome.scores.get(best.detector));
    let galleries = best.map(|scores| galleries(sets, scores)).unwrap_or_default();
    let report = Report { title, subtitle, results: &outcome.results, scores: &outcome.scores, galleries };
    report::write(folder, &report)?;
    for (detector, scores) in &outcome.scores {
        let folder = folder.join("scores").join(detector.replace([':', '='], "-"));
        let whole = scores.against.windows(2).all(|pairs| pairs[0].id == pairs[1].id);
        for ((name, set), pair) in sets.ood.iter().zip(&scores.against) {
            let name = name.replace(['/', '\\'], "-");
            // A detector that learns from what it scores has ID scores for each set apart.
            let id = if whole { "id.npz".to_owned() } else { format!("id-{name}.npz") };
            score_table(&sets.id.features, &pair.id_rows, &pair.id).write(&folder.join(id))?;
            score_table(&set.features, &pair.ood_rows, &pair.ood).write(&folder.join(format!("ood-{name}.npz")))?;
        }
    }
    Ok(())
}
