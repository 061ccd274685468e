//! A page to look at: of every class some images, each behind the one that it comes from.

use std::path::Path;

use anyhow::Context;
use minijinja::{Value, context};

use super::manifest::{ClassSummary, Entry};
use crate::gallery::png;
use crate::images::Images;
use crate::report::html::{Gallery, Thumbnail, environment};

/// Most images that are shown of a class, with those that they come from.
const SHOWN: usize = 22;

/// The page; images are in it, small.
pub(super) fn page(
    folder: &Path,
    title: &str,
    entries: &[Entry],
    classes: &[ClassSummary],
    images: &Images,
) -> anyhow::Result<String> {
    let rows = images.by_id();
    let mut galleries: Vec<Value> = Vec::new();
    for summary in classes {
        let made: Vec<&Entry> =
            entries.iter().filter(|entry| entry.class == summary.class && entry.path.is_some()).collect();
        let families: Vec<&[&Entry]> = made.chunk_by(|a, b| a.id == b.id).collect();
        let size = 1 + families.iter().map(|family| family.len()).max().unwrap_or_default();
        let count = families.len().min((SHOWN / size).max(1));
        let mut shown = Vec::new();
        for family in (0..count).map(|place| families[place * families.len() / count]) {
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
        let title = format!("{}: {} images{rejected}", summary.class, summary.n);
        galleries.push(Gallery { title, images: shown }.context());
    }
    let environment = environment("contact.html", include_str!("../../report/contact.html.jinja"))?;
    let page = context! { title, galleries, version => env!("CARGO_PKG_VERSION") };
    Ok(environment.get_template("contact.html")?.render(page)?)
}

fn thumbnail(folder: &Path, entry: &Entry) -> anyhow::Result<Option<Thumbnail>> {
    let Some(path) = &entry.path else { return Ok(None) };
    let whole = folder.join(path);
    let picture = image::open(&whole).with_context(|| format!("cannot read {}", whole.display()))?.to_rgb8();
    let score = match &entry.drawn {
        Some(drawn) => {
            let score = drawn.clip_score.map(|score| format!(", {score:.2}")).unwrap_or_default();
            format!("step {}{score}", drawn.step + 1)
        }
        None => "made".into(),
    };
    Ok(png(&picture).map(|png| Thumbnail { id: path.clone(), score, png }))
}
