//! A picture by a generator, for the stages that draw.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use image::RgbImage;
use knownset_nn::diffusion::Pipeline;
use knownset_train::synthesis::{Generator, Wanted};

use super::files;
use crate::checkpoints;
use crate::cli::Where;
use crate::images::STOP;

/// Opens the pipeline of that name where it is to run.
pub(super) fn pipeline(named: &Path, on: Where) -> anyhow::Result<Pipeline> {
    let device = on.device.device()?;
    let precision = on.precision.on(&device)?;
    checkpoints::open("pipeline", named, |folder| Pipeline::open_on(folder, &device, precision))
}

/// The side of a pipeline's latents.
pub(super) fn side(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<usize> {
    let [.., colours] = pixels(pipeline, [1, 1]);
    anyhow::ensure!(colours == 3, "the pipeline in {} draws images of {colours} channels, not 3", folder.display());
    let side = pipeline.unet().spec().side;
    side.with_context(|| format!("unet/config.json in {} does not say a sample_size", folder.display()))
}

/// Height, width and colours of an image whose latents have those sides.
pub(super) fn pixels(pipeline: &Pipeline, sides: [usize; 2]) -> [usize; 3] {
    let (factor, colours) = match pipeline.autoencoder() {
        Some(network) => (network.spec().factor(), network.spec().image),
        None => (1, pipeline.unet().spec().outputs),
    };
    [factor * sides[0], factor * sides[1], colours]
}

/// An image; nothing where the network's numbers overflowed.
pub(super) fn draw<G: Generator>(generator: &G, wanted: Wanted<G::Condition>) -> anyhow::Result<Option<RgbImage>> {
    let mut watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let mut drawn = generator.draw(&[wanted], &mut watch)?;
    match drawn.pop().context("stopped; run the same command again to go on")? {
        Some(drawn) => Ok(Some(files::picture(&drawn).context("an image of other colours than red, green and blue")?)),
        None => Ok(None),
    }
}
