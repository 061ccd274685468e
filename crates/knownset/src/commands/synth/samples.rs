//! `knownset synth samples`: class names → images of them, in a folder of classes, with a manifest.

use std::path::PathBuf;

use anyhow::Context;
use knownset_data::words::spoken;
use knownset_train::synthesis::{Diffusion, Wanted};
use ndarray::Axis;
use serde_json::{Value, json};

use super::journal::Journal;
use super::record::{agree, claim, holds};
use super::{contact, dataset, drawing, files};
use crate::cli::Samples;
use crate::commands::Status;
use crate::images::Images;
use crate::printer::Printer;
use crate::shard::{Shard, share};

/// Where the class's name stands in a template.
const CLASS: &str = "{class}";

pub(super) fn run(args: &Samples, printer: Printer) -> anyhow::Result<Status> {
    anyhow::ensure!(args.template.contains(CLASS), "--template {:?} does not say where {CLASS} stands", args.template);
    let classes = Images::open(&args.source.data, false)?.class_names().to_vec();
    anyhow::ensure!(!classes.is_empty(), "{} has no classes", args.source.data);
    dataset::check_folders(&classes, &args.source.data)?;
    let pipeline = drawing::pipeline(&args.drawer.weights, args.drawer.on)?;
    let side = drawing::side(&pipeline, &args.drawer.weights)?;
    let prompts: Vec<String> = classes.iter().map(|name| args.template.replace(CLASS, &spoken(name))).collect();
    let contexts =
        pipeline.encode(&prompts).with_context(|| format!("the pipeline in {}", args.drawer.weights.display()))?;
    let generator = Diffusion {
        pipeline: &pipeline,
        unconditional: pipeline.encode(&[""])?.remove_axis(Axis(0)),
        sides: [side; 2],
        method: args.scheduler.method(),
        steps: args.steps,
        guidance: args.guidance,
    };

    generator.check().with_context(|| format!("the pipeline in {}", args.drawer.weights.display()))?;
    let all = classes.len().checked_mul(args.per_class).context("--per-class is too large")?;
    let range = share(all, args.shard);
    let id = |row: usize| format!("{}/{:05}.png", classes[row / args.per_class], row % args.per_class);
    let settings = json!({
        "stage": "samples", "pipeline": pipeline.sha256(), "classes": classes, "per_class": args.per_class,
        "template": args.template, "steps": args.steps, "guidance": args.guidance,
        "scheduler": format!("{:?}", args.scheduler), "seed": args.seed, "precision": args.drawer.on.precision.to_string(), "rows": [range.start, range.end],
    });
    let name =
        args.shard.map_or("manifest".to_owned(), |Shard { index, count }| format!("manifest-{index}-of-{count}"));
    let [manifest, record] = ["jsonl", "made.json"].map(|ending| args.out.join(format!("{name}.{ending}")));
    fs_err::create_dir_all(&args.out)?;
    files::check_own(&args.out, &["manifest"])?;
    agree(&args.out, &settings)?;
    let _claim = claim(&record, &settings, &manifest, || holds(&manifest))?;
    let mut journal = Journal::open(
        &manifest,
        range.start,
        |line, next| (range.contains(&next) && line["id"] == id(next)).then_some(next),
        |line| line.get("rejected").is_some() || line["id"].as_str().is_none_or(|id| args.out.join(id).is_file()),
    )?;
    let drawn_at = |row: usize| -> anyhow::Result<Value> {
        let (class, number) = (row / args.per_class, row % args.per_class);
        let condition = contexts.index_axis(Axis(0), class).to_owned();
        let wanted = Wanted { condition, seed: args.seed, stream: (class as u64) << 32 | number as u64 };
        let mut line = json!({ "id": id(row), "label": class, "class": classes[class], "prompt": prompts[class] });
        match drawing::draw(&generator, wanted)? {
            Some(picture) => files::write_picture(&args.out.join(id(row)), &picture)?,
            None => line["rejected"] = "not-finite".into(),
        }
        Ok(line)
    };
    journal.fill(range.clone(), args.drawer.at_once, "samples", printer, drawn_at)?;
    let lines: Vec<Value> = files::read_lines(&manifest)?;
    let drawn: Vec<&Value> = lines.iter().filter(|line| line.get("rejected").is_none()).collect();
    let of_class = |(class, name): (usize, &String)| {
        let own = drawn.iter().filter(|line| line["label"] == class);
        (spoken(name), own.filter_map(|line| Some(args.out.join(line["id"].as_str()?))).collect())
    };
    let contact = args.out.join(format!("{name}.html"));
    let shown: Vec<(String, Vec<PathBuf>)> = classes.iter().enumerate().map(of_class).collect();
    contact::of_samples(&contact, &format!("{name}.jsonl"), &shown)?;
    let out = args.out.display().to_string();
    let rejected = match lines.len() - drawn.len() {
        0 => json!({}),
        count => json!({ "not-finite": count }),
    };
    let result = json!({
        "out": out, "manifest": manifest, "n": drawn.len(), "rejected": rejected, "classes": classes, "contact": contact,
    });
    printer.result(&result, || {
        let rejected = rejected["not-finite"].as_u64().map(|count| format!(", {count} rejected: not finite"));
        let rejected = rejected.unwrap_or_default();
        format!("{out}: {} images of {} classes{rejected}; {}", drawn.len(), classes.len(), contact.display())
    })?;
    Ok(Status::Done)
}
