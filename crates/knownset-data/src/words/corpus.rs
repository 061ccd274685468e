//! Word corpora: what an image might show besides the known classes.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use knownset_core::digest::Hasher;
use serde::Serialize;

use super::{WordsError, bundled, text};
use crate::tree::is_hidden;

/// Goes up when the same files would make another corpus.
const VERSION: &str = "words 1";
/// The most entries in a folder or archive that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// The most text in all lists together, in bytes; NegLabel's have 1.1 MB.
const MAX_BYTES: usize = 64 << 20;

/// What a word is, which decides what template it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PartOfSpeech {
    /// Put in templates such as "the nice {}".
    Noun,
    /// Put in templates such as "This is a {} photo".
    Adjective,
}

impl PartOfSpeech {
    /// From the name of a list: `noun.artifact` is nouns, `adj.all` adjectives.
    fn of(list: &str) -> Option<Self> {
        match list.split_once('.')?.0 {
            "noun" => Some(Self::Noun),
            "adj" => Some(Self::Adjective),
            _ => None,
        }
    }
}

/// The words of one file.
#[derive(Debug, Clone, Serialize)]
pub struct WordList {
    /// Its name: WordNet's for its lexicographer file, such as `noun.artifact`.
    pub name: String,
    /// What its words are.
    pub part: PartOfSpeech,
    /// How many words the file has.
    pub listed: usize,
    /// Those that no earlier list has, in the order of the file.
    #[serde(skip)]
    pub words: Vec<String>,
}

/// Nouns and adjectives, each once.
#[derive(Debug, Clone)]
pub struct Corpus {
    reference: String,
    lists: Vec<WordList>,
    sha256: String,
}

impl Corpus {
    /// Opens a corpus, leaving out the lists named in `without` (CSP leaves out `noun.person`, `noun.quantity`,
    /// `noun.group` and `adj.pert`).
    ///
    /// `reference` is one of
    /// - `words:wordnet`, bundled: common English from WordNet 3.1, animals and food included;
    /// - a folder or a zip archive with files `noun.*.txt` and `adj.*.txt` (others are ignored), one word a line, as
    ///   NegLabel's `txtfiles`;
    /// - any other file: nouns, one a line; they make the list `noun.all`.
    ///
    /// Underscores become spaces, runs of white space one; case is kept. Of equal words (the same text) the first stays,
    /// in whatever list: NegLabel drops repeats so. Lists are read in byte order of their names, adjectives first; NegLabel
    /// reads in the order of the file system, so that of a word that is noun and adjective it may keep the other one.
    ///
    /// # Errors
    /// An unknown name, a path that cannot be read, a line that is no word, nothing to read.
    pub fn open(reference: &str, without: &[&str]) -> Result<Self, WordsError> {
        let path = Path::new(reference);
        let is_list = |name: &str| name.strip_suffix(".txt").is_some_and(|list| PartOfSpeech::of(list).is_some());
        let files = if let Some(name) = reference.strip_prefix("words:") {
            if reference != bundled::NAME {
                return Err(WordsError::UnknownCorpus { name: name.to_owned(), known: vec!["wordnet"] });
            }
            archived(Cursor::new(bundled::ARCHIVE), path, is_list)?
        } else if path.is_dir() {
            in_folder(path, is_list)?
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip")) {
            archived(BufReader::new(fs_err::File::open(path).map_err(WordsError::Io)?), path, is_list)?
        } else {
            let mut files = Files::default();
            files.add("noun.all.txt", File { shown: reference.to_owned(), content: text::read(path)? }, path)?;
            files
        };
        Self::from_files(reference, files, without)
    }

    fn from_files(reference: &str, files: Files, without: &[&str]) -> Result<Self, WordsError> {
        let path = Path::new(reference);
        let files = files.0;
        let list_name = |file: &str| file.strip_suffix(".txt").unwrap_or(file).to_owned();
        if let Some(name) = without.iter().find(|name| !files.keys().any(|file| list_name(file) == **name)) {
            let known = files.keys().map(|file| list_name(file)).collect();
            return Err(WordsError::UnknownList { path: path.to_owned(), name: (*name).to_owned(), known });
        }
        let (mut seen, mut lists) = (HashSet::new(), Vec::new());
        for (file, File { shown, content }) in files {
            let name = list_name(&file);
            let Some(part) = PartOfSpeech::of(&name).filter(|_| !without.contains(&name.as_str())) else { continue };
            let mut list = WordList { name, part, listed: 0, words: Vec::new() };
            for line in text::lines(&content, &shown) {
                let word = line?.1.split([' ', '\t', '_']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
                if word.is_empty() {
                    continue;
                }
                list.listed += 1;
                if seen.insert(word.clone()) {
                    list.words.push(word);
                }
            }
            lists.push(list);
        }
        if seen.is_empty() {
            return Err(WordsError::Empty { path: path.to_owned(), what: "words (noun.*.txt, adj.*.txt)" });
        }
        let mut hasher = Hasher::default();
        hasher.field(VERSION.as_bytes());
        for list in &lists {
            hasher.field(list.name.as_bytes()).field(list.words.join("\n").as_bytes());
        }
        Ok(Self { reference: reference.to_owned(), lists, sha256: hasher.finish() })
    }

    /// What it was opened with.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The lists, in byte order of their names.
    pub fn lists(&self) -> &[WordList] {
        &self.lists
    }

    /// The words of a part of speech, list after list.
    pub fn words(&self, part: PartOfSpeech) -> impl Iterator<Item = &str> {
        self.lists.iter().filter(move |list| list.part == part).flat_map(|list| list.words.iter().map(String::as_str))
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.lists.iter().map(|list| list.words.len()).sum()
    }

    /// Never true: opening a corpus without words is an error.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has a list of this name with words in it. What a report says of `noun.animal` and `noun.food`, which
    /// NegLabel's files lack: with them, negatives may be the very classes that are known.
    pub fn includes(&self, list: &str) -> bool {
        self.lists.iter().any(|found| found.name == list && !found.words.is_empty())
    }

    /// Those of `names` that are words of the corpus, ignoring case: known classes that would be their own negatives.
    pub fn shared_with<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let words: HashSet<String> =
            self.lists.iter().flat_map(|list| list.words.iter().map(|word| word.to_lowercase())).collect();
        names.iter().map(String::as_str).filter(|name| words.contains(&name.to_lowercase())).collect()
    }

    /// SHA-256 over the names of the lists and the words kept, wherever they were read from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// A text and what it is called in errors.
pub(super) struct File {
    shown: String,
    pub(super) content: String,
}

/// Texts by the names of their files, without folders.
#[derive(Default)]
pub(super) struct Files(pub(super) BTreeMap<String, File>);

impl Files {
    fn add(&mut self, name: &str, file: File, path: &Path) -> Result<(), WordsError> {
        let wrong = |what: String| Err(WordsError::Malformed { path: path.to_owned(), what });
        if self.0.insert(name.to_owned(), file).is_some() {
            return wrong(format!("two files are called {name}"));
        }
        if self.0.values().map(|file| file.content.len()).sum::<usize>() > MAX_BYTES {
            return wrong(format!("more than {MAX_BYTES} bytes of words"));
        }
        Ok(())
    }
}

/// The files right in a folder whose names are wanted.
fn in_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Files, WordsError> {
    let mut files = Files::default();
    for (count, entry) in fs_err::read_dir(folder).map_err(WordsError::Io)?.enumerate() {
        if count >= MAX_ENTRIES {
            let what = format!("more than {MAX_ENTRIES} files");
            return Err(WordsError::Malformed { path: folder.to_owned(), what });
        }
        let path = entry.map_err(WordsError::Io)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| wanted(name)) else { continue };
        files.add(name, File { shown: path.display().to_string(), content: text::read(&path)? }, folder)?;
    }
    Ok(files)
}

/// The files anywhere in a zip archive whose names, without folders, are wanted.
pub(super) fn archived(
    source: impl Read + Seek,
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Files, WordsError> {
    let wrong = |what: String| WordsError::Malformed { path: path.to_owned(), what };
    let mut archive = zip::ZipArchive::new(source).map_err(|error| wrong(format!("not a zip archive: {error}")))?;
    if archive.len() > MAX_ENTRIES {
        return Err(wrong(format!("{} entries, above the limit of {MAX_ENTRIES}", archive.len())));
    }
    let mut files = Files::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| wrong(error.to_string()))?;
        let full = entry.name().map_err(|error| wrong(error.to_string()))?.into_owned();
        let name = full.rsplit('/').next().unwrap_or(&full);
        if entry.is_dir() || !wanted(name) || full.split('/').any(is_hidden) {
            continue;
        }
        let shown = format!("{}/{full}", path.display());
        let content = text::read_from(entry, &shown)?;
        files.add(name, File { shown, content }, path)?;
    }
    Ok(files)
}
