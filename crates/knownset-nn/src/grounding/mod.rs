//! Objects by name: GroundingDINO checkpoint folders (Hugging Face's `grounding-dino-tiny` and `-base` layouts), boxes,
//! scores and phrases as transformers gives them.
//!
//! ```no_run
//! # use std::path::Path;
//! # fn main() -> Result<(), knownset_nn::grounding::GroundingError> {
//! use knownset_nn::grounding::{Grounding, Thresholds};
//! # let (input, width, height) = (ndarray::Array3::<f32>::zeros((3, 800, 1066)), 640, 480);
//! let detector = Grounding::load(Path::new("grounding-dino-tiny"))?;
//! // `input` is the image of 640 x 480 pixels as `detector.preprocess()` describes.
//! for found in detector.detect(input.view(), (width, height), "a cat . a dog .", Thresholds::default())? {
//!     println!("{} {:.2} {:?}", found.phrase, found.score, found.corners);
//! }
//! # Ok(())
//! # }
//! ```

mod config;
mod design;
mod error;
mod preprocess;
mod weights;
mod word_piece;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::ScaledPreprocess;
use ndarray::{Array2, ArrayView3};

use crate::checkpoint::{self, CheckpointError, Section};
pub use crate::network::Prompt;
use crate::network::{GroundingDino, GroundingSpec, load};
use crate::tokenizer::TokenizerError;
pub use design::DetectorDesign;
pub use error::GroundingError;
pub use word_piece::{Phrases, WordPiece};

/// A frozen detector with what it takes to feed it.
///
/// What it finds in an image has the same bits on any number of threads; images are run one at a time, by as many threads
/// as the caller likes, so that no image's boxes depend on its neighbours (in the reference they do: it pads a batch to its
/// largest image, and the backbone sees the padding).
pub struct Grounding {
    network: GroundingDino,
    spec: GroundingSpec,
    tokenizer: WordPiece,
    preprocess: ScaledPreprocess,
    sha256: String,
}

/// How sure the network has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// A box is kept if its score is above this; 0 to 1.
    pub score: f32,
    /// A token belongs to a box's phrase if its probability is above this; 0 to 1. It decides nothing else.
    pub text: f32,
}

impl Default for Thresholds {
    /// The reference's: 0.25 for both.
    fn default() -> Self {
        Self { score: 0.25, text: 0.25 }
    }
}

impl Thresholds {
    fn check(self) -> Result<(), GroundingError> {
        for (name, value) in [("score", self.score), ("text", self.text)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(GroundingError::Threshold { name, value });
            }
        }
        Ok(())
    }
}

/// Something found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Left, top, right and bottom in pixels of the original image. They may lie a little outside it.
    pub corners: [f32; 4],
    /// The largest probability of any token of the prompt, 0 to 1.
    pub score: f32,
    /// The tokens of the prompt that fit, as text; it may be empty, and hold full stops or parts of several phrases.
    pub phrase: String,
}

/// All queries, before thresholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Queries {
    /// How well each of Q queries fits each of the prompt's T tokens, `[Q, T]`, as logits.
    pub logits: Array2<f32>,
    /// Boxes `[Q, 4]`: centre, width and height as parts of the image's.
    pub boxes: Array2<f32>,
}

impl Grounding {
    /// Opens a checkpoint folder: `config.json`, `model.safetensors` (or an index and its shards, or
    /// `pytorch_model.bin`), `tokenizer.json` or `vocab.txt`, and optionally `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, a vocabulary larger than the
    /// text backbone's, or an architecture other than that of the released checkpoints.
    pub fn load(folder: &Path) -> Result<Self, GroundingError> {
        let config = folder.join("config.json");
        let spec = config::read(&Section::open(&config)?)?;
        let preprocess = preprocess::read(&folder.join("preprocessor_config.json"))?;
        let tokenizer = WordPiece::open(folder)?;
        if tokenizer.vocabulary() > spec.bert.vocabulary {
            let (tokens, vocabulary) = (tokenizer.vocabulary(), spec.bert.vocabulary);
            let what = format!("vocab_size is {vocabulary}, the tokenizer has {tokens} tokens");
            return Err(CheckpointError::Config { path: config, what }.into());
        }
        let weights = checkpoint::weights(folder, &checkpoint::HUGGING_FACE)?;
        let path = weights.path().unwrap_or(folder).to_owned();
        let weights = weights::as_network(weights, &spec, &path)?;
        let sha256 = checkpoint::digest(&weights.sha256(), &(&spec, &preprocess), &tokenizer.describe());
        let network = load(GroundingDino::new(&spec, &Device::flex()), &weights)
            .map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
        Ok(Self { network, spec, tokenizer, preprocess, sha256 })
    }

    /// What `prompt` names in an image, in the order of the network's queries.
    ///
    /// `image` is `[3, h, w]` as [`preprocess`](Self::preprocess) describes, `size` the original's width and height in
    /// pixels. A prompt is phrases that each end with a full stop (or a question mark), as in `a cat . a dog .`; words
    /// behind the last stop are read without their context.
    ///
    /// # Errors
    /// An input of another shape, a prompt that is too long, thresholds outside 0 to 1, an output that is not finite.
    pub fn detect(
        &self,
        image: ArrayView3<'_, f32>,
        size: (u32, u32),
        prompt: &str,
        thresholds: Thresholds,
    ) -> Result<Vec<Found>, GroundingError> {
        thresholds.check()?;
        let prompt = self.prompt(prompt)?;
        let queries = self.queries(image, &prompt)?;
        let found = queries.logits.rows().into_iter().zip(queries.boxes.rows()).map(|(logits, place)| {
            let probabilities: Vec<f32> = logits.iter().map(|&logit| 1.0 / (1.0 + (-logit).exp())).collect();
            let score = probabilities.iter().copied().fold(0.0, f32::max);
            if score <= thresholds.score {
                return Ok(None);
            }
            // As in the reference, neither the first token nor one at the very end of the longest text is part of a phrase.
            let fits = |&(token, _): &(usize, &u32)| {
                token > 0 && token + 1 < self.spec.context && probabilities[token] > thresholds.text
            };
            let tokens: Vec<u32> = prompt.ids().iter().enumerate().filter(fits).map(|(_, &id)| id).collect();
            let phrase = self.tokenizer.decode(&tokens)?;
            let (width, height) = (size.0 as f32, size.1 as f32);
            let (across, down) = (0.5 * place[2], 0.5 * place[3]);
            let corners = [
                (place[0] - across) * width,
                (place[1] - down) * height,
                (place[0] + across) * width,
                (place[1] + down) * height,
            ];
            Ok(Some(Found { corners, score, phrase }))
        });
        found.filter_map(Result::transpose).collect()
    }

    /// All queries for an image `[3, h, w]`.
    ///
    /// # Errors
    /// An input of another shape, a token outside the vocabulary, an output that is not finite.
    pub fn queries(&self, image: ArrayView3<'_, f32>, prompt: &Prompt) -> Result<Queries, GroundingError> {
        let (channels, height, width) = image.dim();
        if channels != 3 || height == 0 || width == 0 {
            return Err(GroundingError::Image { shape: image.shape().to_vec() });
        }
        self.check(prompt)?;
        let pixels = TensorData::new(image.iter().copied().collect::<Vec<_>>(), [1, channels, height, width]);
        let decoded = self.network.forward(Tensor::from_data(pixels, &Device::flex()), prompt);
        let said = decoded.last();
        let only = |tensor: &Tensor<3>| matrix(tensor.clone().squeeze_dim(0));
        Ok(Queries { logits: only(&said.logits)?, boxes: only(&said.boxes)? })
    }

    /// A text as the network reads it.
    ///
    /// # Errors
    /// [`GroundingError::PromptLength`], where the reference would fail too.
    pub fn prompt(&self, text: &str) -> Result<Prompt, GroundingError> {
        let prompt = self.tokenizer.prompt(text)?;
        self.check(&prompt)?;
        Ok(prompt)
    }

    /// A prompt need not come from [`prompt`](Self::prompt).
    fn check(&self, prompt: &Prompt) -> Result<(), GroundingError> {
        let (tokens, most, vocabulary) = (prompt.ids().len(), self.spec.context, self.spec.bert.vocabulary);
        if tokens == 0 || tokens > most {
            return Err(GroundingError::PromptLength { tokens, most });
        }
        match prompt.ids().iter().find(|&&id| id as usize >= vocabulary) {
            Some(&id) => Err(TokenizerError::UnknownToken { id, vocabulary }.into()),
            None => Ok(()),
        }
    }

    /// The network itself.
    pub fn network(&self) -> &GroundingDino {
        &self.network
    }

    /// Its architecture.
    pub fn spec(&self) -> &GroundingSpec {
        &self.spec
    }

    /// How text becomes tokens.
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// How images become its input.
    pub fn preprocess(&self) -> &ScaledPreprocess {
        &self.preprocess
    }

    /// Digest of all that decides what is found: weights, without the buffers and copies that some files hold,
    /// configuration, preprocessing, tokenizer.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

fn matrix(tensor: Tensor<2>) -> Result<Array2<f32>, GroundingError> {
    let [rows, columns] = tensor.dims();
    let values: Vec<f32> = tensor.into_data().iter::<f32>().collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(GroundingError::NotFinite);
    }
    Ok(Array2::from_shape_vec((rows, columns), values).expect("as many values as the shape has"))
}
