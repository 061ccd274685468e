//! Texts as a diffusion model is told them.

use knownset_nn::diffusion::TextEncoder;
use knownset_nn::tokenizer::TokenizerError;
use ndarray::{Array2, ArrayView1, ArrayView2, s};

use crate::synthesis::spliced;

/// The prompt of no class that FodFoM puts its fake tokens into.
pub const GENERIC: &str = "This is a high quality image of";

/// Contexts `[T, c]` of texts, in two forms: every token's state as the text encoder has it, or the states of a generic
/// prompt, such as [`GENERIC`], with that of its end token replaced by the text's.
///
/// The second is the form that FodFoM asks in: there all that is known of an image is one vector at the end of a prompt
/// that says nothing. In the states of a whole text the end token's is one among thirty, and a network that attends to the
/// others need not heed it.
pub struct Conditions<'a> {
    encoder: &'a TextEncoder,
    empty: Array2<f32>,
    generic: Array2<f32>,
    /// Where the generic prompt ends.
    end: usize,
}

impl<'a> Conditions<'a> {
    /// Encodes what all contexts share.
    pub fn new(encoder: &'a TextEncoder, prompt: &str) -> Result<Self, TokenizerError> {
        let states = encoder.encode(&["", prompt])?;
        let end = encoder.tokenizer().encode(prompt)?.end;
        let [empty, generic] = [0, 1].map(|text| states.slice(s![text, .., ..]).to_owned());
        Ok(Self { encoder, empty, generic, end })
    }

    /// Tokens of a context, and the length of their vectors.
    pub fn shape(&self) -> [usize; 2] {
        [self.empty.nrows(), self.empty.ncols()]
    }

    /// That of the empty text.
    pub fn empty(&self) -> ArrayView2<'_, f32> {
        self.empty.view()
    }

    /// The text's own states.
    pub fn plain(&self, text: &str) -> Result<Array2<f32>, TokenizerError> {
        Ok(self.encoder.encode(&[text])?.slice_move(s![0, .., ..]))
    }

    /// The generic prompt with the state of the text's end token at its end.
    pub fn spliced(&self, text: &str) -> Result<Array2<f32>, TokenizerError> {
        let end = self.encoder.tokenizer().encode(text)?.end;
        Ok(self.with_end(self.plain(text)?.row(end)))
    }

    /// The generic prompt with that vector `[c]` at its end.
    ///
    /// # Panics
    /// If the vector has another length than the encoder's states.
    pub fn with_end(&self, vector: ArrayView1<'_, f32>) -> Array2<f32> {
        spliced(self.generic.view(), self.end, vector)
    }

    /// The state `[c]` of the generic prompt's own end token.
    pub fn end(&self) -> ArrayView1<'_, f32> {
        self.generic.row(self.end)
    }

    pub(crate) fn encoder(&self) -> &TextEncoder {
        self.encoder
    }
}

#[cfg(test)]
mod tests {
    use knownset_nn::clip::Clip;

    use super::*;

    #[test]
    fn a_spliced_context_is_the_generic_one_but_for_the_texts_end() {
        let encoder = TextEncoder::of(&Clip::bundled().unwrap()).unwrap();
        let conditions = Conditions::new(&encoder, GENERIC).unwrap();
        assert_eq!(conditions.shape(), [32, 128]);
        let (plain, spliced) = (conditions.plain("a red cat").unwrap(), conditions.spliced("a red cat").unwrap());
        let generic = conditions.plain(GENERIC).unwrap();
        let end = |text: &str| encoder.tokenizer().encode(text).unwrap().end;
        assert_ne!(end("a red cat"), end(GENERIC));
        assert_eq!(spliced.row(end(GENERIC)), plain.row(end("a red cat")));
        for token in (0..32).filter(|&token| token != end(GENERIC)) {
            assert_eq!(spliced.row(token), generic.row(token));
        }
        assert_eq!(conditions.empty(), conditions.plain("").unwrap());
    }

    /// The end token's state times the projection is the text's embedding: what FodFoM's inverse projection rests on.
    #[test]
    fn the_end_tokens_state_is_what_becomes_an_embedding() {
        let clip = Clip::bundled().unwrap();
        let encoder = TextEncoder::of(&clip).unwrap();
        let states = Conditions::new(&encoder, GENERIC).unwrap().plain("a small bird").unwrap();
        let state = states.row(encoder.tokenizer().encode("a small bird").unwrap().end);
        let weights = knownset_nn::network::to_weights(clip.network());
        let projection = weights.get("text_projection.weight").unwrap();
        let matrix = ArrayView2::from_shape((128, 128), &projection.values).unwrap();
        let (found, expected) = (matrix.dot(&state), clip.texts(&["a small bird"]).unwrap());
        for (found, expected) in found.iter().zip(expected.row(0)) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
