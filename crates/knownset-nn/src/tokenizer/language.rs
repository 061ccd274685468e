//! The tokenizer of a language model that writes, such as OPT's: GPT-2's byte-level byte-pair encoding (Radford et al. 2019),
//! or whatever `tokenizer.json` describes.

use std::path::Path;

use serde_json::json;

use super::files::{self, Stated, malformed};
use super::{TokenizerError, pipeline, train, write};

/// OPT's special tokens, where no file names others.
const BEGIN: &str = "</s>";
const PADDING: &str = "<pad>";
/// What newer releases of BLIP-2 put where an image's vectors go.
const IMAGE: &str = "<image>";

/// Text → token numbers, and back.
#[derive(Debug, Clone)]
pub struct LanguageTokenizer(tokenizers::Tokenizer);

impl LanguageTokenizer {
    /// Opens the tokenizer of a checkpoint folder: `tokenizer.json`, or `vocab.json` with `merges.txt` as GPT-2's. The
    /// special tokens of the latter are those of `special_tokens_map.json` and `tokenizer_config.json`; without them OPT's.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let [whole, vocab, merges] = ["tokenizer.json", "vocab.json", "merges.txt"].map(|file| folder.join(file));
        if whole.is_file() {
            Self::new(&fs_err::read(&whole)?, &whole)
        } else if vocab.is_file() && merges.is_file() {
            let stated = Stated::open(folder)?;
            let special = |name, usual: &str| stated.token(name).unwrap_or_else(|| usual.to_owned());
            let begin = special("bos_token", BEGIN);
            let mut specials = vec![special("eos_token", &begin), special("pad_token", PADDING), begin];
            specials.extend(stated.token("unk_token"));
            specials.sort();
            specials.dedup();
            let specials: Vec<&str> = specials.iter().map(String::as_str).collect();
            let (vocabulary, merges) = files::vocab_and_merges(&vocab, &merges, &specials)?;
            let space_first = stated.config.as_ref().and_then(|config| config["add_prefix_space"].as_bool());
            let content = pipeline::gpt2(vocabulary, &merges, &specials, space_first.unwrap_or(false));
            Self::new(content.to_string().as_bytes(), &vocab)
        } else {
            let names = "tokenizer.json, nor vocab.json with merges.txt";
            Err(TokenizerError::Missing { folder: folder.into(), names })
        }
    }

    /// A small vocabulary learnt from captions, with OPT's special tokens and `<image>` behind it; the same captions give
    /// the same bytes on every machine.
    ///
    /// # Errors
    /// `vocabulary` below 259, the bytes and the special tokens.
    pub fn train<'a>(captions: impl IntoIterator<Item = &'a str>, vocabulary: usize) -> Result<Self, TokenizerError> {
        let content = train::language(captions, vocabulary, &[BEGIN, PADDING, IMAGE])?;
        Self::new(content.to_string().as_bytes(), Path::new("tokenizer.json"))
    }

    /// All that decides what a text becomes.
    pub(crate) fn describe(&self) -> String {
        self.0.to_string(false).expect("what was read can be written")
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, which transformers and [`open`](Self::open) read.
    pub fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let whole = self.0.to_string(false).map_err(|error| TokenizerError::Text { what: error.to_string() })?;
        let config = json!({
            "tokenizer_class": "GPT2Tokenizer", "bos_token": BEGIN, "eos_token": BEGIN, "unk_token": BEGIN,
            "pad_token": PADDING, "add_prefix_space": false,
        });
        write(&folder.join("tokenizer.json"), &whole)?;
        write(&folder.join("tokenizer_config.json"), &format!("{config:#}\n"))
    }

    /// One more than the largest token number.
    pub fn vocabulary(&self) -> usize {
        self.0.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }

    /// The token that texts of OPT begin and end with.
    pub fn begin(&self) -> Option<u32> {
        self.0.token_to_id(BEGIN)
    }

    /// The token that stands behind shorter texts.
    pub(crate) fn padding(&self) -> Option<u32> {
        self.0.token_to_id(PADDING)
    }

    /// The token that stands for an image.
    pub(crate) fn image(&self) -> Option<u32> {
        self.0.token_to_id(IMAGE)
    }

    fn new(content: &[u8], path: &Path) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(content).map_err(|error| malformed(path, &error))?;
        inner.with_truncation(None).map_err(|error| malformed(path, &error))?;
        inner.with_padding(None);
        Ok(Self(inner))
    }

    /// The text's own tokens; none is put before or behind them.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding =
            self.0.encode_fast(text, false).map_err(|error| TokenizerError::Text { what: error.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens. Special ones are left out, and numbers that the vocabulary lacks; bytes that are no UTF-8 become
    /// U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.0.decode(ids, true).map_err(|error| TokenizerError::Text { what: error.to_string() })
    }
}
