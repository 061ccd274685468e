//! Tokenizer files as Hugging Face and OpenAI lay them out.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::pipeline::{END, Merge, START};
use super::{TokenizerError, pipeline};

/// Merges of OpenAI's file that CLIP uses; it lists more.
const OPENAI_MERGES: usize = 49_152 - 256 - 2;
/// More than any vocabulary unpacks to.
const UNPACKED_LIMIT: u64 = 64 << 20;

/// Names of the special tokens, and the context length where a file states it.
#[derive(Debug, Clone)]
pub(super) struct Specials {
    pub(super) start: String,
    pub(super) end: String,
    pub(super) pad: String,
    pub(super) length: Option<usize>,
}

impl Default for Specials {
    /// CLIP's own; padding with the end token.
    fn default() -> Self {
        Self { start: START.to_owned(), end: END.to_owned(), pad: END.to_owned(), length: None }
    }
}

/// `special_tokens_map.json`, then `tokenizer_config.json`, then CLIP's own.
pub(super) fn specials(folder: &Path) -> Result<Specials, TokenizerError> {
    let stated = Stated::open(folder)?;
    let end = stated.token("eos_token").unwrap_or_else(|| END.to_owned());
    let length = stated.config.as_ref().and_then(|config| config["model_max_length"].as_u64());
    Ok(Specials {
        start: stated.token("bos_token").unwrap_or_else(|| START.to_owned()),
        pad: stated.token("pad_token").unwrap_or_else(|| end.clone()),
        end,
        length: length.and_then(|length| usize::try_from(length).ok()),
    })
}

/// The two files that name special tokens, where they are.
pub(super) struct Stated {
    map: Option<Value>,
    pub(super) config: Option<Value>,
}

impl Stated {
    pub(super) fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let [map, config] =
            ["special_tokens_map.json", "tokenizer_config.json"].map(|file| optional(&folder.join(file)));
        Ok(Self { map: map?, config: config? })
    }

    /// The token called so, such as `bos_token`.
    pub(super) fn token(&self, name: &str) -> Option<String> {
        [&self.map, &self.config].into_iter().flatten().find_map(|file| content(&file[name]))
    }
}

/// A token is written as text, or as an object that holds it.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

fn optional(path: &Path) -> Result<Option<Value>, TokenizerError> {
    if path.is_file() { json(path).map(Some) } else { Ok(None) }
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TokenizerError> {
    serde_json::from_slice(&fs_err::read(path)?).map_err(|error| malformed(path, &error))
}

/// `vocab.json` with these tokens among others, and `merges.txt`, whose tokens it has.
pub(super) fn vocab_and_merges(
    vocab: &Path,
    merges: &Path,
    specials: &[&str],
) -> Result<(Map<String, Value>, Vec<Merge>), TokenizerError> {
    let vocabulary: Map<String, Value> = json(vocab)?;
    for (token, id) in &vocabulary {
        if id.as_u64().is_none_or(|id| u32::try_from(id).is_err()) {
            return Err(malformed(vocab, &format!("token `{token}` has number {id}")));
        }
    }
    if let Some(token) = specials.iter().find(|&&token| !vocabulary.contains_key(token)) {
        return Err(malformed(vocab, &format!("no token `{token}`")));
    }
    let pairs = parse_merges(&fs_err::read_to_string(merges)?, merges, usize::MAX)?;
    for (left, right) in &pairs {
        let merged = format!("{left}{right}");
        if let Some(token) = [left, right, &merged].into_iter().find(|&token| !vocabulary.contains_key(token)) {
            return Err(malformed(merges, &format!("token `{token}` of a merge is not in {}", vocab.display())));
        }
    }
    Ok((vocabulary, pairs))
}

/// `bpe_simple_vocab_16e6.txt.gz` → the content of a `tokenizer.json`.
pub(super) fn openai(path: &Path) -> Result<Value, TokenizerError> {
    let mut text = String::new();
    let file = MultiGzDecoder::new(fs_err::File::open(path)?);
    file.take(UNPACKED_LIMIT).read_to_string(&mut text).map_err(|error| malformed(path, &error))?;
    let merges = parse_merges(&text, path, OPENAI_MERGES)?;
    Ok(pipeline::clip(pipeline::vocabulary(&merges), &merges))
}

/// A heading, then one merge a line, most important first.
fn parse_merges(text: &str, path: &Path, limit: usize) -> Result<Vec<Merge>, TokenizerError> {
    let lines = text.lines().enumerate().filter(|(index, line)| {
        let heading = *index == 0 && (line.starts_with("#version") || line.contains("bpe_simple_vocab"));
        !heading && !line.is_empty()
    });
    let merge = |(index, line): (usize, &str)| match line.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(malformed(path, &format!("line {} is not two tokens", index + 1))),
    };
    lines.take(limit).map(merge).collect()
}

pub(super) fn malformed(path: &Path, what: &dyn std::fmt::Display) -> TokenizerError {
    TokenizerError::Malformed { path: path.into(), what: what.to_string() }
}
