//! The extraction loop: every image goes through the network once, decoding runs beside computing, and finished
//! parts are kept so that an interrupted run goes on where it stopped.

mod cache;
mod texts;

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::sync_channel;

use knownset_core::Origin;
use knownset_core::parts::TURNS;
use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, Axis, concatenate};
use rayon::prelude::*;

pub use cache::{Cache, CacheError};
pub use texts::TextExtraction;

use crate::tokenizer::TokenizerError;
use crate::{Backbone, LoadedBackbone, Output};

/// Rows that are finished, and kept, together. Part of the cache key.
pub const PART: usize = 256;
/// Decoded batches that may wait for the network.
const AHEAD: usize = 2;

/// One image, ready for the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// `[3, side, side]` values.
    pub values: Vec<f32>,
    /// Whether part of the image was missing and had to be filled in.
    pub truncated: bool,
}

/// Where preprocessed images come from. Loading happens on several threads.
pub trait InputSource: Sync {
    /// Number of rows.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Text that changes when any image, or the way it is decoded, does.
    fn fingerprint(&self) -> String;
    /// One row; the error says which image cannot be read and why.
    fn load(&self, row: usize) -> Result<Input, String>;
}

/// What to do with an image that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Stop with an error that names it.
    Refuse,
    /// Leave its row out, and say so in the result.
    Skip,
}

/// What a network said about a range of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// The rows that could be read, ascending; row i of the arrays is row `rows[i]` of the source.
    pub rows: Vec<usize>,
    /// `[n, K]`.
    pub logits: Option<Array2<f32>>,
    /// `[n, d]`.
    pub embedding: Array2<f32>,
    /// `[n, P, d]`.
    pub patches: Option<Array3<f32>>,
    /// `[n, 4, 4]`.
    pub rotations: Option<Array3<f32>>,
    /// Rows of which part was filled in.
    pub truncated: Vec<usize>,
    /// Rows that could not be read, and why.
    pub unreadable: Vec<(usize, String)>,
}

/// An extraction that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// An image that cannot be read, when that is to be an error.
    #[error("{0}")]
    Unreadable(String),
    /// Not one image could be read.
    #[error("none of the {count} images could be read; the first: {first}")]
    NothingReadable {
        /// How many there were.
        count: usize,
        /// What was wrong with the first.
        first: String,
    },
    /// The network's answer holds a NaN or an infinity.
    #[error("the network's output for row {0} is not finite; are these the right weights?")]
    NotFinite(usize),
    /// The caller asked to stop.
    #[error("stopped after {done} of {total}; run the same command again to go on")]
    Stopped {
        /// Images, or texts, finished in this run or an earlier one.
        done: usize,
        /// Images, or texts, asked for.
        total: usize,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A text that cannot be turned into tokens.
    #[error(transparent)]
    Text(#[from] TokenizerError),
}

/// How to run a network over a dataset.
#[derive(Clone, Copy)]
pub struct Extraction<'a> {
    /// The network.
    pub network: &'a LoadedBackbone,
    /// Images per call of the network; results do not depend on it.
    pub batch: usize,
    /// What to do with an image that cannot be read.
    pub unreadable: Unreadable,
    /// Where finished parts are kept.
    pub cache: Option<&'a Cache>,
    /// Called with the number of images just finished; `Break` stops the run.
    pub progress: &'a (dyn Fn(usize) -> ControlFlow<()> + Sync),
}

impl Extraction<'_> {
    /// Features of the rows in `range`, which begins at a multiple of [`PART`]; parts already in the cache are not
    /// computed again.
    pub fn run(&self, source: &dyn InputSource, range: Range<usize>) -> Result<Extracted, ExtractError> {
        let total = range.len();
        let store = self.cache.map(|cache| cache.features(&self.key(source)));
        let mut parts = Vec::new();
        let mut done = 0;
        for start in range.clone().step_by(PART) {
            let rows = start..(start + PART).min(range.end);
            let kept = store.as_ref().map(|store| store.read(&rows)).transpose()?.flatten();
            let part = if let Some(part) = kept {
                if (self.progress)(rows.len()).is_break() {
                    return Err(ExtractError::Stopped { done, total });
                }
                part
            } else {
                let part = self.part(source, rows.clone(), done, total)?;
                if let Some(store) = &store {
                    store.write(&rows, &part)?;
                }
                part
            };
            done += rows.len();
            parts.push(part);
        }
        let extracted = join(parts, self.network.backbone.as_ref());
        match extracted.unreadable.first() {
            Some((_, first)) if extracted.rows.is_empty() => {
                Err(ExtractError::NothingReadable { count: total, first: first.clone() })
            }
            Some((_, first)) if self.unreadable == Unreadable::Refuse => Err(ExtractError::Unreadable(first.clone())),
            _ => Ok(extracted),
        }
    }

    fn key(&self, source: &dyn InputSource) -> String {
        let Origin { backbone, weights_sha256, preprocess, .. } = &self.network.origin;
        let preprocess = serde_json::to_string(preprocess).unwrap_or_default();
        let mut hasher = knownset_core::digest::Hasher::default();
        let (part, version) = (PART.to_string(), env!("CARGO_PKG_VERSION"));
        let patches = format!("{:?}", self.network.backbone.patches());
        for field in [backbone, weights_sha256, &preprocess, &source.fingerprint(), &part, &patches, version] {
            hasher.field(field.as_bytes());
        }
        hasher.finish()
    }

    /// One part, computed: a thread decodes batches ahead of the network.
    fn part(
        &self,
        source: &dyn InputSource,
        rows: Range<usize>,
        done: usize,
        total: usize,
    ) -> Result<Extracted, ExtractError> {
        let side = self.network.preprocess.size as usize;
        let mut parts = Vec::new();
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(AHEAD);
            let batches = rows.clone();
            scope.spawn(move || {
                for start in batches.clone().step_by(self.batch.max(1)) {
                    let batch = start..(start + self.batch.max(1)).min(batches.end);
                    let inputs: Vec<_> = batch.into_par_iter().map(|row| (row, source.load(row))).collect();
                    if send.send(inputs).is_err() {
                        return;
                    }
                }
            });
            let mut finished = 0;
            for inputs in receive {
                let count = inputs.len();
                parts.push(self.forward(inputs, side)?);
                finished += count;
                if (self.progress)(count).is_break() && finished < rows.len() {
                    return Err(ExtractError::Stopped { done, total });
                }
            }
            Ok(())
        })?;
        Ok(join(parts, self.network.backbone.as_ref()))
    }

    fn forward(&self, inputs: Vec<(usize, Result<Input, String>)>, side: usize) -> Result<Extracted, ExtractError> {
        let (mut rows, mut values, mut truncated, mut unreadable) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (row, input) in inputs {
            match input {
                Ok(input) => {
                    rows.push(row);
                    values.extend(input.values);
                    if input.truncated {
                        truncated.push(row);
                    }
                }
                Err(why) if self.unreadable == Unreadable::Refuse => return Err(ExtractError::Unreadable(why)),
                Err(why) => unreadable.push((row, why)),
            }
        }
        if rows.is_empty() {
            let empty = join(Vec::new(), self.network.backbone.as_ref());
            return Ok(Extracted { truncated, unreadable, ..empty });
        }
        let batch = Array4::from_shape_vec((rows.len(), 3, side, side), values)
            .expect("an input source gives [3, side, side] values per image");
        let output = self.network.backbone.forward(batch.view());
        for (place, &row) in rows.iter().enumerate() {
            let turned = output.rotations.as_ref().map(|rotations| rotations.index_axis(Axis(0), place));
            let mut values = output.embedding.row(place).into_iter().chain(turned.iter().flatten());
            if values.any(|value| !value.is_finite()) {
                return Err(ExtractError::NotFinite(row));
            }
        }
        let Output { logits, embedding, patches, rotations } = output;
        Ok(Extracted { rows, logits, embedding, patches, rotations, truncated, unreadable })
    }
}

/// The rows of all parts, in order.
fn join(parts: Vec<Extracted>, backbone: &dyn Backbone) -> Extracted {
    let (width, classes) = (backbone.width(), backbone.classes());
    let mut all = Extracted {
        rows: Vec::new(),
        logits: (classes > 0).then(|| Array2::zeros((0, classes))),
        embedding: Array2::zeros((0, width)),
        patches: backbone.patches().map(|patches| Array3::zeros((0, patches, width))),
        rotations: backbone.rotates().then(|| Array3::zeros((0, TURNS, TURNS))),
        truncated: Vec::new(),
        unreadable: Vec::new(),
    };
    let filled: Vec<&Extracted> = parts.iter().filter(|part| !part.rows.is_empty()).collect();
    if !filled.is_empty() {
        let embeddings: Vec<_> = filled.iter().map(|part| part.embedding.view()).collect();
        all.embedding = concatenate(Axis(0), &embeddings).expect("one network gives one width");
        let logits: Option<Vec<ArrayView2<'_, f32>>> =
            filled.iter().map(|part| part.logits.as_ref().map(|logits| logits.view())).collect();
        all.logits = logits.map(|all| concatenate(Axis(0), &all).expect("one network gives one width"));
        let cubes = |of: fn(&Extracted) -> Option<&Array3<f32>>| {
            let cubes: Option<Vec<ArrayView3<'_, f32>>> =
                filled.iter().map(|part| of(part).map(|cube| cube.view())).collect();
            cubes.map(|all| concatenate(Axis(0), &all).expect("one network gives one shape"))
        };
        all.patches = cubes(|part| part.patches.as_ref());
        all.rotations = cubes(|part| part.rotations.as_ref());
    }
    for part in parts {
        all.rows.extend(part.rows);
        all.truncated.extend(part.truncated);
        all.unreadable.extend(part.unreadable);
    }
    all
}

/// The rows that shard `index` (from 1) of `count` computes: whole parts, so that shards and an undivided run share
/// one cache.
pub fn shard(rows: usize, index: usize, count: usize) -> Range<usize> {
    let parts = rows.div_ceil(PART);
    let bound = |shard: usize| (parts * shard / count * PART).min(rows);
    bound(index - 1)..bound(index)
}
