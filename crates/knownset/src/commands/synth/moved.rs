//! Text features → the edge of each class → moved outwards.

use std::path::Path;

use anyhow::Context;
use knownset_train::synthesis::{Nearness, Outward, edges};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use serde::Serialize;

use super::files::{Arrays, numbers, write_arrays, write_lines};
use super::texts::Caption;

/// Features that no text has.
pub(super) struct Moved {
    /// `[m, d]`: class by class, caption by caption, step by step.
    pub(super) features: Array2<f32>,
    /// Which caption each one comes from.
    pub(super) captions: Vec<usize>,
    /// Which of its steps each one is.
    pub(super) steps: Vec<usize>,
}

/// A line of `edges.jsonl`.
#[derive(Serialize)]
struct Edge<'a> {
    /// Row of `features.npz`.
    row: usize,
    id: &'a str,
    label: usize,
    nearness: f64,
}

impl Moved {
    /// As `fakes.npz` has them.
    pub(super) fn read(path: &Path, captions: usize, width: usize) -> anyhow::Result<Self> {
        let mut arrays = Arrays::read(path)?;
        let features = arrays.rows("features", width)?;
        let (captions, steps) = (arrays.numbers("captions", captions)?, arrays.numbers("steps", usize::MAX)?);
        let same = features.nrows() == captions.len() && captions.len() == steps.len();
        anyhow::ensure!(same, "{} has arrays of different lengths", path.display());
        Ok(Self { features, captions, steps })
    }

    /// Newly made; `edges.jsonl` and `fakes.npz` are written into `folder`.
    pub(super) fn make(
        folder: &Path,
        texts: ArrayView2<'_, f32>,
        captions: &[Caption],
        classes: &[String],
        (nearness, percent): (Nearness, f64),
        outward: Outward,
    ) -> anyhow::Result<Self> {
        let (mut lines, mut features, mut from) = (Vec::new(), Vec::new(), Vec::new());
        for (label, class) in classes.iter().enumerate() {
            let rows: Vec<usize> = (0..captions.len()).filter(|&row| captions[row].label == label).collect();
            let texts = texts.select(Axis(0), &rows);
            let found = edges(texts.view(), nearness, percent).with_context(|| format!("the class {class}"))?;
            let within: Vec<usize> = found.rows.iter().map(|&(row, _)| row).collect();
            features.push(outward.features(texts.select(Axis(0), &within).view(), found.mean.view()));
            for (within, nearness) in found.rows {
                let row = rows[within];
                lines.push(Edge { row, id: &captions[row].id, label, nearness });
                from.extend(std::iter::repeat_n(row, outward.count));
            }
        }
        let views: Vec<_> = features.iter().map(|features| features.view()).collect();
        let features = concatenate(Axis(0), &views).context("there are no classes")?;
        let steps: Vec<usize> = (0..from.len()).map(|place| place % outward.count).collect();
        write_lines(&folder.join("edges.jsonl"), &lines)?;
        let arrays = [
            ("features", features.clone().into()),
            ("captions", numbers(from.iter().copied())),
            ("steps", numbers(steps.iter().copied())),
        ];
        write_arrays(&folder.join("fakes.npz"), arrays)?;
        Ok(Self { features, captions: from, steps })
    }
}
