//! Learning a small vocabulary.

use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::pipeline::{self, Merge, SUFFIX, alphabet};

/// Captions → the content of a `tokenizer.json` with at most `vocabulary` tokens, numbered as OpenAI's are.
///
/// The trainer numbers word endings in the order of a hash table and breaks ties by these numbers, so it is given the
/// alphabet beforehand, in a fixed order.
pub(super) fn train<'a>(
    captions: impl IntoIterator<Item = &'a str>,
    vocabulary: usize,
) -> Result<Value, TokenizerError> {
    let alphabet = alphabet();
    let least = alphabet.len() + 2;
    if vocabulary < least {
        return Err(TokenizerError::VocabularyTooSmall { vocabulary, least });
    }
    let unusable = |error: &dyn std::fmt::Display| TokenizerError::Text { what: error.to_string() };
    let untrained = pipeline::clip(pipeline::vocabulary(&[]), &[]).to_string();
    let mut tokenizer = Tokenizer::from_bytes(untrained).map_err(|error| unusable(&error))?;
    let trainer = BpeTrainer::builder()
        .vocab_size(vocabulary - 2)
        .end_of_word_suffix(SUFFIX.to_owned())
        .special_tokens(alphabet.into_iter().map(|token| AddedToken::from(token, true)).collect())
        .show_progress(false)
        .build();
    let captions: Vec<&str> = captions.into_iter().collect();
    tokenizer.train(&mut TrainerWrapper::from(trainer), captions.into_iter()).map_err(|error| unusable(&error))?;

    let model = serde_json::to_value(tokenizer.get_model()).map_err(|error| unusable(&error))?;
    let merges: Vec<Merge> = serde_json::from_value(model["merges"].clone()).map_err(|error| unusable(&error))?;
    Ok(pipeline::clip(pipeline::vocabulary(&merges), &merges))
}
