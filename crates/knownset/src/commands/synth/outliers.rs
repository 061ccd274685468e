//! `knownset synth outliers`: captions → text features → the edge of each class, moved outwards → fake tokens → images.
//!
//! FodFoM (Chen et al. 2024, <https://arxiv.org/abs/2412.05293>). Where this differs from the released code: class names
//! are as they are spoken; captions are as long as the text tower reads, for ImageNet too; the edge is by cosine unless
//! told otherwise; every image has noise of its own, whatever is drawn with it; none is left over from batches of four.

use anyhow::Context;
use knownset_core::numpy::write_rows;
use knownset_nn::clip::Clip;
use knownset_nn::diffusion::Pipeline;
use knownset_train::synthesis::{Diffusion, Wanted};
use serde_json::{Value, json};

use super::contexts::Contexts;
use super::drawing::{draw, pipeline, side};
use super::journal::Journal;
use super::manifest::{Drawn, Entry, Kind, MANIFEST, RECORD, Summary};
use super::moved::{LEAST, Moved, by_class};
use super::record::{claim, digest, holds};
use super::scoring::Scoring;
use super::{dataset, files, manifest, texts};
use crate::cli::{Band, Drawing, Outliers, Source};
use crate::commands::Status;
use crate::images::Images;
use crate::printer::Printer;
use crate::shard::share;
use crate::towers;

pub(super) fn run(args: &Outliers, printer: Printer) -> anyhow::Result<Status> {
    make(args, printer)?.print(printer)
}

/// What draws.
struct Networks {
    clip: Clip,
    pipeline: Pipeline,
    side: usize,
}

impl Networks {
    fn open(drawing: &Drawing, printer: Printer) -> anyhow::Result<Self> {
        let clip = towers::open("clip", Some(&drawing.clip), printer)?;
        let pipeline = pipeline(&drawing.drawer.weights, drawing.drawer.on)?;
        let side = side(&pipeline, &drawing.drawer.weights)?;
        Ok(Self { clip, pipeline, side })
    }

    /// What features become, and what draws it.
    fn ready(&self, drawing: &Drawing, printer: Printer) -> anyhow::Result<(Contexts<'_>, Diffusion<'_>)> {
        let contexts = Contexts::new(&self.clip, &self.pipeline, &drawing.prompt, printer)?;
        let generator = Diffusion {
            pipeline: &self.pipeline,
            unconditional: contexts.unconditional(),
            sides: [self.side; 2],
            method: drawing.scheduler.method(),
            steps: drawing.steps,
            guidance: drawing.guidance,
        };
        generator.check().with_context(|| format!("the pipeline in {}", drawing.drawer.weights.display()))?;
        Ok((contexts, generator))
    }
}

/// Whether they can be drawn, as far as that can be told without captions.
pub(super) fn check(source: &Source, drawing: &Drawing, printer: Printer) -> anyhow::Result<()> {
    dataset::spoken_names(&dataset::open(&source.data, false)?, &source.data)?;
    let quiet = Printer { quiet: true, ..printer };
    Networks::open(drawing, quiet)?.ready(drawing, quiet).map(|_| ())
}

/// Makes what is not there yet.
pub(super) fn make(args: &Outliers, printer: Printer) -> anyhow::Result<Summary> {
    let (out, drawing) = (&args.out, &args.drawing);
    let images = dataset::open(&args.source.data, false)?;
    let classes = dataset::spoken_names(&images, &args.source.data)?;
    let captions = texts::captions(&args.captions, &images, printer)?;
    let networks = Networks::open(drawing, printer)?;
    let Networks { clip, pipeline, .. } = &networks;
    let (contexts, generator) = networks.ready(drawing, printer)?;

    let settings = settings(args, &images, &classes, clip, pipeline)?;
    let made = ["features.npz", "edges.jsonl", "fakes.npz", MANIFEST].map(|name| out.join(name));
    let [features, edges, fakes, manifest] = &made;
    let rows = by_class(&captions, classes.len());
    let fresh = || -> anyhow::Result<Moved> {
        let cache = drawing.keeping.cache();
        let texts = texts::features(&captions, &drawing.template, &classes, clip, cache.as_ref(), printer)?;
        let edge = (drawing.edge, drawing.percent);
        let (moved, edge) = Moved::make(texts.view(), &captions, &rows, &classes, edge, drawing.moves.outward())?;
        let labels = files::numbers(captions.iter().map(|caption| caption.label));
        files::write_arrays(features, [("features", texts.into()), ("labels", labels)])?;
        files::write_lines(edges, &edge)?;
        moved.write(fakes)?;
        Ok(moved)
    };
    let claim = claim(&out.join(RECORD), &settings, out, || made.iter().any(|path| holds(path)))?;
    let moved = if fakes.is_file() { Moved::read(fakes, captions.len(), clip.spec().projection) } else { fresh() };
    if moved.is_err() && !made.iter().any(|path| holds(path)) {
        claim.withdraw();
        let _ = fs_err::remove_dir(out);
    }
    let moved = moved?;
    let few = || rows.iter().enumerate().filter(|(_, rows)| rows.len() < LEAST);
    if few().next().is_some() {
        let names: Vec<&str> = few().map(|(class, _)| classes[class].as_str()).collect();
        printer.note(format!("warning: too few captions of {}: no outliers of them", names.join(", ")));
    }

    let scoring = Scoring::new(clip, &classes)?;
    let range = share(moved.captions.len(), args.shard);
    let tokens = out.join("contexts.npy");
    if drawing.keep_contexts && !tokens.is_file() {
        let rows = range.clone().map(|place| contexts.of(moved.features.row(place)).into_dyn());
        let written = write_rows(&tokens, range.len(), &contexts.shape(), rows);
        written.with_context(|| format!("cannot write {}", tokens.display()))?;
    }
    let mut journal = Journal::open(
        manifest,
        range.start,
        |line, next| {
            let caption = range.contains(&next).then(|| &captions[moved.captions[next]])?;
            (line["id"] == *caption.id && line["step"] == moved.steps[next]).then_some(next)
        },
        |line| manifest::is_there(out, line),
    )?;
    let drawn_at = |place: usize| -> anyhow::Result<Entry> {
        let (caption, step) = (&captions[moved.captions[place]], moved.steps[place]);
        // A stream for each step of each image, whatever else is at the edge.
        let stream = (caption.row as u64) << 16 | step as u64;
        let condition = contexts.of(moved.features.row(place));
        let (path, rejected, clip_score) = match draw(&generator, Wanted { condition, seed: drawing.seed, stream })? {
            None => (None, Some("not-finite"), None),
            Some(picture) => {
                let score = scoring.score(&picture, caption.label)?;
                let rejected = drawing.clip_score.and_then(|band| outside(band, score));
                let path = format!("images/{}/{:06}-{step}.png", caption.label, caption.row);
                if rejected.is_none() {
                    files::write_picture(&out.join(&path), &files::sized(picture, drawing.size))?;
                }
                (rejected.is_none().then_some(path), rejected, Some(score))
            }
        };
        let drawn = Drawn { caption: caption.text.clone(), step, seed: drawing.seed, clip_score };
        Ok(Entry {
            path,
            rejected: rejected.map(str::to_owned),
            label: classes.len() as i64,
            kind: Kind::Outlier,
            class: images.class_names()[caption.label].clone(),
            id: caption.id.clone(),
            truncated: caption.truncated,
            drawn: Some(drawn),
        })
    };
    journal.fill(range.clone(), drawing.drawer.at_once, "outliers", printer, drawn_at)?;
    // Counted once, whatever the number of shares.
    let few = if range.start == 0 { few().map(|(_, rows)| rows.len()).sum() } else { 0 };
    Ok(Summary::new(out, "Fake outliers", &images)?.without("too-few-captions", few))
}

/// Everything that decides what is made.
fn settings(
    args: &Outliers,
    images: &Images,
    classes: &[String],
    clip: &Clip,
    pipeline: &Pipeline,
) -> anyhow::Result<Value> {
    let Drawing { template, edge, percent, moves, prompt, steps, guidance, scheduler, seed, size, clip_score, .. } =
        &args.drawing;
    Ok(json!({
        "stage": "outliers", "images": images.fingerprint(), "captions": digest(&args.captions)?, "classes": classes,
        "clip": clip.sha256(), "pipeline": pipeline.sha256(),
        "template": template, "edge": edge, "percent": percent, "outward": moves.outward(), "prompt": prompt,
        "steps": steps, "guidance": guidance, "scheduler": format!("{scheduler:?}"), "seed": seed, "size": size,
        "clip_score": clip_score, "precision": args.drawing.drawer.on.precision.to_string(), "shard": args.shard,
    }))
}

/// Why an image of that score is not kept.
fn outside(band: Band, score: f64) -> Option<&'static str> {
    if band.low.is_some_and(|low| score < low) {
        Some("clip-score-below")
    } else if band.high.is_some_and(|high| score > high) {
        Some("clip-score-above")
    } else {
        None
    }
}
