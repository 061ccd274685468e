//! CLIP's text pipeline, written as the content of a `tokenizer.json`.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// Token before the text.
pub(super) const START: &str = "<|startoftext|>";
/// Token after the text, and in place of what is unknown.
pub(super) const END: &str = "<|endoftext|>";
/// What a word's last token ends with.
pub(super) const SUFFIX: &str = "</w>";

/// Words, single digits, runs of anything else; English contractions split off.
const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Two tokens that become one.
pub(super) type Merge = (String, String);

/// NFC, white space collapsed, lower case → words → bytes as letters → merges.
pub(super) fn clip(vocabulary: Map<String, Value>, merges: &[Merge]) -> Value {
    let tokens = added_tokens(&vocabulary, &[START, END]);
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [END, vocabulary.get(END)],
            "cls": [START, vocabulary.get(START)],
            "trim_offsets": false,
            "add_prefix_space": false,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": SUFFIX, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges,
        },
    })
}

/// GPT-2's: words with the space before them → bytes as letters → merges.
pub(super) fn gpt2(vocabulary: Map<String, Value>, merges: &[Merge], specials: &[&str], space_first: bool) -> Value {
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": space_first, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(&vocabulary, specials),
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": null,
        "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": merges,
        },
    })
}

/// Tokens of the vocabulary that no text is cut into, in the order of their numbers.
fn added_tokens(vocabulary: &Map<String, Value>, specials: &[&str]) -> Vec<Value> {
    let special = |token: &&str| {
        json!({
            "id": vocabulary.get(*token), "content": token, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        })
    };
    let mut tokens: Vec<Value> = specials.iter().map(special).collect();
    tokens.sort_by_key(|token| token["id"].as_u64());
    tokens
}

/// The numbers of OpenAI's vocabulary: 256 bytes, the same ending a word, one token per merge, start, end.
pub(super) fn vocabulary(merges: &[Merge]) -> Map<String, Value> {
    numbered(alphabet(), merges, &[START, END])
}

/// The numbers of a vocabulary: its alphabet, one token per merge, special tokens.
pub(super) fn numbered(alphabet: Vec<String>, merges: &[Merge], specials: &[&str]) -> Map<String, Value> {
    let merged = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let tokens = alphabet.into_iter().chain(merged).chain(specials.iter().map(ToString::to_string));
    let mut seen = HashSet::new();
    let tokens = tokens.filter(|token| seen.insert(token.clone()));
    tokens.enumerate().map(|(id, token)| (token, Value::from(id))).collect()
}

/// The 512 tokens that are there before any merge.
pub(super) fn alphabet() -> Vec<String> {
    let letters = byte_letters();
    let endings = letters.iter().map(|letter| format!("{letter}{SUFFIX}"));
    letters.iter().map(char::to_string).chain(endings).collect()
}

/// The 256 tokens of GPT-2's that are there before any merge.
pub(super) fn bytes() -> Vec<String> {
    byte_letters().iter().map(char::to_string).collect()
}

/// A visible letter for each byte: printable Latin-1 characters for themselves, in order, then U+0100 upwards for the rest.
fn byte_letters() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let itself = (0..=255_u8).filter(printable).map(char::from);
    let rest = (0..=255_u8).filter(|byte| !printable(byte)).count() as u32;
    itself.chain((0..rest).filter_map(|i| char::from_u32(256 + i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_openai_s() {
        let tokens = vocabulary(&[("a".into(), "b</w>".into()), ("c".into(), "ab</w>".into())]);
        // '!' is the first printable byte, the space is the 33rd that is not, after 188 that are.
        let expected = [("!", 0), ("~", 93), ("Ġ", 188 + 32), ("!</w>", 256), ("ab</w>", 512), ("cab</w>", 513)];
        for (token, id) in expected.into_iter().chain([(START, 514), (END, 515)]) {
            assert_eq!(tokens[token], id, "{token}");
        }
        assert_eq!(tokens.len(), 516);
    }

    #[test]
    fn a_token_made_twice_has_one_number() {
        let merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let tokens = vocabulary(&merges);
        assert_eq!((tokens["abc"].as_u64(), tokens[START].as_u64()), (Some(514), Some(515)));
    }
}
