//! `knownset synth backgrounds`: boxes around the known object → images without it.

use std::path::Path;

use anyhow::Context;
use image::RgbImage;
use knownset_train::synthesis::{Pixels, Rejected, blurred};
use serde::Deserialize;
use serde_json::{Value, json};

use super::journal::Journal;
use super::manifest::{Entry, Kind, MANIFEST, RECORD, Summary};
use super::record::{claim, digest, holds};
use super::{boxes, dataset, files, manifest};
use crate::cli::{Backgrounds, Boxes, GroundingName, Lines};
use crate::commands::Status;
use crate::images::Images;
use crate::printer::Printer;
use crate::shard::share;

/// What is read of a line that `synth boxes` writes.
#[derive(Deserialize)]
struct Line {
    id: String,
    boxes: Vec<[f32; 4]>,
}

/// An image and where its object is.
struct Boxed {
    row: usize,
    boxes: Vec<[f32; 4]>,
}

pub(super) fn run(args: &Backgrounds, printer: Printer) -> anyhow::Result<Status> {
    make(args, printer)?.print(printer)
}

/// Makes what is not there yet.
pub(super) fn make(args: &Backgrounds, printer: Printer) -> anyhow::Result<Summary> {
    let out = &args.out;
    let images = dataset::open(&args.source.data, args.strict)?;
    let (path, shard) = match (&args.boxes, &args.grounding_weights) {
        (Some(path), _) => (path.clone(), args.shard),
        (None, Some(weights)) => {
            let path = out.join("boxes.jsonl");
            // The share is taken here; what comes behind has to do with all lines of this file.
            boxes::write(&looked_for(args, weights, &path), printer)?;
            (path, None)
        }
        (None, None) => anyhow::bail!("there are neither --boxes nor --grounding-weights"),
    };
    let all = boxed(&path, &images)?;
    let looked_at = if args.boxes.is_some() { images.len() } else { share(images.len(), args.shard).len() };
    let unsaid = looked_at - all.len().min(looked_at);
    if unsaid > 0 {
        printer.note(format!("note: {} has nothing to say of {unsaid} images", path.display()));
    }
    let range = share(all.len(), shard);
    let settings = json!({
        "stage": "backgrounds", "images": images.fingerprint(), "boxes": digest(&path)?, "size": args.size,
        "window": args.window, "rows": [range.start, range.end],
    });
    let lines = out.join(MANIFEST);
    let _claim = claim(&out.join(RECORD), &settings, out, || holds(&lines))?;
    let place =
        |line: &Value, next: usize| (range.contains(&next) && line["id"] == images.id(all[next].row)).then_some(next);
    let mut journal = Journal::open(&lines, range.start, place, |line| manifest::is_there(out, line))?;
    // Behind the known classes.
    let label = dataset::known_classes(&images) as i64;
    let of = |row: usize| background(args, &images, &all[row], label, printer);
    journal.fill(range, args.batch_size, "backgrounds", printer, of)?;
    Ok(Summary::new(out, "Backgrounds", &images)?.without("no-line", if args.boxes.is_none() { unsaid } else { 0 }))
}

/// Looking for each image's own class.
fn looked_for(args: &Backgrounds, weights: &Path, out: &Path) -> Boxes {
    Boxes {
        grounding: GroundingName::GroundingDino,
        weights: weights.to_owned(),
        prompt: None,
        thresholds: args.thresholds,
        lines: Lines {
            source: args.source.clone(),
            out: out.to_owned(),
            shard: args.shard,
            batch_size: args.batch_size,
            strict: args.strict,
        },
    }
}

/// The boxes of a file, in its order.
fn boxed(path: &Path, images: &Images) -> anyhow::Result<Vec<Boxed>> {
    let rows = images.by_id();
    let mut next = 0;
    let mut all = Vec::new();
    for (index, Line { id, boxes }) in files::read_lines(path)?.into_iter().enumerate() {
        let place = || format!("{}: line {}", path.display(), index + 1);
        let row = *rows.get(id.as_str()).with_context(|| format!("{}: {id} is not among the images", place()))?;
        anyhow::ensure!(row >= next, "{}: {id} stands behind an image that comes later", place());
        next = row + 1;
        all.push(Boxed { row, boxes });
    }
    Ok(all)
}

/// Blurs one image and keeps it, unless there is a reason not to.
fn background(
    args: &Backgrounds,
    images: &Images,
    boxed: &Boxed,
    label: i64,
    printer: Printer,
) -> anyhow::Result<Entry> {
    let mut entry = Entry::of(images, boxed.row, Kind::Background, label);
    let Some(picture) = entry.read(images, boxed.row, args.strict, printer)? else { return Ok(entry) };
    match blur(picture, &boxed.boxes, args.size, args.window as usize) {
        Ok(picture) => {
            let label = images.label(boxed.row);
            let folder = if label < 0 { "none".to_owned() } else { label.to_string() };
            let path = format!("images/{folder}/{:06}.png", boxed.row);
            files::write_picture(&args.out.join(&path), &picture)?;
            entry.path = Some(path);
        }
        Err(why) => entry.rejected = serde_json::to_value(why)?.as_str().map(str::to_owned),
    }
    Ok(entry)
}

/// The picture as a square of that side, 0 for as it is, with the boxes in it blurred by such a window.
fn blur(picture: RgbImage, boxes: &[[f32; 4]], side: u32, window: usize) -> Result<RgbImage, Rejected> {
    let (before, picture) = (picture.dimensions(), files::sized(picture, side));
    let (width, height) = picture.dimensions();
    let (across, down) = (f64::from(width) / f64::from(before.0), f64::from(height) / f64::from(before.1));
    let scaled = |&[x0, y0, x1, y1]: &[f32; 4]| {
        let scale = |place: f32, factor: f64| (f64::from(place) * factor) as f32;
        [scale(x0, across), scale(y0, down), scale(x1, across), scale(y1, down)]
    };
    let boxes: Vec<[f32; 4]> = boxes.iter().map(scaled).collect();
    let pixels = Pixels::new(width as usize, height as usize, picture.into_raw()).expect("three bytes for each pixel");
    let blurred = blurred(&pixels, &boxes, window)?;
    Ok(RgbImage::from_raw(width, height, blurred.values().to_vec()).expect("as many pixels as before"))
}

#[cfg(test)]
mod tests {
    use knownset_train::synthesis::WINDOW;

    use super::*;

    #[test]
    fn boxes_grow_with_the_picture() {
        let picture = RgbImage::from_fn(8, 4, |x, y| image::Rgb([(x * 30) as u8, (y * 60) as u8, 7]));
        let large = blur(picture.clone(), &[[2.0, 1.0, 4.0, 3.0]], 40, WINDOW).unwrap();
        let plain = files::sized(picture.clone(), 40);
        assert_eq!(large.dimensions(), (40, 40));
        let changed = |x: u32, y: u32| large.get_pixel(x, y) != plain.get_pixel(x, y);
        let places: Vec<(u32, u32)> = (0..1600).map(|i| (i % 40, i / 40)).filter(|&(x, y)| changed(x, y)).collect();
        assert!(!places.is_empty());
        assert!(places.iter().all(|&(x, y)| (10..20).contains(&x) && (10..30).contains(&y)), "{places:?}");
        assert_eq!(blur(picture, &[], 0, WINDOW), Err(Rejected::NothingFound));
    }
}
