//! Text features → the edge of each class → moved outwards.

use std::path::Path;

use anyhow::Context;
use knownset_train::synthesis::{Nearness, Outward, edges};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use serde::Serialize;

use super::files::{Arrays, numbers, write_arrays};
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

/// Fewer captions of a class have no edge.
pub(super) const LEAST: usize = 2;

/// The rows of the captions of each class.
pub(super) fn by_class(captions: &[Caption], classes: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); classes];
    captions.iter().enumerate().for_each(|(row, caption)| rows[caption.label].push(row));
    rows
}

/// A line of `edges.jsonl`.
#[derive(Serialize)]
pub(super) struct Edge<'a> {
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

    /// Newly made of texts `[n, d]`, with the edge that they come from; classes without one have none.
    pub(super) fn make<'a>(
        texts: ArrayView2<'_, f32>,
        captions: &'a [Caption],
        rows: &[Vec<usize>],
        classes: &[String],
        (nearness, percent): (Nearness, f64),
        outward: Outward,
    ) -> anyhow::Result<(Self, Vec<Edge<'a>>)> {
        let (mut edge, mut features, mut from) = (Vec::new(), Vec::new(), Vec::new());
        for (label, (class, rows)) in classes.iter().zip(rows).enumerate().filter(|(_, (_, rows))| rows.len() >= LEAST)
        {
            let texts = texts.select(Axis(0), rows);
            let found = edges(texts.view(), nearness, percent).with_context(|| format!("the class {class}"))?;
            let within: Vec<usize> = found.rows.iter().map(|&(row, _)| row).collect();
            features.push(outward.features(texts.select(Axis(0), &within).view(), found.mean.view()));
            for (within, nearness) in found.rows {
                let row = rows[within];
                edge.push(Edge { row, id: &captions[row].id, label, nearness });
                from.extend(std::iter::repeat_n(row, outward.count));
            }
        }
        let views: Vec<_> = features.iter().map(|features| features.view()).collect();
        let features = concatenate(Axis(0), &views).context("no class has two captions")?;
        let steps = (0..from.len()).map(|place| place % outward.count).collect();
        Ok((Self { features, captions: from, steps }, edge))
    }

    /// Writes them, as [`read`](Self::read) reads them.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let arrays = [
            ("features", self.features.clone().into()),
            ("captions", numbers(self.captions.iter().copied())),
            ("steps", numbers(self.steps.iter().copied())),
        ];
        write_arrays(path, arrays)
    }
}
