//! BLIP-2 checkpoint folders with an OPT language model, such as `Salesforce/blip2-opt-2.7b`: images in, captions out.
//!
//! ```no_run
//! # use std::path::Path;
//! use std::ops::ControlFlow;
//!
//! use knownset_nn::blip2::{Captioner, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captioner = Captioner::load(Path::new("blip2-opt-2.7b"))?;
//! # let images = ndarray::Array4::zeros((2, 3, 224, 224));
//! let captions = captioner.captions(images.view(), Request::default(), &|| ControlFlow::Continue(()))?;
//! assert_eq!(captions.len(), images.dim().0);
//! # Ok(())
//! # }
//! ```
//!
//! What the language model reads is the image's vectors, its start token and the prompt's tokens. Newer releases write the
//! first as placeholders (`image_token_index`) and put the vectors in their place, older ones put the vectors before the
//! text; the model cannot tell one from the other.

mod config;
mod design;
mod error;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::Preprocess;
use ndarray::{ArrayView3, ArrayView4, Axis};
use rayon::prelude::*;

use crate::checkpoint::{self, CheckpointError, Section};
use crate::clip::blip_preprocess;
use crate::generate::{Decoding, GenerateError, Stop, Watch, continuations};
use crate::network::{self, Blip2Spec, load_owned};
use crate::tokenizer::{LanguageTokenizer, TokenizerError};
use crate::weights::Weights;
use config::Config;
pub use design::CaptionerDesign;
pub use error::CaptionError;

/// Most tokens of a caption unless told otherwise, as transformers has it.
pub const MOST_TOKENS: usize = 20;

/// What a captioner is asked to write.
#[derive(Debug)]
pub struct Request<'a> {
    /// What each text begins with; it is not part of the caption. Empty for a caption without a prompt.
    pub prompt: &'a str,
    /// Most tokens that are written.
    pub most: usize,
    /// How they are chosen.
    pub decoding: Decoding<'a>,
}

impl Default for Request<'_> {
    /// No prompt, at most [`MOST_TOKENS`], the likeliest.
    fn default() -> Self {
        Self { prompt: "", most: MOST_TOKENS, decoding: Decoding::Greedy }
    }
}

/// What was written about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// The text without special tokens and white space around it.
    pub text: String,
    /// The tokens written, the end token among them if one was.
    pub tokens: Vec<u32>,
}

/// A frozen BLIP-2 with what it takes to feed it.
///
/// A caption is the same whatever images are beside its own, and on any number of threads.
pub struct Captioner {
    network: network::Blip2,
    config: Config,
    tokenizer: LanguageTokenizer,
    preprocess: Preprocess,
    sha256: String,
}

impl Captioner {
    /// Opens a checkpoint folder of Hugging Face's layout: `config.json`, `model.safetensors` (or an index and its shards,
    /// or `pytorch_model.bin`), a tokenizer ([`LanguageTokenizer::open`]) and, optionally, `preprocessor_config.json`.
    ///
    /// Weights are kept as f32, about 15 GB of `blip2-opt-2.7b`; while they are read, a file's content is there besides.
    /// `generation_config.json` is not read: transformers' BLIP-2 does not go by it either, but by `text_config`, whose
    /// `eos_token_id` ends a caption.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, or files that contradict
    /// one another.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("config.json");
        let config = Config::read(&Section::open(&path)?)?;
        let preprocess = blip_preprocess(folder, config.spec.vision.image)?;
        let tokenizer = LanguageTokenizer::open(folder)?;
        let mut weights = checkpoint::weights(folder, &checkpoint::HUGGING_FACE)?;
        if config.spec.text.tied {
            weights = one_head(weights)?;
        }
        if let Some(what) = config::contradiction(&config.spec, &weights) {
            return Err(CheckpointError::Config { path, what });
        }
        let sha256 = checkpoint::digest(&weights.sha256(), &(&config, &preprocess), &tokenizer.describe());
        let network = load_owned(network::Blip2::new(&config.spec, &Device::flex()), weights)
            .map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
        Ok(Self { network, config, tokenizer, preprocess, sha256 })
    }

    /// Preprocessed images `[n, 3, side, side]` → a caption for each.
    ///
    /// # Errors
    /// [`CaptionError`]: images of another size; a prompt that is too long or has tokens of its own meaning; output that
    /// is not finite; a stop that `watch` asked for.
    pub fn captions(
        &self,
        images: ArrayView4<'_, f32>,
        request: Request<'_>,
        watch: Watch<'_>,
    ) -> Result<Vec<Caption>, CaptionError> {
        let (_, channels, height, width) = images.dim();
        let side = self.config.spec.vision.image;
        if [channels, height, width] != [3, side, side] {
            return Err(CaptionError::ImageShape { got: [channels, height, width], side });
        }
        let prompt = self.prompt(request.prompt)?;
        let rows: Vec<_> = images.axis_iter(Axis(0)).collect();
        let start = |image: ArrayView3<'_, f32>| {
            if watch().is_break() {
                return Err(GenerateError::Stopped);
            }
            Ok(Tensor::cat(vec![self.network.prefix(one(image)), prompt.clone()], 1))
        };
        let starts = rows.into_par_iter().map(start).collect::<Result<Vec<_>, _>>()?;
        let stop = Stop { ends: self.config.ends.clone(), most: request.most };
        let written = continuations(self.network.language_model(), &starts, request.decoding, &stop, watch)?;
        let caption = |tokens: Vec<u32>| {
            let text = self.tokenizer.decode(&tokens)?.trim().to_owned();
            Ok(Caption { text, tokens })
        };
        written.into_iter().map(caption).collect()
    }

    /// The word vectors `[1, T, w]` of the start token and the prompt.
    fn prompt(&self, prompt: &str) -> Result<Tensor<3>, CaptionError> {
        let words = self.tokenizer.encode(prompt)?;
        if self.config.placeholder.is_some_and(|placeholder| words.contains(&placeholder)) {
            return Err(CaptionError::Placeholder { prompt: prompt.to_owned() });
        }
        let ids: Vec<u32> = std::iter::once(self.config.start).chain(words).collect();
        let vocabulary = self.config.spec.text.vocabulary;
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(TokenizerError::UnknownToken { id, vocabulary }.into());
        }
        let model = self.network.language_model();
        let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
        let shape = [1, ids.len()];
        Ok(model.vectors(Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &model.device())))
    }

    /// The network itself.
    pub fn network(&self) -> &network::Blip2 {
        &self.network
    }

    /// Its architecture.
    pub fn spec(&self) -> &Blip2Spec {
        &self.config.spec
    }

    /// How text becomes tokens, and tokens text.
    pub fn tokenizer(&self) -> &LanguageTokenizer {
        &self.tokenizer
    }

    /// How images become its input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Digest of all that decides what is written: weights, configuration, preprocessing, tokenizer.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The word vectors, and the head that is tied to them: files have both, or either.
fn one_head(weights: Weights) -> Result<Weights, CheckpointError> {
    const WORDS: &str = "language_model.model.decoder.embed_tokens.weight";
    const HEAD: &str = "language_model.lm_head.weight";
    if let (Some(words), Some(head)) = (weights.get(WORDS), weights.get(HEAD))
        && words != head
    {
        let path = weights.path().unwrap_or(Path::new("")).to_owned();
        let what = format!("{HEAD} differs from {WORDS}, to which config.json ties it");
        return Err(CheckpointError::Layout { path, what });
    }
    Ok(weights.map(|mut tensors| {
        if let Some(head) = tensors.remove(HEAD) {
            tensors.entry(WORDS.to_owned()).or_insert(head);
        }
        tensors
    }))
}

/// One image as a batch.
fn one(image: ArrayView3<'_, f32>) -> Tensor<4> {
    let (channels, height, width) = image.dim();
    let data = TensorData::new(image.iter().copied().collect::<Vec<_>>(), [1, channels, height, width]);
    Tensor::from_data(data, &Device::flex())
}
