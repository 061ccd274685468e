//! `knownset synth image`: contexts and noise → images, by a pipeline folder of diffusers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::Tensor;
use knownset_core::numpy::{Rows, read_array, write_archive};
use knownset_nn::diffusion::{Request, SampleError};
use ndarray::{Array, Array3, Dimension, s};
use serde_json::json;

use super::drawing::{self, pipeline};
use super::parts::Parts;
use super::record::digest;
use crate::cli::Image;
use crate::commands::Status;
use crate::images::STOP;
use crate::printer::Printer;

pub(super) fn run(args: &Image, printer: Printer) -> anyhow::Result<Status> {
    let context = numbers::<ndarray::Ix3>(&args.context, "[n, T, c]")?;
    let noise = numbers::<ndarray::Ix4>(&args.latents, "[n, channels, h, w]")?;
    let (images, channels, height, width) = noise.dim();
    let pipeline = pipeline(&args.weights, args.on)?;
    let unconditional = if args.guidance == 1.0 {
        Array3::zeros((0, 0, 0))
    } else {
        pipeline.encode(&[""]).with_context(|| format!("the pipeline in {}", args.weights.display()))?
    };
    let request = Request {
        context: context.view(),
        unconditional: unconditional.view(),
        noise: noise.view(),
        fresh: None,
        method: args.scheduler.method(),
        steps: args.steps,
        guidance: args.guidance,
    };
    pipeline.check(&request)?;
    let latents = [channels, height, width];
    let pixels = drawing::pixels(&pipeline, [height, width]);
    let sizes = [latents, pixels].map(|shape| shape.iter().product::<usize>());

    let settings = json!({
        "stage": "image", "context": digest(&args.context)?, "latents": digest(&args.latents)?,
        "pipeline": pipeline.sha256(), "steps": args.steps, "guidance": args.guidance,
        "scheduler": format!("{:?}", args.scheduler), "precision": args.on.precision.to_string(),
    });
    let mut parts = Parts::open(&args.out, &settings, images, sizes.iter().sum())?;
    let progress = printer.progress("images", images).behind(parts.finished);
    for image in parts.finished..images {
        let one = image..=image;
        let request = Request {
            context: context.slice(s![one.clone(), .., ..]),
            noise: noise.slice(s![one, .., .., ..]),
            ..request
        };
        let go_on = |_| if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let drawn = pipeline.sample(&request, go_on).map_err(|error| match error {
            SampleError::NotFinite { step, .. } => SampleError::NotFinite { image, step },
            error => error,
        })?;
        if drawn.images.is_empty() {
            anyhow::bail!("stopped after {image} of {images} images; run the same command again to go on");
        }
        parts.push(drawn.latents.iter().chain(&drawn.images))?;
        progress.advance(1);
    }
    drop(progress);

    let shapes = [latents, pixels].map(|[a, b, c]| [images, a, b, c]);
    let arrays = [
        Rows { name: "latents", shape: &shapes[0], parts: parts.read(0..sizes[0])? },
        Rows { name: "images", shape: &shapes[1], parts: parts.read(sizes[0]..sizes[0] + sizes[1])? },
    ];
    write_archive(&args.out, arrays).with_context(|| format!("cannot write {}", args.out.display()))?;
    parts.remove()?;
    let out = args.out.display().to_string();
    printer.result(&json!({ "out": out, "n": images, "shape": pixels }), || {
        format!("{out}: {images} images of {}x{}", pixels[1], pixels[0])
    })?;
    Ok(Status::Done)
}

/// An array of numbers of as many dimensions as are expected.
fn numbers<D: Dimension>(path: &Path, expected: &str) -> anyhow::Result<Array<f32, D>> {
    let array = match read_array(path)? {
        Tensor::F32(array) => array,
        Tensor::F64(array) => array.mapv(|value| value as f32),
        Tensor::I64(_) => anyhow::bail!("{}: whole numbers, expected {expected} floats", path.display()),
    };
    let shape = array.shape().to_vec();
    array.into_dimensionality().with_context(|| format!("{}: shape {shape:?}, expected {expected}", path.display()))
}
