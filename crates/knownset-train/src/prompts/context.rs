//! Prompts of class names whose first words are vectors that are learned.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_nn::clip::Clip;
use knownset_nn::network::Named;

use crate::error::TrainError;
use crate::recipes::clip::unit;

/// What is learned. The towers around it are no part of it.
#[derive(Module, Debug)]
pub(crate) struct Context {
    /// `[C, M, w]`: M vectors of a token's length, for every prompt of a class or for every prompt of every class.
    pub(crate) vectors: Param<Tensor<3>>,
}

impl Named for Context {
    fn checkpoint_name(&self, path: &[String]) -> String {
        path.join(".")
    }
}

/// How many vectors there are, and which prompts share them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Prompts R of each class.
    pub(crate) prompts: usize,
    /// Vectors M of a prompt.
    pub(crate) tokens: usize,
    /// Whether each class has vectors of its own: C is R * K, row r * K + k being class k in its r-th prompt; else C is R.
    pub(crate) class_specific: bool,
}

impl Layout {
    /// `[C, M, w]`, all zero.
    pub(crate) fn context(self, classes: usize, width: usize, device: &Device) -> Context {
        let own = if self.class_specific { classes } else { 1 };
        Context { vectors: Param::from_tensor(Tensor::zeros([self.prompts * own, self.tokens, width], device)) }
    }
}

/// Class names as a frozen text tower reads them, with room for a context behind the start token.
pub(crate) struct Prompts<'a> {
    clip: &'a Clip,
    layout: Layout,
    /// `[K, 1, w]`: the start token.
    start: Tensor<3>,
    /// `[K, T, w]`: the name's tokens, the end token, and padding that changes nothing.
    names: Tensor<3>,
    /// Where each end token is.
    ends: Vec<i64>,
}

impl<'a> Prompts<'a> {
    /// Prompts that end with the name and a full stop, as in CoOp's code.
    ///
    /// # Errors
    /// A name for which a context of this length leaves no room.
    pub(crate) fn new(clip: &'a Clip, classes: &[String], layout: Layout) -> Result<Self, TrainError> {
        let device = Device::flex();
        let encode = |class: &String| -> Result<Vec<u32>, TrainError> {
            let tokens = clip.tokenizer().encode(&format!("{class}."))?;
            let (taken, room) = (tokens.end + 1, clip.spec().context);
            if taken + layout.tokens > room {
                return Err(TrainError::PromptTooLong { class: class.clone(), taken, context: layout.tokens, room });
            }
            Ok(tokens.ids[..taken].to_vec())
        };
        let texts: Vec<Vec<u32>> = classes.iter().map(encode).collect::<Result<_, _>>()?;
        let longest = texts.iter().map(Vec::len).max().unwrap_or(2);
        let padded = |text: &Vec<u32>| {
            text.iter().map(|&id| i64::from(id)).chain(std::iter::repeat(0)).take(longest).collect::<Vec<_>>()
        };
        let ids: Vec<i64> = texts.iter().flat_map(padded).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [classes.len(), longest]), &device);
        let vectors = clip.network().token_vectors(ids);
        Ok(Self {
            clip,
            layout,
            start: vectors.clone().narrow(1, 0, 1),
            names: vectors.narrow(1, 1, longest - 1),
            ends: texts.iter().map(|text| (text.len() - 1 + layout.tokens) as i64).collect(),
        })
    }

    /// Embeddings `[R * K, d]` of length one, row r * K + k being class k in its r-th prompt.
    pub(crate) fn embed(&self, context: Tensor<3>) -> Tensor<2> {
        let Layout { prompts, tokens, class_specific } = self.layout;
        let [classes, _, width] = self.start.dims();
        let rows = prompts * classes;
        let context = if class_specific {
            context
        } else {
            context
                .reshape([prompts, 1, tokens, width])
                .expand([prompts, classes, tokens, width])
                .reshape([rows, tokens, width])
        };
        let ends = Tensor::<1, Int>::from_data(TensorData::new(self.ends.repeat(prompts), [rows]), &context.device());
        // The tower's own tensors are constants beside a context that keeps gradients.
        let around = |tensor: &Tensor<3>| tensor.clone().repeat_dim(0, prompts);
        let vectors = Tensor::cat(vec![around(&self.start), context, around(&self.names)], 1);
        unit(self.clip.network().texts_of_vectors(vectors, ends))
    }
}
