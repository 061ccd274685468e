//! `knownset synth samples`: class names → images of them, in a folder of classes, with a manifest.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use image::{ImageFormat, RgbImage};
use knownset_data::words::spoken;
use knownset_nn::diffusion::{Pipeline, Request};
use knownset_nn::network::to_weights;
use knownset_train::unit_noise;
use ndarray::{Array4, ArrayView3, Axis};
use serde_json::json;

use super::lines::{known, resume, share};
use crate::cli::Samples;
use crate::commands::Status;
use crate::images::{Images, STOP};
use crate::printer::Printer;

/// Where the class's name stands in a template.
const CLASS: &str = "{class}";

pub(super) fn run(args: &Samples, printer: Printer) -> anyhow::Result<Status> {
    anyhow::ensure!(args.template.contains(CLASS), "--template {:?} does not say where {CLASS} stands", args.template);
    let classes = Images::open(&args.data, false)?.class_names().to_vec();
    anyhow::ensure!(!classes.is_empty(), "{} has no classes", args.data);
    if let Some(odd) =
        classes.iter().find(|name| name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']))
    {
        anyhow::bail!("the class {odd:?} of {} cannot be a folder's name", args.data);
    }
    let folder = args.weights.display();
    let pipeline = Pipeline::open(&args.weights).with_context(|| format!("cannot load the pipeline in {folder}"))?;
    let spec = pipeline.unet().spec();
    let side = spec.side.with_context(|| format!("{folder}: unet/config.json has no sample_size"))?;
    let shape = (1, spec.inputs, side, side);
    let prompts: Vec<String> = classes.iter().map(|name| args.template.replace(CLASS, &spoken(name))).collect();
    let contexts = pipeline.encode(&prompts).with_context(|| format!("the pipeline in {folder}"))?;
    let empty = pipeline.encode(&[""])?;

    let all = classes.len().checked_mul(args.per_class).context("--per-class is too large")?;
    let range = share(all, args.shard);
    let id = |row: usize| format!("{}/{:05}.png", classes[row / args.per_class], row % args.per_class);
    let settings = json!({
        "stage": "samples", "unet": to_weights(pipeline.unet()).sha256(),
        "autoencoder": pipeline.autoencoder().map(|autoencoder| to_weights(autoencoder).sha256()),
        "texts": pipeline.text_encoder().map(|encoder| to_weights(encoder.network()).sha256()),
        "classes": classes, "per_class": args.per_class, "template": args.template, "steps": args.steps,
        "guidance": args.guidance, "scheduler": format!("{:?}", args.scheduler), "seed": args.seed,
        "rows": [range.start, range.end],
    });
    let manifest = args.out.join(match args.shard {
        None => "manifest.jsonl".to_owned(),
        Some((index, count)) => format!("manifest-{index}-of-{count}.jsonl"),
    });
    fs_err::create_dir_all(&args.out)?;
    let mut file = resume(&manifest, &settings)?;
    let (_, next) = known(&manifest, &mut file, id, range.clone())?;
    let progress = printer.progress("samples", range.len());
    progress.advance(next - range.start);
    for row in next..range.end {
        let (class, number) = (row / args.per_class, row % args.per_class);
        let noise = unit_noise(args.seed, class, number, spec.inputs * side * side);
        let noise = Array4::from_shape_vec(shape, noise)?;
        let request = Request {
            method: args.scheduler.method(),
            steps: args.steps,
            guidance: args.guidance,
            ..Request::new(contexts.slice_axis(Axis(0), (class..=class).into()), empty.view(), noise.view())
        };
        let drawn = pipeline.sample(&request, |_| {
            if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let images = drawn.with_context(|| format!("cannot draw {}", id(row)))?.images;
        let Some(image) = images.outer_iter().next() else {
            let done = row - range.start;
            anyhow::bail!("stopped after {done} of {}; run the same command again to go on", range.len());
        };
        write(&args.out.join(id(row)), image)?;
        let line = json!({ "id": id(row), "label": class, "class": classes[class], "prompt": prompts[class] });
        writeln!(file, "{line}").and_then(|()| file.flush())?;
        progress.advance(1);
    }
    drop(progress);
    let out = args.out.display().to_string();
    let result = json!({ "out": out, "manifest": manifest, "n": range.len(), "classes": classes });
    printer.result(&result, || format!("{out}: {} images of {} classes", range.len(), classes.len()))?;
    Ok(Status::Done)
}

/// An image `[H, W, 3]` in 0..1 as a PNG file.
fn write(path: &Path, image: ArrayView3<'_, f32>) -> anyhow::Result<()> {
    let (height, width, channels) = image.dim();
    anyhow::ensure!(channels == 3, "the pipeline's images have {channels} channels, not three colours");
    let values = image.iter().map(|value| (255.0 * value).round() as u8).collect();
    let picture = RgbImage::from_raw(width as u32, height as u32, values).context("an image of no size")?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(knownset_core::write_atomically(path, |out| out.write_all(bytes.get_ref()))?)
}
