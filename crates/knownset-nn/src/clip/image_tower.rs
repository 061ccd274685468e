//! The image tower as a backbone: what extraction, caching and detectors need of it.

use std::sync::Arc;

use knownset_core::Head;
use ndarray::ArrayView4;

use super::Clip;
use crate::backbone::{Backbone, LoadedBackbone, Output};

impl Clip {
    /// The image tower alone: embeddings, and with `patches` the features of the patches too.
    pub fn image_tower(self: &Arc<Self>, patches: bool) -> LoadedBackbone {
        LoadedBackbone {
            origin: self.origin().clone(),
            preprocess: self.preprocess().clone(),
            backbone: Box::new(ImageTower { clip: Arc::clone(self), patches }),
        }
    }
}

struct ImageTower {
    clip: Arc<Clip>,
    patches: bool,
}

impl Backbone for ImageTower {
    fn forward(&self, batch: ArrayView4<'_, f32>) -> Output {
        if self.patches {
            let (embedding, patches) = self.clip.images_and_patches(batch);
            Output { logits: None, embedding, patches: Some(patches), rotations: None }
        } else {
            Output { logits: None, embedding: self.clip.images(batch), patches: None, rotations: None }
        }
    }

    fn head(&self) -> Option<Head> {
        None
    }

    fn classes(&self) -> usize {
        0
    }

    fn width(&self) -> usize {
        self.clip.spec().projection
    }

    fn patches(&self) -> Option<usize> {
        self.patches.then(|| self.clip.spec().patches())
    }
}
