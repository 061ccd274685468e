//! How well an image fits its class's name, by a CLIP.

use image::RgbImage;
use knownset_core::prompts::unit_rows;
use knownset_data::preprocess;
use knownset_data::words::fill;
use knownset_nn::clip::Clip;
use ndarray::{Array2, Array4};

/// CLIP's own prompt.
const PROMPT: &str = "a photo of a {}.";

pub(super) struct Scoring<'a> {
    clip: &'a Clip,
    /// `[K, d]`, of length 1.
    classes: Array2<f64>,
}

impl<'a> Scoring<'a> {
    pub(super) fn new(clip: &'a Clip, classes: &[String]) -> anyhow::Result<Self> {
        let texts: Vec<String> = classes.iter().map(|class| fill(PROMPT, class)).collect();
        let rows = unit_rows(&clip.texts(&texts)?);
        let classes = rows.map_err(|row| anyhow::anyhow!("the text feature of {:?} is zero", texts[row]))?;
        Ok(Self { clip, classes })
    }

    /// The cosine of the image and its class's name.
    pub(super) fn score(&self, picture: &RgbImage, class: usize) -> anyhow::Result<f64> {
        let spec = self.clip.preprocess();
        let side = spec.size as usize;
        let input = Array4::from_shape_vec((1, 3, side, side), preprocess(picture, spec))?;
        let rows = unit_rows(&self.clip.images(input.view()));
        let rows = rows.map_err(|_| anyhow::anyhow!("the image feature is zero"))?;
        Ok(rows.row(0).dot(&self.classes.row(class)))
    }
}
