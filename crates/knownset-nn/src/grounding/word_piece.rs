//! BERT's tokenizer: words of lower-cased text cut into the longest pieces there are (WordPiece), through Hugging Face's
//! `tokenizers`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::checkpoint::Section;
use crate::network::Prompt;
use crate::tokenizer::TokenizerError;

/// Tokens at both ends of a text.
const ENDS: [&str; 2] = ["[CLS]", "[SEP]"];
/// One token a line.
const VOCABULARY: &str = "vocab.txt";
/// Tokens that end a phrase.
const STOPS: [&str; 2] = [".", "?"];

/// Tokens that BERT's released vocabulary has at these numbers, by which and not by name transformers' GroundingDINO knows
/// what stands between phrases.
const NUMBERED: [(usize, &str); 7] =
    [(0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]"), (1012, "."), (1029, "?")];

/// Text → token numbers, and back.
#[derive(Debug, Clone)]
pub struct WordPiece {
    inner: tokenizers::Tokenizer,
    ends: [u32; 2],
    stops: [u32; 2],
    vocabulary: usize,
}

/// Names in one text, each a phrase of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrases {
    /// The text.
    pub prompt: Prompt,
    /// The tokens of each name, without the full stop behind it.
    pub tokens: Vec<Range<usize>>,
}

impl WordPiece {
    /// A vocabulary of whole words: those of the texts, and besides, so that no word of these letters is unknown, every
    /// character there is in them, every letter from a to z and every digit, alone and within a word.
    ///
    /// # Errors
    /// A text that cannot be cut into words.
    pub fn of_words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, TokenizerError> {
        let mut words = BTreeSet::new();
        for text in texts {
            words.extend(words_of(text)?);
        }
        let letters: BTreeSet<char> =
            words.iter().flat_map(|word| word.chars()).chain('a'..='z').chain('0'..='9').collect();
        let letters = letters.into_iter().flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
        let taken = |token: &String| NUMBERED.iter().all(|(_, special)| special != token);
        let mut seen = BTreeSet::new();
        let mut rest = letters.chain(words).filter(taken).filter(|token| seen.insert(token.clone()));
        let mut tokens: Vec<String> = Vec::new();
        for (number, special) in NUMBERED {
            while tokens.len() < number {
                tokens.push(rest.next().unwrap_or_else(|| format!("[unused{}]", tokens.len())));
            }
            tokens.push(special.to_owned());
        }
        tokens.extend(rest);
        let content = from_vocab(&tokens.join("\n"), true);
        Self::parse(content.to_string().as_bytes(), Path::new(VOCABULARY))
    }

    /// All that decides what a text becomes.
    pub(super) fn describe(&self) -> String {
        self.inner.to_string(false).expect("what was read can be written")
    }

    /// Writes `vocab.txt` and a `tokenizer_config.json` that lower-cases, which transformers reads too.
    pub(super) fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let number = |id: usize| u32::try_from(id).ok().and_then(|id| self.inner.id_to_token(id)).unwrap_or_default();
        let lines: String = (0..self.vocabulary).map(|id| number(id) + "\n").collect();
        let config = json!({
            "tokenizer_class": "BertTokenizer", "do_lower_case": true, "unk_token": "[UNK]", "sep_token": "[SEP]",
            "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        });
        for (file, text) in [(VOCABULARY, lines), ("tokenizer_config.json", format!("{config:#}\n"))] {
            knownset_core::write_atomically(&folder.join(file), |out| out.write_all(text.as_bytes()))?;
        }
        Ok(())
    }

    /// Names as the text `a . b . c .`; full stops and question marks within a name are left out, since they end phrases.
    ///
    /// # Errors
    /// A name without a word.
    pub fn phrases(&self, names: &[&str]) -> Result<Phrases, TokenizerError> {
        let names: Vec<String> = names.iter().map(|name| name.replace(['.', '?'], " ") + " .").collect();
        let ids = self.encode(&names.join(" "))?;
        let mut tokens = Vec::with_capacity(names.len());
        let mut start = 1;
        for at in (1..ids.len()).filter(|&at| self.stops.contains(&ids[at])) {
            tokens.push(start..at);
            start = at + 1;
        }
        match tokens.iter().position(Range::is_empty) {
            None => Ok(Phrases { prompt: Prompt::new(ids, |id| self.separates(id)), tokens }),
            Some(empty) => {
                let name = names.get(empty).map_or("", String::as_str);
                Err(TokenizerError::Text { what: format!("no word before the full stop of {name:?}") })
            }
        }
    }

    /// A text as the network reads it.
    ///
    /// # Errors
    /// A text that cannot be cut into tokens.
    pub fn prompt(&self, text: &str) -> Result<Prompt, TokenizerError> {
        Ok(Prompt::new(self.encode(text)?, |id| self.separates(id)))
    }

    /// Opens a folder's `tokenizer.json`, else its `vocab.txt`, lower-casing unless `tokenizer_config.json` says otherwise.
    pub(super) fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let [whole, vocab] = ["tokenizer.json", VOCABULARY].map(|file| folder.join(file));
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
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }
}

/// The words of a text as the tokenizer sees them: lower case, without accents, punctuation apart.
fn words_of(text: &str) -> Result<Vec<String>, TokenizerError> {
    let normalizer = BertNormalizer::new(true, true, None, true);
    let mut words = PreTokenizedString::from(text);
    words.normalize(|part| normalizer.normalize(part)).map_err(|error| wrong(&error))?;
    BertPreTokenizer.pre_tokenize(&mut words).map_err(|error| wrong(&error))?;
    let words = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(words.into_iter().map(|(word, _, _)| word.to_owned()).collect())
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
