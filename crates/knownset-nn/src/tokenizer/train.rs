//! Learning a small vocabulary.

use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BpeTrainer, BpeTrainerBuilder};
use tokenizers::{AddedToken, Tokenizer};

use super::TokenizerError;
use super::pipeline::{self, Merge, SUFFIX, alphabet};

/// Captions → the content of a `tokenizer.json` with at most `vocabulary` tokens, numbered as OpenAI's are.
pub(super) fn clip<'a>(
    captions: impl IntoIterator<Item = &'a str>,
    vocabulary: usize,
) -> Result<Value, TokenizerError> {
    let untrained = pipeline::clip(pipeline::vocabulary(&[]), &[]);
    let trainer = BpeTrainer::builder().end_of_word_suffix(SUFFIX.to_owned());
    let merges = merges(captions, &untrained, trainer, alphabet(), [vocabulary, 2])?;
    Ok(pipeline::clip(pipeline::vocabulary(&merges), &merges))
}

/// The same of GPT-2's kind, with special tokens behind all others.
pub(super) fn language<'a>(
    captions: impl IntoIterator<Item = &'a str>,
    vocabulary: usize,
    specials: &[&str],
) -> Result<Value, TokenizerError> {
    let content = |merges: &[Merge]| {
        pipeline::gpt2(pipeline::numbered(pipeline::bytes(), merges, specials), merges, specials, false)
    };
    let sizes = [vocabulary, specials.len()];
    Ok(content(&merges(captions, &content(&[]), BpeTrainer::builder(), pipeline::bytes(), sizes)?))
}

/// The merges that fit into a vocabulary of that size beside the alphabet and so many special tokens.
///
/// The trainer numbers word endings in the order of a hash table and breaks ties by these numbers, so it is given the
/// alphabet beforehand, in a fixed order.
fn merges<'a>(
    captions: impl IntoIterator<Item = &'a str>,
    untrained: &Value,
    trainer: BpeTrainerBuilder,
    alphabet: Vec<String>,
    [vocabulary, specials]: [usize; 2],
) -> Result<Vec<Merge>, TokenizerError> {
    let least = alphabet.len() + specials;
    if vocabulary < least {
        return Err(TokenizerError::VocabularyTooSmall { vocabulary, least });
    }
    let unusable = |error: &dyn std::fmt::Display| TokenizerError::Text { what: error.to_string() };
    let mut tokenizer = Tokenizer::from_bytes(untrained.to_string()).map_err(|error| unusable(&error))?;
    let trainer = trainer
        .vocab_size(vocabulary - specials)
        .special_tokens(alphabet.into_iter().map(|token| AddedToken::from(token, true)).collect())
        .show_progress(false)
        .build();
    let captions: Vec<&str> = captions.into_iter().collect();
    tokenizer.train(&mut TrainerWrapper::from(trainer), captions.into_iter()).map_err(|error| unusable(&error))?;

    let model = serde_json::to_value(tokenizer.get_model()).map_err(|error| unusable(&error))?;
    serde_json::from_value(model["merges"].clone()).map_err(|error| unusable(&error))
}
