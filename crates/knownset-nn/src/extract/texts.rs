//! Texts through a text tower: as with images, finished parts are kept and an interrupted run goes on.

use std::ops::ControlFlow;

use ndarray::{Array2, s};

use super::{Cache, ExtractError, Extracted, PART};
use crate::clip::Clip;

/// How to run a text tower over a list of texts.
#[derive(Clone, Copy)]
pub struct TextExtraction<'a> {
    /// The towers.
    pub clip: &'a Clip,
    /// Where finished parts are kept.
    pub cache: Option<&'a Cache>,
    /// Called with the number of texts just finished; `Break` stops the run.
    pub progress: &'a (dyn Fn(usize) -> ControlFlow<()> + Sync),
}

impl TextExtraction<'_> {
    /// Embeddings `[n, d]` of the texts, not normalised; parts already in the cache are not computed again.
    pub fn run(&self, texts: &[String]) -> Result<Array2<f32>, ExtractError> {
        let mut hasher = knownset_core::digest::Hasher::default();
        hasher.field(b"texts").field(self.clip.sha256().as_bytes());
        hasher.field(env!("CARGO_PKG_VERSION").as_bytes());
        for text in texts {
            hasher.field(text.as_bytes());
        }
        let store = self.cache.map(|cache| cache.features(&hasher.finish()));
        let mut all = Array2::zeros((texts.len(), self.clip.spec().projection));
        for start in (0..texts.len()).step_by(PART) {
            let rows = start..(start + PART).min(texts.len());
            let kept = store.as_ref().map(|store| store.read(&rows)).transpose()?.flatten();
            let embedding = if let Some(part) = kept {
                part.embedding
            } else {
                let embedding = self.clip.texts(&texts[rows.clone()])?;
                if let Some(store) = &store {
                    store.write(&rows, &Extracted::of_texts(rows.clone().collect(), embedding.clone()))?;
                }
                embedding
            };
            all.slice_mut(s![rows.clone(), ..]).assign(&embedding);
            if (self.progress)(rows.len()).is_break() && rows.end < texts.len() {
                return Err(ExtractError::Stopped { done: rows.end, total: texts.len() });
            }
        }
        Ok(all)
    }
}

impl Extracted {
    fn of_texts(rows: Vec<usize>, embedding: Array2<f32>) -> Self {
        Self {
            rows,
            logits: None,
            embedding,
            patches: None,
            rotations: None,
            truncated: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}
