//! Opening a pair of towers that read images and words: bundled, from a folder, or from the hub.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::prompts::{CLASSES, unit_rows};
use knownset_core::{Features, UNKNOWN_LABEL};
use knownset_data::hub::{Hub, HubRef, Wanted};
use knownset_nn::LoadedBackbone;
use knownset_nn::clip::{Clip, SPRITE_CLIP};
use knownset_nn::extract::{Cache, TextExtraction};
use ndarray::Array2;

use crate::cli::Reading;
use crate::images::{FromImages, Images, STOP};
use crate::inputs::Set;
use crate::printer::Printer;

/// Opens the towers of that name: `weights` is a checkpoint folder, `hf:ORGANISATION/NAME[@REVISION]`, or the name of the
/// bundled ones; without it, these.
pub(crate) fn open(backbone: &str, weights: Option<&Path>, printer: Printer) -> anyhow::Result<Clip> {
    let clip = match weights {
        Some(weights) if weights == Path::new(SPRITE_CLIP) => Clip::bundled(),
        Some(weights) => Clip::open(&folder(weights, printer)?),
        None if backbone == SPRITE_CLIP => Clip::bundled(),
        None => anyhow::bail!(
            "no weights are bundled for `{backbone}`: give --weights DIR or --weights hf:ORGANISATION/NAME"
        ),
    };
    clip.with_context(|| format!("cannot load the backbone {backbone}"))
}

/// The folder as given, or the local copy of a model of the hub.
fn folder(weights: &Path, printer: Printer) -> anyhow::Result<PathBuf> {
    let Some(model) = weights.to_str().filter(|text| text.starts_with("hf:")) else { return Ok(weights.into()) };
    let model: HubRef = model.parse()?;
    let mut shown = String::new();
    let mut progress = None;
    let mut before = 0;
    let snapshot = Hub::from_env()?.fetch(&model, &Wanted::CLIP, &mut |now| {
        if shown != now.file {
            now.file.clone_into(&mut shown);
            progress = now.total.map(|total| printer.progress(now.file, total as usize));
            before = 0;
        }
        if let Some(progress) = &progress {
            progress.advance((now.done - before.min(now.done)) as usize);
        }
        before = now.done;
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    Ok(snapshot?.folder)
}

/// Embeddings `[n, d]` of texts, not normalised; finished parts are kept in `cache`.
pub(crate) fn embed(
    clip: &Clip,
    what: &str,
    texts: &[String],
    cache: Option<&Cache>,
    printer: Printer,
) -> anyhow::Result<Array2<f32>> {
    let progress = printer.progress(what, texts.len());
    let extraction = TextExtraction {
        clip,
        cache,
        progress: &|count| {
            progress.advance(count);
            if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    };
    Ok(extraction.run(texts)?)
}

/// An opened pair of towers and the image tower as extraction wants it.
pub(crate) struct Towers {
    clip: Arc<Clip>,
    images: LoadedBackbone,
}

impl Towers {
    /// `patches`: whether features of the patches are wanted too.
    pub(crate) fn new(clip: Clip, patches: bool) -> Self {
        let clip = Arc::new(clip);
        Self { images: clip.image_tower(patches), clip }
    }

    /// The same towers, with or without features of the patches.
    pub(crate) fn with_patches(&self, patches: bool) -> Self {
        Self { images: self.clip.image_tower(patches), clip: Arc::clone(&self.clip) }
    }

    pub(crate) fn clip(&self) -> &Clip {
        &self.clip
    }

    /// Features of images, with the towers' logits for the known classes: cosines times the learned scale.
    ///
    /// Labels stay where the set's classes are as many as the known ones, else they are −1.
    pub(crate) fn read(
        &self,
        what: &str,
        images: Images,
        known: &Features,
        reading: &Reading,
        printer: Printer,
    ) -> anyhow::Result<Set> {
        let rows = 0..images.len();
        let FromImages { mut features, counts } = images.features(what, &self.images, reading, rows, printer)?;
        let classes = known.classes();
        if images.class_names().len() != classes {
            features.labels = features.labels.map(|labels| labels.mapv(|_| UNKNOWN_LABEL));
        }
        features.logits = Some(self.logits(&features, known)?);
        features.class_names.clone_from(&known.class_names);
        Ok(Set { features, images: Some(images), counts: Some(counts) })
    }

    /// `[n, K]`: cosines of the images with the known classes, times the learned scale.
    pub(crate) fn logits(&self, features: &Features, known: &Features) -> anyhow::Result<Array2<f32>> {
        let classes = known.unit_prompts(CLASSES)?.context("there are no class prompts")?;
        let embedding = features.embedding.as_ref().context("the image tower gave no embedding")?;
        let unit =
            unit_rows(embedding).map_err(|row| anyhow::anyhow!("the embedding of {} is zero", features.id(row)))?;
        let scale = f64::from(self.clip.scale());
        // Row by row, so that a row's bits do not depend on the others.
        let cosine = |(row, class): (usize, usize)| -> f64 {
            unit.row(row).iter().zip(classes.row(class)).map(|(x, t)| x * t).sum()
        };
        Ok(Array2::from_shape_fn((unit.nrows(), classes.nrows()), |place| (scale * cosine(place)) as f32))
    }
}
