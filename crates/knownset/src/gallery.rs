//! The images worth looking at: the most and the least in-distribution of every set.

use std::collections::HashMap;
use std::io::Cursor;

use base64::Engine;
use image::RgbImage;
use image::imageops::{FilterType, resize, thumbnail};

use crate::benchmark::Sets;
use crate::images::Images;
use crate::inputs::Set;
use crate::report::html::{DetectorScores, Gallery, Thumbnail};

/// Images per row.
const IMAGES: usize = 11;
/// Longest side of a thumbnail in pixels.
const SIDE: u32 = 96;

/// Rows of images by one detector's scores; none for sets whose images are not at hand.
pub(crate) fn galleries(sets: &Sets, scores: &DetectorScores) -> Vec<Gallery> {
    let mut galleries = Vec::new();
    let mut add = |title: String, set: &Set, rows: &[usize], scores: &[f64], highest: bool| {
        if let Some(images) = &set.images {
            galleries.push(Gallery { title, images: row(images, set, rows, scores, highest) });
        }
    };
    if let Some(pair) = scores.against.first() {
        add("In-distribution images with the lowest scores".into(), &sets.id, &pair.id_rows, &pair.id, false);
        add("In-distribution images with the highest scores".into(), &sets.id, &pair.id_rows, &pair.id, true);
    }
    for ((name, set), pair) in sets.ood.iter().zip(&scores.against) {
        add(format!("{name}: the highest scores, taken for known"), set, &pair.ood_rows, &pair.ood, true);
        add(format!("{name}: the lowest scores, surely refused"), set, &pair.ood_rows, &pair.ood, false);
    }
    galleries
}

/// `scores` are of the set's rows named in `rows`.
fn row(images: &Images, set: &Set, rows: &[usize], scores: &[f64], highest: bool) -> Vec<Thumbnail> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    if highest {
        order.reverse();
    }
    let by_id: HashMap<&str, usize> = images.by_id();
    let thumbnails = order.into_iter().take(IMAGES).filter_map(|index| {
        let id = set.features.id(rows[index]);
        let picture = images.picture(*by_id.get(id.as_str())?)?;
        Some(Thumbnail { score: format!("{:.3}", scores[index]), png: png(&picture.image)?, id })
    });
    thumbnails.collect()
}

/// A small PNG in base64; images up to [`SIDE`] keep their pixels.
pub(crate) fn png(image: &RgbImage) -> Option<String> {
    let longest = image.width().max(image.height());
    let scale = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(longest)).max(1) as u32;
    let (width, height) = (scale(image.width()), scale(image.height()));
    let small = match longest {
        0..=SIDE => image.clone(),
        _ if longest <= 4 * SIDE => resize(image, width, height, FilterType::Triangle),
        _ => thumbnail(image, width, height),
    };
    let mut bytes = Cursor::new(Vec::new());
    small.write_to(&mut bytes, image::ImageFormat::Png).ok()?;
    Some(base64::engine::general_purpose::STANDARD.encode(bytes.into_inner()))
}
