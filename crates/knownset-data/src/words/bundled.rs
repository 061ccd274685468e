//! The bundled words: common English nouns and adjectives and their synonyms, from WordNet 3.1.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use super::WordsError;
use super::corpus::archived;

/// Made by `assets/words/build_words.mjs`.
pub(super) static ARCHIVE: &[u8] = include_bytes!("../../assets/words/words.zip");
/// What the archive is called in errors.
pub(super) const NAME: &str = "words:wordnet";

/// The other words of a noun's first (most common) sense in WordNet 3.1, in WordNet's order; none for words that are not
/// in the bundled corpus or stand alone.
///
/// # Errors
/// Only if the bundled archive was damaged when this crate was built.
pub fn synonyms(noun: &str) -> Result<&'static [String], WordsError> {
    static TABLE: OnceLock<HashMap<String, Vec<String>>> = OnceLock::new();
    let table = if let Some(table) = TABLE.get() {
        table
    } else {
        let table = read()?;
        TABLE.get_or_init(|| table)
    };
    Ok(table.get(noun).map_or(&[], Vec::as_slice))
}

fn read() -> Result<HashMap<String, Vec<String>>, WordsError> {
    let files = archived(Cursor::new(ARCHIVE), Path::new(NAME), |name| name == "synonyms.txt")?;
    let lines = files.0.values().flat_map(|file| file.content.lines());
    let rows = lines.filter_map(|line| line.split_once('\t'));
    Ok(rows.map(|(word, others)| (word.to_owned(), others.split(',').map(str::to_owned).collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::synonyms;

    #[test]
    fn first_senses() {
        assert_eq!(synonyms("building").unwrap(), ["edifice"]);
        assert_eq!(synonyms("car").unwrap(), ["auto", "automobile", "machine", "motorcar"]);
        assert!(synonyms("no such word").unwrap().is_empty());
    }
}
