//! BERT's tokenizer: words of lower-cased text cut into the longest pieces there are (WordPiece), through Hugging Face's
//! `tokenizers`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::checkpoint::Section;
use crate::tokenizer::TokenizerError;

/// Tokens at both ends of a text.
const ENDS: [&str; 2] = ["[CLS]", "[SEP]"];
/// Tokens that end a phrase.
const STOPS: [&str; 2] = [".", "?"];

/// Text → token numbers, and back.
#[derive(Debug, Clone)]
pub(super) struct WordPiece {
    inner: tokenizers::Tokenizer,
    ends: [u32; 2],
    stops: [u32; 2],
    vocabulary: usize,
}

impl WordPiece {
    /// Opens a folder's `tokenizer.json`, else its `vocab.txt`, lower-casing unless `tokenizer_config.json` says otherwise.
    pub(super) fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let [whole, vocab] = ["tokenizer.json", "vocab.txt"].map(|file| folder.join(file));
        if whole.is_file() {
            Self::parse(&fs_err::read(&whole)?, &whole)
        } else if vocab.is_file() {
            let content = from_vocab(&fs_err::read_to_string(&vocab)?, lower_case(folder)?);
            Self::parse(content.to_string().as_bytes(), &vocab)
        } else {
            Err(TokenizerError::Missing { folder: folder.into(), names: "tokenizer.json nor vocab.txt" })
        }
    }

    fn parse(content: &[u8], path: &Path) -> Result<Self, TokenizerError> {
        let malformed = |what: String| TokenizerError::Malformed { path: path.into(), what };
        let mut inner = tokenizers::Tokenizer::from_bytes(content).map_err(|error| malformed(error.to_string()))?;
        inner.with_truncation(None).map_err(|error| malformed(error.to_string()))?;
        inner.with_padding(None);
        let number = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| malformed(format!("no token `{token}` in the vocabulary")))
        };
        let ends = [number(ENDS[0])?, number(ENDS[1])?];
        let stops = [number(STOPS[0])?, number(STOPS[1])?];
        let vocabulary = inner.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        Ok(Self { inner, ends, stops, vocabulary })
    }

    /// The text's tokens between those that begin and end it.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| wrong(&error))?;
        let [start, end] = self.ends;
        Ok(std::iter::once(start).chain(encoding.get_ids().iter().copied()).chain([end]).collect())
    }

    /// The text of tokens, special ones included; pieces of a word joined, stops joined to the word before.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, false).map_err(|error| wrong(&error))
    }

    /// Whether a token stands between phrases.
    pub(super) fn separates(&self, id: u32) -> bool {
        self.ends.contains(&id) || self.stops.contains(&id)
    }

    /// One more than the largest token number.
    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

fn wrong(error: &tokenizers::Error) -> TokenizerError {
    TokenizerError::Text { what: error.to_string() }
}

fn lower_case(folder: &Path) -> Result<bool, TokenizerError> {
    let path = folder.join("tokenizer_config.json");
    let flag = || if path.is_file() { Section::open(&path)?.flag("do_lower_case", true) } else { Ok(true) };
    flag().map_err(|error| TokenizerError::Malformed { path: path.clone(), what: error.to_string() })
}

/// One token a line, numbered from 0 → the content of a `tokenizer.json`.
fn from_vocab(text: &str, lower_case: bool) -> Value {
    let tokens: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let vocabulary: Map<String, Value> =
        tokens.iter().enumerate().map(|(number, &token)| (token.to_owned(), number.into())).collect();
    let special = |token: &&str| {
        let number = tokens.iter().rposition(|known| known == token)?;
        Some(json!({
            "id": number, "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        }))
    };
    let added: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].iter().filter_map(special).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lower_case,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": null,
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    })
}
