//! Captions → text features.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context;
use knownset_nn::clip::Clip;
use knownset_nn::extract::Cache;
use ndarray::Array2;
use serde::Deserialize;

use super::files::read_lines;
use crate::images::Images;
use crate::printer::Printer;
use crate::towers;

/// What is said of an image.
pub(super) struct Caption {
    /// The image's row.
    pub(super) row: usize,
    pub(super) id: String,
    /// The image's class.
    pub(super) label: usize,
    pub(super) text: String,
    /// Whether the image is damaged.
    pub(super) truncated: bool,
}

/// What is read of a line that `synth captions` writes.
#[derive(Deserialize)]
struct Line {
    id: String,
    caption: String,
    #[serde(default)]
    truncated: bool,
}

/// The captions of a file, in its order; those of images without a class are left out. Labels are the images'.
pub(super) fn captions(path: &Path, images: &Images, printer: Printer) -> anyhow::Result<Vec<Caption>> {
    let rows = images.by_id();
    let (mut captions, mut seen, mut without) = (Vec::new(), HashSet::new(), 0);
    for (index, Line { id, caption, truncated }) in read_lines(path)?.into_iter().enumerate() {
        let place = || format!("{}: line {}", path.display(), index + 1);
        let row = *rows.get(id.as_str()).with_context(|| format!("{}: {id} is not among the images", place()))?;
        anyhow::ensure!(seen.insert(row), "{}: {id} has a caption already", place());
        match usize::try_from(images.label(row)) {
            Ok(label) => captions.push(Caption { row, id, label, text: caption, truncated }),
            Err(_) => without += 1,
        }
    }
    if without > 0 {
        printer.note(format!("warning: {without} captions of images without a class left out"));
    }
    Ok(captions)
}

/// Features `[n, d]` of the captions in `template`, not normalised.
pub(super) fn features(
    captions: &[Caption],
    template: &str,
    classes: &[String],
    clip: &Clip,
    cache: Option<&Cache>,
    printer: Printer,
) -> anyhow::Result<Array2<f32>> {
    let texts: Vec<String> =
        captions.iter().map(|caption| filled(template, &classes[caption.label], &caption.text)).collect();
    towers::embed(clip, "text features", &texts, cache, printer)
}

fn filled(template: &str, class: &str, caption: &str) -> String {
    let halves: Vec<String> = template.split("{caption}").map(|half| half.replace("{class}", class)).collect();
    halves.join(caption)
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn what_stands_in_a_gap_is_no_gap() {
        let template = "This is a photo of {class} and {caption}.";
        assert_eq!(filled(template, "{caption}", "a {class}"), "This is a photo of {caption} and a {class}.");
    }
}
