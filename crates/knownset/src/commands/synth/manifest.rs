//! What became of every image: `manifest.jsonl`, in figures and to look at.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use image::RgbImage;
use knownset_data::words::spoken;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{contact, files};
use crate::commands::Status;
use crate::images::Images;
use crate::printer::Printer;

/// The folder's files.
pub(super) const MANIFEST: &str = "manifest.jsonl";
pub(super) const RECORD: &str = "made.json";
const CONTACT: &str = "contact.html";

/// A line: an image that was made, or one that was not and why.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The image's place below the folder; nothing where there is none.
    pub(super) path: Option<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<String>,
    /// K, the number of known classes, of an outlier; the class of an image that is still of one.
    pub(super) label: i64,
    pub(super) kind: Kind,
    /// The known class that it comes from.
    pub(super) class: String,
    /// The image that it comes from.
    pub(super) id: String,
    /// That is damaged, and what it lacks is filled in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) truncated: bool,
    #[serde(flatten)]
    pub(super) drawn: Option<Drawn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Outlier,
    Background,
    Reconstruction,
}

impl Entry {
    /// About the image in a row, of which nothing is made yet.
    pub(super) fn of(images: &Images, row: usize, kind: Kind, label: i64) -> Self {
        let name = usize::try_from(images.label(row)).ok().and_then(|label| images.class_names().get(label));
        Self {
            path: None,
            rejected: None,
            label,
            kind,
            class: name.map_or_else(|| nameless(images.label(row)), String::clone),
            id: images.id(row).to_owned(),
            truncated: false,
            drawn: None,
        }
    }

    /// The picture in the row; nothing where it cannot be read and is left out, as the line then says.
    pub(super) fn read(
        &mut self,
        images: &Images,
        row: usize,
        strict: bool,
        printer: Printer,
    ) -> anyhow::Result<Option<RgbImage>> {
        match images.decoded(row) {
            Ok(decoded) => {
                self.truncated = decoded.truncated;
                Ok(Some(decoded.image))
            }
            Err(why) if strict => Err(why.into()),
            Err(why) => {
                printer.note(format!("warning: left out {why}"));
                self.rejected = Some("unreadable".into());
                Ok(None)
            }
        }
    }
}

/// What a class without a name is called.
pub(super) fn nameless(label: i64) -> String {
    if label < 0 { "no class".to_owned() } else { label.to_string() }
}

/// Whether the image of a manifest's line, if it has one, is in the folder still.
pub(super) fn is_there(folder: &Path, line: &Value) -> bool {
    line["path"].as_str().is_none_or(|path| folder.join(path).is_file())
}

/// How an outlier came to be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Drawn {
    pub(super) caption: String,
    /// Which step outwards, from 0.
    pub(super) step: usize,
    pub(super) seed: u64,
    /// Cosine with the class's name; nothing where nothing was drawn.
    pub(super) clip_score: Option<f64>,
}

/// What was made, in figures.
#[derive(Serialize)]
pub(super) struct Summary {
    out: String,
    /// Images.
    n: usize,
    /// Why others are none, and how many.
    rejected: BTreeMap<String, usize>,
    /// Images that come from damaged ones, partly filled in.
    truncated: usize,
    classes: Vec<ClassSummary>,
    /// Of images that were drawn; nothing where none was.
    clip_score: Option<ClipScores>,
    contact: String,
}

/// Mean cosines of images with their class's name.
#[derive(Serialize)]
struct ClipScores {
    drawn: f64,
    /// Of those that were not rejected; nothing where all were.
    kept: Option<f64>,
}

impl ClipScores {
    fn of(entries: &[Entry]) -> Option<Self> {
        let scores = |kept: bool| -> Option<f64> {
            let chosen = entries.iter().filter(|entry| !kept || entry.rejected.is_none());
            let scores: Vec<f64> = chosen.filter_map(|entry| entry.drawn.as_ref()?.clip_score).collect();
            (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
        };
        Some(Self { drawn: scores(false)?, kept: scores(true) })
    }
}

/// The same of the images that come from one class.
#[derive(Serialize)]
pub(super) struct ClassSummary {
    pub(super) class: String,
    pub(super) n: usize,
    pub(super) rejected: BTreeMap<String, usize>,
}

impl Summary {
    /// Reads the manifest in `out`, and leaves a page to look at beside it.
    pub(super) fn new(out: &Path, title: &str, images: &Images) -> anyhow::Result<Self> {
        let entries: Vec<Entry> = files::read_lines(&out.join(MANIFEST))?;
        let mut classes: Vec<ClassSummary> = Vec::new();
        let mut rejected = BTreeMap::new();
        for entry in &entries {
            let place = classes.iter().position(|class| class.class == entry.class).unwrap_or_else(|| {
                classes.push(ClassSummary { class: entry.class.clone(), n: 0, rejected: BTreeMap::new() });
                classes.len() - 1
            });
            match &entry.rejected {
                None => classes[place].n += 1,
                Some(why) => {
                    *classes[place].rejected.entry(why.clone()).or_default() += 1;
                    *rejected.entry(why.clone()).or_default() += 1;
                }
            }
        }
        let page = out.join(CONTACT);
        contact::of_manifest(&page, title, &entries, &classes, images)?;
        let n = classes.iter().map(|class| class.n).sum();
        let truncated = entries.iter().filter(|entry| entry.truncated && entry.path.is_some()).count();
        let clip_score = ClipScores::of(&entries);
        let (out, contact) = (out.display().to_string(), page.display().to_string());
        Ok(Self { out, n, rejected, truncated, classes, clip_score, contact })
    }

    /// Counts images that were rejected before the manifest could say so.
    pub(super) fn without(mut self, why: &str, count: usize) -> Self {
        if count > 0 {
            *self.rejected.entry(why.to_owned()).or_default() += count;
        }
        self
    }

    /// Images.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    pub(super) fn print(&self, printer: Printer) -> anyhow::Result<Status> {
        printer.result(self, || self.to_string())?;
        Ok(Status::Done)
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        let reasons = self.rejected.keys().map(String::as_str);
        table.load_style(presets::NOTHING).set_header(["class", "images"].into_iter().chain(reasons));
        let row = |name: &str, n: usize, rejected: &BTreeMap<String, usize>| {
            let counts = self.rejected.keys().map(|why| rejected.get(why).copied().unwrap_or_default().to_string());
            [name.to_owned(), n.to_string()].into_iter().chain(counts).collect::<Vec<_>>()
        };
        for class in &self.classes {
            table.add_row(row(&spoken(&class.class), class.n, &class.rejected));
        }
        table.add_row(row("all", self.n, &self.rejected));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}\n{}: {} images; {}", self.out, self.n, self.contact)?;
        if self.truncated > 0 {
            write!(f, "\n{} of them come from damaged images, partly filled in", self.truncated)?;
        }
        if let Some(ClipScores { drawn, kept }) = &self.clip_score {
            write!(f, "\nmean CLIP score {drawn:.3}")?;
            if let Some(kept) = kept.filter(|kept| kept != drawn) {
                write!(f, ", {kept:.3} of those that were kept")?;
            }
        }
        Ok(())
    }
}
