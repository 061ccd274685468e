//! Names of models, and which of a model's files are wanted.

use std::fmt;
use std::str::FromStr;

use super::HubError;

/// A model of the hub: `hf:ORGANISATION/NAME[@REVISION]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRef {
    /// `ORGANISATION/NAME`, or the `NAME` of an old model without one.
    pub model: String,
    /// Branch, tag or commit; `main` if none is given.
    pub revision: String,
}

impl FromStr for HubRef {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let parse = || {
            let rest = text.strip_prefix("hf:")?;
            let (model, revision) = rest.split_once('@').unwrap_or((rest, "main"));
            let fine = model.split('/').count() <= 2 && model.split('/').all(is_name) && is_revision(revision);
            fine.then(|| Self { model: model.to_owned(), revision: revision.to_owned() })
        };
        parse().ok_or_else(|| HubError::Syntax { reference: text.to_owned() })
    }
}

impl fmt::Display for HubRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}@{}", self.model, self.revision)
    }
}

/// The hub's rule; `--` stands for `/` in the cache.
fn is_name(name: &str) -> bool {
    let allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| !b"-.".contains(byte));
    let edges = edge(name.as_bytes().first()) && edge(name.as_bytes().last());
    allowed && edges && !name.contains("--") && !name.contains("..")
}

fn is_revision(revision: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let plain = |part: &str| !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('.');
    revision.split('/').all(plain) && !revision.contains("..")
}

/// Whether a revision is a commit, and so never moves.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a file's name stays inside the folder it is written to, on any system.
pub(super) fn is_safe(file: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let strange = |letter: char| letter.is_control() || matches!(letter, '\\' | ':');
    file.split('/').all(plain) && !file.contains(strange)
}

/// Which files of a model are wanted: names in which `*` stands for anything.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Files to take where there are any.
    pub any: &'a [&'a str],
    /// Alternatives: the first of which every pattern is there, so that weights come in one format only.
    pub one_of: &'a [&'a [&'a str]],
}

impl Wanted<'static> {
    /// A CLIP checkpoint: configuration, tokenizer, preprocessing, and weights in one format, Hugging Face's preferred.
    pub const CLIP: Self = Self {
        any: &[
            "config.json",
            "open_clip_config.json",
            "preprocessor_config.json",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "vocab.json",
            "merges.txt",
        ],
        one_of: &[
            &["model.safetensors"],
            &["model.safetensors.index.json", "model-*-of-*.safetensors"],
            &["open_clip_model.safetensors"],
            &["pytorch_model.bin"],
            &["pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
            &["open_clip_pytorch_model.bin"],
        ],
    };
}

impl Wanted<'_> {
    /// The wanted among `files`, in their order; `None` if no alternative is complete or nothing is wanted.
    pub(super) fn choose<'f>(&self, files: &'f [String]) -> Option<Vec<&'f str>> {
        let there = |pattern: &&str| files.iter().any(|file| matches(pattern, file));
        let alternative = self.one_of.iter().find(|patterns| patterns.iter().all(there));
        if alternative.is_none() && !self.one_of.is_empty() {
            return None;
        }
        let patterns: Vec<&str> = self.any.iter().chain(alternative.into_iter().copied().flatten()).copied().collect();
        let chosen = files.iter().filter(|file| patterns.iter().any(|pattern| matches(pattern, file)));
        let chosen: Vec<&str> = chosen.map(String::as_str).collect();
        (!chosen.is_empty()).then_some(chosen)
    }
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alternatives: Vec<String> = self.one_of.iter().map(|patterns| patterns.join(" with ")).collect();
        write!(f, "{}", if alternatives.is_empty() { self.any.join(", ") } else { alternatives.join(", ") })
    }
}

/// Whether a name is of a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let parse = |text: &str| text.parse::<HubRef>().ok().map(|model| model.to_string());
        assert_eq!(parse("hf:openai/clip-vit-base-patch32").unwrap(), "hf:openai/clip-vit-base-patch32@main");
        assert_eq!(parse("hf:a/b@refs/pr/1").unwrap(), "hf:a/b@refs/pr/1");
        assert_eq!(parse("hf:gpt2@v1.0").unwrap(), "hf:gpt2@v1.0");
        for text in [
            "a/b",
            "hf:",
            "hf:a/",
            "hf:/b",
            "hf:a/b/c",
            "hf:a/b@",
            "hf:../b",
            "hf:a/b@../c",
            "hf:a--b/c",
            "hf:a/b@x//y",
            "hf:a/.b",
            "hf:a b/c",
            "hf:a/b@x/.git",
            "hf:a/b?x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_that_leave_the_folder_are_unsafe() {
        for name in ["config.json", "a/b.c", "..a/b..", "é"] {
            assert!(is_safe(name), "{name}");
        }
        for name in ["", "/a", "a/", "../a", "a/../b", "a//b", ".", "a\\b", "C:a", "a\0", "a\nb"] {
            assert!(!is_safe(name), "{name}");
        }
    }

    #[test]
    fn the_first_complete_alternative_is_chosen() {
        let wanted =
            Wanted { any: &["config.json", "*.txt"], one_of: &[&["i.json", "m-*-of-*.st"], &["m.st"], &["m.bin"]] };
        let choose = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(ToString::to_string).collect();
            wanted.choose(&files).map(|chosen| chosen.join(" "))
        };
        assert_eq!(choose(&["config.json", "m.bin", "m.st", "x"]).unwrap(), "config.json m.st");
        assert_eq!(
            choose(&["a.txt", "i.json", "m-1-of-2.st", "m-2-of-2.st", "m.st"]).unwrap(),
            "a.txt i.json m-1-of-2.st m-2-of-2.st"
        );
        assert_eq!(choose(&["i.json", "m.bin"]).unwrap(), "m.bin");
        assert_eq!(choose(&["config.json", "i.json"]), None);
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [("*", ""), ("a*", "a"), ("*a", "ba"), ("a*c", "abcbc"), ("*é*", "xéy"), ("**", "x")] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a*", "ba"), ("a*a", "a"), ("*.json", "a.jsonx")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
