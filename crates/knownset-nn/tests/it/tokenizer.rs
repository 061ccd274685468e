//! Texts have the numbers of the reference tokenizers, and broken files are refused by name.

use std::path::{Path, PathBuf};

use knownset_nn::tokenizer::{LanguageTokenizer, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::Value;

use crate::real_weights::shared;

const LENGTH: usize = 77;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer").join(name)
}

fn small() -> Tokenizer {
    Tokenizer::open(&golden("small")).unwrap()
}

/// Texts, their numbers under `key` without padding, and whether OpenCLIP reads them otherwise.
fn texts(key: &str) -> Vec<(String, Vec<u32>, bool)> {
    let rows: Vec<Value> = serde_json::from_slice(&fs_err::read(golden("texts.json")).unwrap()).unwrap();
    let numbers = |row: &Value| serde_json::from_value(row[key].clone()).unwrap();
    rows.iter()
        .map(|row| {
            let differs = row["open_clip_differs"].as_bool().unwrap();
            (row["text"].as_str().unwrap().to_owned(), numbers(row), differs)
        })
        .collect()
}

fn check(tokenizer: &Tokenizer, text: &str, expected: &[u32], padding: u32) {
    let tokens = tokenizer.encode(text).unwrap();
    assert_eq!(tokens.ids.len(), LENGTH, "{text:?}");
    assert_eq!(&tokens.ids[..expected.len()], expected, "{text:?}");
    assert!(tokens.ids[expected.len()..].iter().all(|&id| id == padding), "{text:?}: {:?}", tokens.ids);
    assert_eq!(Some(tokens.end), expected.iter().position(|&id| id == tokenizer.end_token()), "{text:?}");
}

#[test]
fn a_small_vocabulary_gives_the_numbers_of_transformers() {
    for (text, expected, _) in texts("small") {
        check(&small(), &text, &expected, small().end_token());
    }
}

#[test]
fn the_pipeline_is_that_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::copy(golden("small-tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let theirs = Tokenizer::open(folder.path()).unwrap();
    for (text, expected, _) in texts("small") {
        check(&theirs, &text, &expected, theirs.end_token());
    }
}

#[test]
fn clip_s_vocabulary_gives_the_numbers_of_transformers_and_open_clip() {
    let Some(path) = shared("text/bpe_simple_vocab_16e6.txt.gz") else { return };
    let tokenizer = Tokenizer::open_openai(&path).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.end_token()), (49_408, 49_407));
    let texts = texts("openai");
    for (text, expected, _) in &texts {
        check(&tokenizer, text, expected, 0);
    }
    assert_eq!(texts.iter().filter(|(_, _, differs)| *differs).count(), 12);
}

#[test]
fn special_tokens_and_length_come_from_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["vocab.json", "merges.txt"] {
        fs_err::copy(golden("small").join(file), folder.path().join(file)).unwrap();
    }
    let write = |file: &str, text: &str| fs_err::write(folder.path().join(file), text).unwrap();
    write("tokenizer_config.json", r#"{"model_max_length": 5, "pad_token": "a"}"#);
    write("special_tokens_map.json", r#"{"pad_token": {"content": "!", "lstrip": false}}"#);
    let tokens = Tokenizer::open(folder.path()).unwrap().encode("cat").unwrap();
    assert_eq!((tokens.ids.len(), tokens.ids[4], tokens.ids[tokens.end]), (5, 0, small().end_token()));
    assert_eq!(tokens.end, tokens.ids.iter().position(|&id| id == small().end_token()).unwrap());

    write("special_tokens_map.json", r#"{"pad_token": "<pad>"}"#);
    let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no token `<pad>`") && error.contains("vocab.json"), "{error}");

    write("special_tokens_map.json", "{");
    let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("special_tokens_map.json"), "{error}");

    fs_err::remove_file(folder.path().join("special_tokens_map.json")).unwrap();
    write("tokenizer_config.json", r#"{"model_max_length": 1e300}"#);
    assert_eq!(Tokenizer::open(folder.path()).unwrap().context_length(), LENGTH);
    write("tokenizer_config.json", r#"{"model_max_length": 1000000000000000}"#);
    assert!(matches!(Tokenizer::open(folder.path()), Err(TokenizerError::ContextLength { .. })));
}

#[test]
fn a_long_text_keeps_its_end_token() {
    let tokenizer = small();
    for text in ["a".repeat(1 << 20), "dog ".repeat(1 << 18), "\u{1f600}".repeat(1 << 16), "\0".repeat(1 << 16)] {
        let tokens = tokenizer.encode(&text).unwrap();
        assert_eq!((tokens.ids.len(), tokens.ids[LENGTH - 1]), (LENGTH, tokenizer.end_token()));
        assert!(tokens.end < LENGTH);
    }
}

#[test]
fn decoding_gives_the_words_back() {
    let tokens = small().encode("A  Photo of\nthe small cat").unwrap();
    assert_eq!(small().decode(&tokens.ids).unwrap(), "a photo of the small cat");
    let error = small().decode(&[3, 4_000_000_000]).unwrap_err();
    assert_eq!(error.to_string(), "token 4000000000 is not in the vocabulary of 814");
}

/// Captions in which many pairs are equally frequent.
fn captions() -> Vec<String> {
    let words = ["red", "green", "blue", "wooden", "tiny", "star", "ring", "cross", "arrow", "heart", "caf\u{e9}"];
    words.iter().flat_map(|a| words.iter().map(move |b| format!("A {a} thing beside a {b}."))).collect()
}

#[test]
fn training_gives_the_same_bytes_again_and_again() {
    let captions = captions();
    let save = |order: &[String], threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let tokenizer = pool.install(|| Tokenizer::train(order.iter().map(String::as_str), 600, 16).unwrap());
        tokenizer.save(folder.path()).unwrap();
        (fs_err::read(folder.path().join("tokenizer.json")).unwrap(), folder, tokenizer)
    };
    let (bytes, folder, trained) = save(&captions, 1);
    let backwards: Vec<String> = captions.iter().rev().cloned().collect();
    for run in 0..8 {
        assert!(save(if run % 2 == 0 { &captions } else { &backwards }, 1 + run % 3).0 == bytes, "run {run}");
    }

    let opened = Tokenizer::open(folder.path()).unwrap();
    // All there is to merge in so few captions is merged before 600; 530 is reached and kept.
    assert!((531..600).contains(&opened.vocabulary()), "{}", opened.vocabulary());
    let smaller = Tokenizer::train(captions.iter().map(String::as_str), 530, 16).unwrap();
    assert_eq!(smaller.vocabulary(), 530);
    assert_eq!((opened.context_length(), opened.vocabulary()), (16, trained.vocabulary()));
    assert_eq!(opened.end_token() as usize, opened.vocabulary() - 1);
    for text in captions.iter().map(String::as_str).chain(["unseen \u{1f600} words", ""]) {
        assert_eq!(opened.encode(text).unwrap(), trained.encode(text).unwrap());
    }
    // Frequent words have become one token: start, "a", "red", "thing".
    let tokens = opened.encode("a red thing").unwrap();
    assert_eq!(tokens.end, 4, "{tokens:?}");
}

#[test]
fn a_vocabulary_without_room_for_the_bytes_is_refused() {
    let error = Tokenizer::train(["a"], 513, LENGTH).unwrap_err();
    assert!(matches!(error, TokenizerError::VocabularyTooSmall { vocabulary: 513, least: 514 }), "{error}");
    assert_eq!(Tokenizer::train([], 514, LENGTH).unwrap().vocabulary(), 514);
    assert!(Tokenizer::train(["a"], 600, 1).is_err());
}

#[test]
fn broken_files_are_refused_by_name() {
    let missing = tempfile::tempdir().unwrap();
    let error = Tokenizer::open(missing.path()).unwrap_err();
    assert!(error.to_string().contains(missing.path().to_str().unwrap()), "{error}");

    let model = r#""normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "truncation": null, "padding": null"#;
    let cases: [(&str, String); 6] = [
        ("tokenizer.json", "{".into()),
        ("tokenizer.json", "[]".into()),
        ("tokenizer.json", "\u{0}\u{1}".into()),
        (
            "tokenizer.json",
            format!(
                r#"{{"version": "1.0", "added_tokens": [], {model}, "model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": ["a b"]}}}}"#
            ),
        ),
        (
            "tokenizer.json",
            format!(
                r#"{{"version": "1.0", "added_tokens": [], {model}, "model": {{"type": "BPE", "vocab": {{"a": 0}}, "merges": []}}}}"#
            ),
        ),
        ("bpe_simple_vocab_16e6.txt.gz", "not gzip".into()),
    ];
    for (file, text) in cases {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join(file), &text).unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{text}: {error}");
    }

    let pairs = [
        (r#"{"a": 0}"#, "", "no token `<|startoftext|>`"),
        (r#"{"a": -1}"#, "", "token `a` has number -1"),
        (r#"{"a": 4294967296}"#, "", "token `a` has number"),
        (r#"{"<|startoftext|>": 0, "<|endoftext|>": 1}"#, "a b", "token `a` of a merge"),
        (r#"{"<|startoftext|>": 0, "<|endoftext|>": 1}"#, "#version: 0.2\na", "line 2 is not two tokens"),
        (r#"{"<|startoftext|>": 0, "<|endoftext|>": 1}"#, "a b c", "line 1 is not two tokens"),
    ];
    for (vocab, merges, message) in pairs {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("vocab.json"), vocab).unwrap();
        fs_err::write(folder.path().join("merges.txt"), merges).unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(folder.path().to_str().unwrap()), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_fits_the_context(text in "\\PC{0,60}|[a-z' ]{0,200}|(?s:.{0,40})") {
        let tokenizer = small();
        let tokens = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokens.ids.len(), LENGTH);
        prop_assert_eq!(tokens.ids[tokens.end], tokenizer.end_token());
        prop_assert!(tokens.ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
    }
}

#[test]
fn a_language_s_vocabulary_is_learnt_and_gives_every_text_back() {
    let captions = ["a small red cat on the left", "a red cat, near a disc", "an owl in the upper left, near a cat"];
    let tokenizer = LanguageTokenizer::train(captions, 290).unwrap();
    assert!(tokenizer.vocabulary() <= 290);
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path()).unwrap();
    let opened = LanguageTokenizer::open(folder.path()).unwrap();
    for text in captions.into_iter().chain(["a zebra: \u{1f993}", "", " x "]) {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(opened.encode(text).unwrap(), ids);
        assert_eq!(opened.decode(&ids).unwrap(), text);
    }
    let words = tokenizer.encode("a red cat").unwrap();
    assert_eq!(words.len(), 3, "frequent words are one token each: {words:?}");
    // The bytes, the merges, then the special tokens.
    let begin = tokenizer.begin().unwrap();
    assert_eq!(begin as usize, tokenizer.vocabulary() - 3);
    assert_eq!(opened.decode(&[begin, words[0], begin]).unwrap(), "a");
    let again = LanguageTokenizer::train(captions, 290).unwrap();
    assert_eq!(again.encode(captions[2]).unwrap(), tokenizer.encode(captions[2]).unwrap());
    let error = LanguageTokenizer::train(captions, 258).unwrap_err().to_string();
    assert!(error.contains("258") && error.contains("259"), "{error}");
}
