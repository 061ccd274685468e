//! A picture by a generator, for the stages that draw.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use image::RgbImage;
use knownset_nn::diffusion::{Pipeline, SampleError};
use knownset_train::synthesis::{Generator, Wanted};

use super::files;
use crate::images::STOP;

/// The side of a pipeline's latents.
pub(super) fn side(pipeline: &Pipeline, folder: &Path) -> anyhow::Result<usize> {
    let colours = pipeline.autoencoder().map_or(pipeline.unet().spec().outputs, |network| network.spec().image);
    anyhow::ensure!(colours == 3, "the pipeline in {} draws images of {colours} channels, not 3", folder.display());
    let side = pipeline.unet().spec().side;
    side.with_context(|| format!("unet/config.json in {} does not say a sample_size", folder.display()))
}

/// An image; nothing where the network's numbers overflowed.
pub(super) fn draw<G>(generator: &G, wanted: Wanted<G::Condition>) -> anyhow::Result<Option<RgbImage>>
where
    G: Generator<Error = SampleError>,
{
    let mut watch = || if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    match generator.draw(&[wanted], &mut watch) {
        Ok(drawn) => {
            let drawn = drawn.first().context("stopped; run the same command again to go on")?;
            Ok(Some(files::picture(drawn).context("an image of other colours than red, green and blue")?))
        }
        Err(SampleError::NotFinite { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
