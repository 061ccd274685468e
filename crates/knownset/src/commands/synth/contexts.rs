//! Features → what a pipeline attends to: fake tokens, made when they are needed.

use anyhow::Context;
use knownset_nn::clip::Clip;
use knownset_nn::diffusion::Pipeline;
use knownset_train::Conditions;
use knownset_train::synthesis::TextProjection;
use ndarray::{Array2, ArrayView1, Axis};

use crate::printer::Printer;

/// Least cosine of what a CLIP and a pipeline say of the same text, where they share their text tower.
const SAME: f64 = 0.99;

/// A prompt whose end token's state is another each time.
pub(super) struct Contexts<'a> {
    projection: TextProjection,
    conditions: Conditions<'a>,
}

impl<'a> Contexts<'a> {
    pub(super) fn new(clip: &Clip, pipeline: &'a Pipeline, prompt: &str, printer: Printer) -> anyhow::Result<Self> {
        let projection = TextProjection::new(clip.text_projection().view())?;
        let (width, wanted) = (projection.width(), pipeline.unet().spec().context);
        anyhow::ensure!(
            width == wanted,
            "the CLIP's text tower has states of length {width}, the pipeline wants {wanted}: it is not its text encoder"
        );
        let encoder = pipeline.text_encoder().context("the pipeline has no text encoder")?;
        let conditions = Conditions::new(encoder, prompt)?;
        let said = projection.features(conditions.end().insert_axis(Axis(0)));
        let cosine = cosine(said.row(0), clip.texts(&[prompt])?.row(0));
        if cosine < SAME {
            printer.note(format!(
                "warning: the pipeline's text encoder is not the CLIP's text tower: of {prompt:?} they say things whose \
                 cosine is {cosine:.3}"
            ));
        }
        Ok(Self { projection, conditions })
    }

    /// The empty prompt's context, `[T, c]`.
    pub(super) fn unconditional(&self) -> Array2<f32> {
        self.conditions.empty().to_owned()
    }

    /// `[T, c]`.
    pub(super) fn shape(&self) -> [usize; 2] {
        self.conditions.shape()
    }

    /// The context `[T, c]` that leads to a feature.
    pub(super) fn of(&self, feature: ArrayView1<'_, f32>) -> Array2<f32> {
        let state = self.projection.states(feature.insert_axis(Axis(0)));
        self.conditions.with_end(state.row(0))
    }
}

fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let product = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
