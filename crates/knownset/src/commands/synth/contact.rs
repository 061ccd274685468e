//! A page to look at: of every class some images, each behind the one that it comes from, or with what was said of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use image::{Rgb, RgbImage};
use knownset_data::words::spoken;
use minijinja::{Value, context};
use serde::Deserialize;

use super::files;
use super::manifest::{ClassSummary, Entry, MANIFEST, nameless};
use crate::gallery::png;
use crate::images::Images;
use crate::report::html::{Gallery, Thumbnail, environment};

/// Most images that are shown of a class, with those that they come from.
const SHOWN: usize = 22;
/// Colour of a box's edge.
const EDGE: Rgb<u8> = Rgb([255, 0, 255]);

/// Writes the page of a manifest; images are in it, small.
pub(super) fn of_manifest(
    path: &Path,
    title: &str,
    entries: &[Entry],
    classes: &[ClassSummary],
    images: &Images,
) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let rows = images.by_id();
    let mut galleries = Vec::new();
    for summary in classes {
        let made: Vec<&Entry> =
            entries.iter().filter(|entry| entry.class == summary.class && entry.path.is_some()).collect();
        let families: Vec<&[&Entry]> = made.chunk_by(|a, b| a.id == b.id).collect();
        let size = 1 + families.iter().map(|family| family.len()).max().unwrap_or_default();
        let mut shown = Vec::new();
        for family in spread(&families, (SHOWN / size).max(1)) {
            let original = rows.get(family[0].id.as_str()).and_then(|&row| images.picture(row));
            let caption = family[0].drawn.as_ref().map_or(&family[0].id, |drawn| &drawn.caption);
            if let Some(png) = original.and_then(|picture| png(&picture.image)) {
                shown.push(Thumbnail { id: caption.clone(), score: "from".into(), png });
            }
            for entry in family.iter().take(SHOWN) {
                shown.extend(thumbnail(folder, entry)?);
            }
        }
        let rejected: Vec<String> = summary.rejected.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let rejected = if rejected.is_empty() { String::new() } else { format!("; rejected: {}", rejected.join(", ")) };
        galleries.push(Gallery {
            title: format!("{}: {} images{rejected}", spoken(&summary.class), summary.n),
            images: shown,
        });
    }
    write(path, title, MANIFEST, " Each image stands behind the one that it comes from.", &galleries)
}

/// What is read of a line that a stage says of an image.
#[derive(Deserialize)]
struct Said {
    id: String,
    label: i64,
    #[serde(default)]
    caption: Option<String>,
    /// In pixels.
    #[serde(default)]
    boxes: Vec<[f32; 4]>,
    #[serde(default)]
    phrases: Vec<String>,
}

/// Writes the page of a file of captions or of boxes, beside it.
pub(super) fn of_lines(lines: &Path, title: &str, images: &Images) -> anyhow::Result<PathBuf> {
    let mut page = lines.as_os_str().to_owned();
    page.push(".html");
    let rows = images.by_id();
    let mut classes: BTreeMap<i64, Vec<Said>> = BTreeMap::new();
    for said in files::read_lines::<Said>(lines)? {
        classes.entry(said.label).or_default().push(said);
    }
    let mut galleries = Vec::new();
    for (label, said) in classes {
        let mut shown = Vec::new();
        for said in spread(&said, SHOWN) {
            let Some(mut picture) = rows.get(said.id.as_str()).and_then(|&row| images.picture(row)) else { continue };
            said.boxes.iter().for_each(|corners| outline(&mut picture.image, corners));
            let text = said.caption.clone().unwrap_or_else(|| said.phrases.join(", "));
            shown.extend(png(&picture.image).map(|png| Thumbnail { id: text, score: said.id.clone(), png }));
        }
        let class = usize::try_from(label).ok().and_then(|label| images.class_names().get(label));
        let class = class.map_or_else(|| nameless(label), |name| spoken(name));
        galleries.push(Gallery { title: format!("{class}: {} images", said.len()), images: shown });
    }
    let name = lines.file_name().unwrap_or_default().to_string_lossy();
    let page = PathBuf::from(page);
    write(&page, title, &name, "", &galleries)?;
    Ok(page)
}

/// Writes the page of images in folders of classes.
pub(super) fn of_samples(path: &Path, list: &str, classes: &[(String, Vec<PathBuf>)]) -> anyhow::Result<()> {
    let mut galleries = Vec::new();
    for (class, all) in classes {
        let mut shown = Vec::new();
        for path in spread(all, SHOWN) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            shown.extend(saved(path)?.map(|png| Thumbnail { id: name, score: String::new(), png }));
        }
        galleries.push(Gallery { title: format!("{class}: {} images", all.len()), images: shown });
    }
    write(path, "Samples", list, "", &galleries)
}

fn write(path: &Path, title: &str, list: &str, more: &str, galleries: &[Gallery]) -> anyhow::Result<()> {
    let environment = environment("contact.html", include_str!("../../report/contact.html.jinja"))?;
    let galleries: Vec<Value> = galleries.iter().map(Gallery::context).collect();
    let page = context! { title, list, more, galleries, version => env!("CARGO_PKG_VERSION") };
    files::write(path, environment.get_template("contact.html")?.render(page)?.as_bytes())
}

/// At most so many of all, as far from one another as they can be.
fn spread<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = all.len().min(most);
    (0..count).map(move |place| &all[place * all.len() / count])
}

/// Draws a box's edge.
fn outline(picture: &mut RgbImage, &[x0, y0, x1, y1]: &[f32; 4]) {
    let (width, height) = picture.dimensions();
    let place = |value: f32, side: u32| value.clamp(0.0, (side - 1) as f32) as u32;
    let (x0, x1) = (place(x0, width), place(x1, width));
    let (y0, y1) = (place(y0, height), place(y1, height));
    for x in x0..=x1 {
        for y in [y0, y1] {
            picture.put_pixel(x, y, EDGE);
        }
    }
    for y in y0..=y1 {
        for x in [x0, x1] {
            picture.put_pixel(x, y, EDGE);
        }
    }
}

/// A picture that was saved, small.
fn saved(path: &Path) -> anyhow::Result<Option<String>> {
    let picture = image::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(png(&picture.to_rgb8()))
}

fn thumbnail(folder: &Path, entry: &Entry) -> anyhow::Result<Option<Thumbnail>> {
    let Some(path) = &entry.path else { return Ok(None) };
    let whole = folder.join(path);
    let score = match &entry.drawn {
        Some(drawn) => {
            let score = drawn.clip_score.map(|score| format!(", {score:.2}")).unwrap_or_default();
            format!("step {}{score}", drawn.step + 1)
        }
        None => "made".into(),
    };
    Ok(saved(&whole)?.map(|png| Thumbnail { id: path.clone(), score, png }))
}
