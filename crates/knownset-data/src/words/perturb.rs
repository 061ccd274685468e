//! Prompts worded a little otherwise, to see how much of a score hangs on the wording.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{WordsError, fill, synonyms};

/// A way to change a prompt. The same template, word and seed give the same prompt on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Perturbation {
    /// One slip in the class word, at a random letter: swapped with the next, dropped, doubled, or another letter of a–z
    /// in its place.
    Typo,
    /// The words of the whole prompt in a random order, never the original one (TAG averages scores over such prompts).
    WordOrder,
    /// The class word replaced by another word of its first sense in WordNet (see [`synonyms`]).
    Synonym,
}

impl Perturbation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Typo, Self::WordOrder, Self::Synonym];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Typo => "typo",
            Self::WordOrder => "word-order",
            Self::Synonym => "synonym",
        }
    }

    /// The prompt of `template` and `word`, changed. It differs from the unchanged one; `None` where that cannot be: a
    /// word without letters, a prompt of one word, a word without synonyms.
    ///
    /// # Errors
    /// Only if the bundled synonyms were damaged when this crate was built.
    pub fn apply(self, template: &str, word: &str, seed: u64) -> Result<Option<String>, WordsError> {
        let text = format!("knownset words {} {seed}\n{template}\n{word}", self.name());
        let mut dice = Dice(ChaCha8Rng::from_seed(Sha256::digest(text).into()));
        Ok(match self {
            Self::Typo => typo(word, &mut dice).map(|word| fill(template, &word)),
            Self::WordOrder => reordered(&fill(template, word), &mut dice),
            Self::Synonym => {
                let others = synonyms(word)?;
                (!others.is_empty()).then(|| fill(template, &others[dice.below(others.len())]))
            }
        })
    }
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Perturbation {
    type Err = WordsError;

    fn from_str(name: &str) -> Result<Self, WordsError> {
        let found = Self::ALL.into_iter().find(|perturbation| perturbation.name() == name);
        found.ok_or_else(|| WordsError::UnknownPerturbation {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

struct Dice(ChaCha8Rng);

impl Dice {
    /// A whole number in `0..n`.
    fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }
}

fn typo(word: &str, dice: &mut Dice) -> Option<String> {
    let mut letters: Vec<char> = word.chars().collect();
    let places: Vec<usize> = (0..letters.len()).filter(|&i| letters[i].is_alphabetic()).collect();
    if places.is_empty() {
        return None;
    }
    let at = places[dice.below(places.len())];
    // What would change nothing, or leave nothing, becomes a replacement.
    match dice.below(4) {
        0 if letters.get(at + 1).is_some_and(|next| next.is_alphabetic() && *next != letters[at]) => {
            letters.swap(at, at + 1);
        }
        1 if places.len() > 1 => {
            letters.remove(at);
        }
        2 => letters.insert(at, letters[at]),
        _ => {
            let others: Vec<char> = ('a'..='z').filter(|other| *other != letters[at]).collect();
            letters[at] = others[dice.below(others.len())];
        }
    }
    Some(letters.into_iter().collect())
}

fn reordered(prompt: &str, dice: &mut Dice) -> Option<String> {
    let original: Vec<&str> = prompt.split_whitespace().collect();
    if original.iter().all(|word| *word == original[0]) {
        return None;
    }
    let mut words = original.clone();
    for i in (1..words.len()).rev() {
        words.swap(i, dice.below(i + 1));
    }
    // Words that are not all equal, turned by one, are in another order.
    if words == original {
        words.rotate_left(1);
    }
    Some(words.join(" "))
}
