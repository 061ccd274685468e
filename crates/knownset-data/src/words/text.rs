//! Text files of one thing a line.

use std::io::Read;
use std::path::Path;

use super::WordsError;

/// The longest file that is read, in bytes; the largest word lists have one or two million.
const MAX_BYTES: u64 = 16 << 20;
/// The longest line, in characters.
const MAX_LINE: usize = 200;

/// Reads a text file.
pub(super) fn read(path: &Path) -> Result<String, WordsError> {
    let file = fs_err::File::open(path).map_err(WordsError::Io)?;
    read_from(file, &path.display().to_string())
}

/// Reads a text of at most [`MAX_BYTES`]; `file` names it in errors.
pub(super) fn read_from(source: impl Read, file: &str) -> Result<String, WordsError> {
    let mut bytes = Vec::new();
    source
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| WordsError::Malformed { path: file.into(), what: format!("cannot be read: {error}") })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(WordsError::TooLong { file: file.to_owned(), limit: MAX_BYTES });
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|&byte| byte == b'\n').count();
        WordsError::Line { file: file.to_owned(), line, what: "not UTF-8".to_owned() }
    })
}

/// The lines that are not empty, without white space around them, and their numbers from 1. A byte order mark is skipped.
pub(super) fn lines<'a>(
    text: &'a str,
    file: &'a str,
) -> impl Iterator<Item = Result<(usize, &'a str), WordsError>> + 'a {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty()).map(move |(number, line)| {
        let wrong = |what: String| Err(WordsError::Line { file: file.to_owned(), line: number, what });
        if line.chars().count() > MAX_LINE {
            return wrong(format!("longer than {MAX_LINE} characters"));
        }
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return wrong("a control character".to_owned());
        }
        Ok((number, line))
    })
}
