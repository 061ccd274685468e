//! CLIP's tokenizer: byte-level byte-pair encoding of lower-cased text (Radford et al. 2021,
//! <https://arxiv.org/abs/2103.00020>), through Hugging Face's `tokenizers`.
//!
//! The numbers are those of transformers' `CLIPTokenizer` (formerly `CLIPTokenizerFast`). OpenAI's reference, OpenCLIP's
//! and the former slow `CLIPTokenizer` repair text first: ftfy (mojibake, curly quotes, full-width letters, ligatures,
//! control characters) and, the first two, HTML entities. This one takes text as it is, as transformers does; for text
//! without those the numbers are the same.
//!
//! Language models that write have another: [`LanguageTokenizer`].

mod error;
mod files;
mod language;
mod pipeline;
mod train;

use std::path::Path;

use serde_json::json;

pub use error::TokenizerError;
use files::{Specials, malformed};
pub use language::LanguageTokenizer;

/// Tokens of a text that CLIP reads, unless its files say otherwise.
pub const CONTEXT_LENGTH: usize = 77;

/// The token numbers of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Start token, text, end token, padding: as many as the context is long.
    pub ids: Vec<u32>,
    /// Where the first end token is; the text's embedding is read there.
    pub end: usize,
}

/// Text → token numbers.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    specials: Specials,
    start: u32,
    end: u32,
    padding: u32,
    length: usize,
    vocabulary: usize,
}

impl Tokenizer {
    /// Opens the tokenizer of a checkpoint folder: `tokenizer.json`, or `vocab.json` with `merges.txt`, or OpenAI's
    /// `bpe_simple_vocab_16e6.txt.gz`.
    ///
    /// Special tokens and context length are those of `special_tokens_map.json` and `tokenizer_config.json`; without
    /// them CLIP's, padded with the end token.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let [whole, vocab, merges, openai] =
            ["tokenizer.json", "vocab.json", "merges.txt", "bpe_simple_vocab_16e6.txt.gz"]
                .map(|file| folder.join(file));
        if whole.is_file() {
            Self::new(&fs_err::read(&whole)?, files::specials(folder)?, &whole)
        } else if vocab.is_file() && merges.is_file() {
            let (vocabulary, merges) = files::vocab_and_merges(&vocab, &merges, &[pipeline::START, pipeline::END])?;
            let content = pipeline::clip(vocabulary, &merges);
            Self::new(content.to_string().as_bytes(), files::specials(folder)?, &vocab)
        } else if openai.is_file() {
            Self::open_openai(&openai)
        } else {
            let names = "tokenizer.json, nor vocab.json with merges.txt, nor bpe_simple_vocab_16e6.txt.gz";
            Err(TokenizerError::Missing { folder: folder.into(), names })
        }
    }

    /// Opens OpenAI's `bpe_simple_vocab_16e6.txt.gz`; texts are padded with 0, as OpenAI and OpenCLIP do.
    pub fn open_openai(path: &Path) -> Result<Self, TokenizerError> {
        let content = files::openai(path)?;
        let tokenizer = Self::new(content.to_string().as_bytes(), Specials::default(), path)?;
        Ok(Self { padding: 0, ..tokenizer })
    }

    /// The content of a `tokenizer.json` with CLIP's special tokens; `path` is what errors call it.
    pub(crate) fn parse(content: &[u8], length: usize, path: &Path) -> Result<Self, TokenizerError> {
        Self::new(content, Specials { length: Some(length), ..Specials::default() }, path)
    }

    /// A small vocabulary learnt from captions; the same captions give the same bytes on every machine.
    ///
    /// # Errors
    /// `vocabulary` below 514, the bytes and the special tokens.
    pub fn train<'a>(
        captions: impl IntoIterator<Item = &'a str>,
        vocabulary: usize,
        length: usize,
    ) -> Result<Self, TokenizerError> {
        let content = train::clip(captions, vocabulary)?;
        let specials = Specials { length: Some(length), ..Specials::default() };
        Self::new(content.to_string().as_bytes(), specials, Path::new("tokenizer.json"))
    }

    fn new(content: &[u8], specials: Specials, path: &Path) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(content).map_err(|error| malformed(path, &error))?;
        // Both are done here, by the folder's special tokens.
        inner.with_truncation(None).map_err(|error| malformed(path, &error))?;
        inner.with_padding(None);
        let number = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| malformed(path, &format!("no token `{token}` in the vocabulary")))
        };
        let (start, end, padding) = (number(&specials.start)?, number(&specials.end)?, number(&specials.pad)?);
        let vocabulary = inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        let length = specials.length.unwrap_or(CONTEXT_LENGTH);
        Self { inner, specials, start, end, padding, length, vocabulary }.with_context_length(length)
    }

    /// The same for a text tower that reads `length` tokens.
    pub fn with_context_length(self, length: usize) -> Result<Self, TokenizerError> {
        if (2..=65_536).contains(&length) {
            Ok(Self { length, ..self })
        } else {
            Err(TokenizerError::ContextLength { length })
        }
    }

    /// Start token, the text's tokens, end token, padding. A longer text loses its tail, never the end token.
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        let encoding =
            self.inner.encode_fast(text, false).map_err(|error| TokenizerError::Text { what: error.to_string() })?;
        let text = encoding.get_ids().iter().copied().take(self.length - 2);
        let mut ids: Vec<u32> = std::iter::once(self.start).chain(text).chain([self.end]).collect();
        let end = ids.iter().position(|&id| id == self.end).unwrap_or(ids.len() - 1);
        ids.resize(self.length, self.padding);
        Ok(Tokens { ids, end })
    }

    /// The text of tokens, special ones left out: lower case, words apart by single spaces.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        if let Some(&id) = ids.iter().find(|&&id| self.inner.id_to_token(id).is_none()) {
            return Err(TokenizerError::UnknownToken { id, vocabulary: self.vocabulary });
        }
        let text = self.inner.decode(ids, true).map_err(|error| TokenizerError::Text { what: error.to_string() })?;
        Ok(text.replace(pipeline::SUFFIX, " ").trim().to_owned())
    }

    /// Length of every [`Tokens::ids`].
    pub fn context_length(&self) -> usize {
        self.length
    }

    /// One more than the largest token number.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Number of the start token.
    pub fn start_token(&self) -> u32 {
        self.start
    }

    /// Number of the end token.
    pub fn end_token(&self) -> u32 {
        self.end
    }

    /// All that decides what a text becomes.
    pub(crate) fn describe(&self) -> String {
        let Self { inner, specials, start, end, padding, length, vocabulary } = self;
        let whole = inner.to_string(false).expect("what was read can be written");
        format!("{whole} {specials:?} {start} {end} {padding} {length} {vocabulary}")
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, which transformers and [`Tokenizer::open`] read.
    pub fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let whole = self.inner.to_string(false).map_err(|error| TokenizerError::Text { what: error.to_string() })?;
        let padding = self.inner.id_to_token(self.padding).unwrap_or_else(|| self.specials.pad.clone());
        let config = json!({
            "tokenizer_class": "CLIPTokenizer",
            "bos_token": self.specials.start,
            "eos_token": self.specials.end,
            "unk_token": self.specials.end,
            "pad_token": padding,
            "model_max_length": self.length,
        });
        write(&folder.join("tokenizer.json"), &whole)?;
        write(&folder.join("tokenizer_config.json"), &format!("{config:#}\n"))
    }
}

fn write(path: &Path, text: &str) -> Result<(), TokenizerError> {
    Ok(knownset_core::write_atomically(path, |out| out.write_all(text.as_bytes()))?)
}
