//! `knownset synth reconstructions`: images → the same, as a pipeline's autoencoder gives them back.
//!
//! Whatever a pipeline draws comes out of its decoder and bears its traces. A classifier that tells fakes by those has
//! learnt nothing of what they show: it refuses the reconstruction of an image whose original it knows.

use anyhow::Context;
use image::RgbImage;
use knownset_core::{Filter, Preprocess, Resize};
use knownset_data::preprocess;
use knownset_nn::diffusion::Pipeline;
use ndarray::Array3;
use serde_json::json;

use super::journal::Journal;
use super::manifest::{Entry, Kind, MANIFEST, RECORD, Summary};
use super::record::{claim, holds};
use super::{dataset, drawing, files, manifest};
use crate::cli::Reconstructions;
use crate::commands::Status;
use crate::printer::Printer;
use crate::shard::share;

pub(super) fn run(args: &Reconstructions, printer: Printer) -> anyhow::Result<Status> {
    let (out, drawer) = (&args.out, &args.drawer);
    let images = dataset::open(&args.source.data, args.strict)?;
    dataset::check_folders(images.class_names(), &args.source.data)?;
    let pipeline = drawing::pipeline(&drawer.weights, drawer.on)?;
    let vae = pipeline.autoencoder().is_some();
    anyhow::ensure!(vae, "the pipeline in {} has no autoencoder", drawer.weights.display());
    let [side, ..] = drawing::pixels(&pipeline, [drawing::side(&pipeline, &drawer.weights)?; 2]);
    let range = share(images.len(), args.shard);
    let settings = json!({
        "stage": "reconstructions", "images": images.fingerprint(), "pipeline": pipeline.sha256(),
        "precision": drawer.on.precision.to_string(), "rows": [range.start, range.end],
    });
    let path = out.join(MANIFEST);
    fs_err::create_dir_all(out)?;
    files::check_own(out, &[MANIFEST, RECORD])?;
    let _claim = claim(&out.join(RECORD), &settings, out, || holds(&path))?;
    let mut journal = Journal::open(
        &path,
        range.start,
        |line, next| (range.contains(&next) && line["id"] == images.id(next)).then_some(next),
        |line| manifest::is_there(out, line),
    )?;
    let made_of = |row: usize| -> anyhow::Result<Entry> {
        let label = images.label(row);
        let mut entry = Entry::of(&images, row, Kind::Reconstruction, label);
        if let Some(picture) = entry.read(&images, row, args.strict, printer)? {
            let Some(picture) = reconstructed(&pipeline, &picture, side)? else {
                entry.rejected = Some("not-finite".into());
                return Ok(entry);
            };
            let path = match usize::try_from(label).ok() {
                None => format!("{row:06}.png"),
                Some(label) => {
                    let class = images.class_names().get(label).cloned().unwrap_or_else(|| label.to_string());
                    format!("{class}/{row:06}.png")
                }
            };
            files::write_picture(&out.join(&path), &picture)?;
            entry.path = Some(path);
        }
        Ok(entry)
    };
    journal.fill(range, drawer.at_once, "reconstructions", printer, made_of)?;
    Summary::new(out, "Reconstructions", &images)?.print(printer)
}

/// The picture's middle, as a square of the pipeline's side, through the autoencoder and back; nothing where its numbers
/// overflow.
fn reconstructed(pipeline: &Pipeline, picture: &RgbImage, side: usize) -> anyhow::Result<Option<RgbImage>> {
    let size = u32::try_from(side)?;
    let resize = Resize::Shorter { size, filter: Filter::Bilinear };
    let planes = preprocess(picture, &Preprocess { resize, size, mean: [0.0; 3], std: [1.0; 3] });
    let planes = Array3::from_shape_vec((3, side, side), planes)?;
    let pixels = pipeline.reconstruct(planes.view().permuted_axes([1, 2, 0]));
    if pixels.iter().any(|value| !value.is_finite()) {
        return Ok(None);
    }
    files::picture(&pixels).context("an image of other colours than red, green and blue").map(Some)
}
