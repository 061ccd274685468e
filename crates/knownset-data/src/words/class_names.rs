//! Class names as a person would say them.

use std::path::Path;

use super::{WordsError, text};
use crate::DatasetInfo;

/// The class names in a file, in its order: one a line, or a list of strings in JSON if the file starts with `[`.
/// Names are taken as they are written, without the white space around them.
///
/// # Errors
/// A file that cannot be read or has no names; a gap between names, which would shift the labels after it.
pub fn read_class_names(path: &Path) -> Result<Vec<String>, WordsError> {
    let content = text::read(path)?;
    let file = path.display().to_string();
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    if content.trim_start().starts_with('[') {
        let names: Vec<String> =
            serde_json::from_str(content).map_err(|source| WordsError::Json { path: path.to_owned(), source })?;
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        // Counted from 0, as labels are.
        if let Some(i) = names.iter().position(String::is_empty) {
            return Err(WordsError::Malformed { path: path.to_owned(), what: format!("class name {i} is empty") });
        }
        return some(names, path);
    }
    let mut names = Vec::new();
    for line in text::lines(content, &file) {
        let (line, name) = line?;
        if line != names.len() + 1 {
            let what = "an empty line before this class name".to_owned();
            return Err(WordsError::Line { file: file.clone(), line, what });
        }
        names.push(name.to_owned());
    }
    some(names, path)
}

fn some(names: Vec<String>, path: &Path) -> Result<Vec<String>, WordsError> {
    if names.is_empty() {
        return Err(WordsError::Empty { path: path.to_owned(), what: "class names" });
    }
    Ok(names)
}

/// The class names of a dataset, [`spoken`], in the order of the labels.
pub fn class_names_of(dataset: &DatasetInfo) -> Vec<String> {
    dataset.class_names.iter().map(|name| spoken(name)).collect()
}

/// A folder or class name as words: "sea-animal" and "sea_animal" are "sea animal".
pub fn spoken(class: &str) -> String {
    class.split(['-', '_', ' ']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
