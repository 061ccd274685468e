//! `knownset synth image`: contexts and noise → images, by a pipeline folder of diffusers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::numpy::read_array;
use knownset_core::{Tensor, TensorFile};
use knownset_nn::diffusion::Request;
use ndarray::{Array, Dimension};
use serde_json::json;

use super::drawing::pipeline;
use crate::cli::Image;
use crate::commands::Status;
use crate::images::STOP;
use crate::printer::Printer;

pub(super) fn run(args: &Image, printer: Printer) -> anyhow::Result<Status> {
    let context = numbers::<ndarray::Ix3>(&args.context, "[n, T, c]")?;
    let noise = numbers::<ndarray::Ix4>(&args.latents, "[n, channels, h, w]")?;
    let pipeline = pipeline(&args.weights, args.on)?;
    let unconditional =
        pipeline.encode(&[""]).with_context(|| format!("the pipeline in {}", args.weights.display()))?;
    let method = args.scheduler.method();
    let request = Request {
        context: context.view(),
        unconditional: unconditional.view(),
        noise: noise.view(),
        fresh: None,
        method,
        steps: args.steps,
        guidance: args.guidance,
    };
    let images = noise.dim().0;
    let progress = printer.progress("images", images);
    let drawn = pipeline.sample(&request, |place| {
        if place.step == place.steps {
            progress.advance(1);
        }
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    drop(progress);
    let (finished, height, width, channels) = drawn.images.dim();
    anyhow::ensure!(finished == images, "stopped after {finished} of {images} images; nothing was written");
    let file = TensorFile {
        tensors: [("latents".to_owned(), Tensor::from(drawn.latents)), ("images".to_owned(), drawn.images.into())]
            .into(),
        ..TensorFile::default()
    };
    file.write_npz(&args.out)?;
    let out = args.out.display().to_string();
    printer.result(&json!({ "out": out, "n": images, "shape": [height, width, channels] }), || {
        format!("{out}: {images} images of {width}x{height}")
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
