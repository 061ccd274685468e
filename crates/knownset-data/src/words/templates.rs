//! Sentences with a gap for a class name, as published for CLIP and its out-of-distribution detectors.

use std::path::Path;

use super::{WordsError, text};

/// Where the word goes.
const GAP: &str = "{}";

/// A named set of templates.
#[derive(Debug, Clone, Copy)]
pub struct TemplateSet {
    /// Its name, as in [`Templates::parse`].
    pub name: &'static str,
    /// One line on where it is from and what it is for.
    pub doc: &'static str,
    /// The templates, one a line.
    text: &'static str,
}

/// Every named set.
pub const TEMPLATES: &[TemplateSet] = &[
    TemplateSet { name: "simple", doc: "CLIP's \"a photo of a {}.\"", text: "a photo of a {}." },
    TemplateSet { name: "mcm", doc: "MCM's, which has no full stop", text: "a photo of a {}" },
    TemplateSet {
        name: "nice",
        doc: "\"The nice {}.\", the best of NegLabel's table of templates",
        text: "The nice {}.",
    },
    TemplateSet { name: "neglabel", doc: "NegLabel's for nouns and class names", text: "the nice {}" },
    TemplateSet { name: "neglabel-adjective", doc: "NegLabel's for adjectives", text: "This is a {} photo" },
    TemplateSet {
        name: "csp",
        doc: "eight nice, good and close-up templates for nouns, after CSP (the wording is ours)",
        text: "a nice {}\nthe nice {}\na good {}\nthe good {}\na photo of a nice {}\na good photo of a {}\n\
               a close-up photo of a {}\na close-up photo of the nice {}",
    },
    TemplateSet {
        name: "csp-adjective",
        doc: "four for an adjective with a superclass (\"green thing\"), after CSP (the wording is ours)",
        text: "a nice {}\na photo of a {}\na good photo of a {}\na close-up photo of a {}",
    },
    TemplateSet {
        name: "80",
        doc: "the eighty ImageNet templates of CLIP's prompt notebook, for an ensemble",
        text: include_str!("../../assets/words/templates80.txt"),
    },
    TemplateSet {
        name: "sensitivity",
        doc: "the eight single templates that NegLabel's authors compare, worst first, for reports",
        text: "A dark photo of a {}\nA cropped photo of a {}\nA blurry photo of a {}\nA low resolution photo of a {}\n\
               A photo of a {}\nA good photo of a {}\n{}.\nThe nice {}.",
    },
];

/// The nouns that CSP joins with an adjective (NeurIPS 2024): "green" becomes "green thing", say.
pub const CSP_SUPERCLASSES: [&str; 14] = [
    "environment",
    "space",
    "object",
    "scene",
    "place",
    "item",
    "area",
    "view",
    "thing",
    "pattern",
    "structure",
    "landscape",
    "vista",
    "creature",
];

/// Templates, each with one gap `{}`.
///
/// Articles do not agree ("a photo of a owl"): the published prompts have them so, and a corrected one is another prompt,
/// with other scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    name: String,
    all: Vec<String>,
}

impl Templates {
    /// The templates of a set named in [`TEMPLATES`], or of a UTF-8 file with one a line (empty lines are skipped).
    ///
    /// # Errors
    /// Neither a name nor a file; a file without templates; a line without `{}` or with two, by file and line.
    pub fn parse(spec: &str) -> Result<Self, WordsError> {
        if let Some(set) = TEMPLATES.iter().find(|set| set.name == spec) {
            return Ok(Self { name: spec.to_owned(), all: set.text.lines().map(str::to_owned).collect() });
        }
        let path = Path::new(spec);
        if !path.exists() {
            let known = TEMPLATES.iter().map(|set| set.name).collect();
            return Err(WordsError::UnknownTemplates { name: spec.to_owned(), known });
        }
        let content = text::read(path)?;
        let mut all = Vec::new();
        for line in text::lines(&content, spec) {
            let (line, template) = line?;
            let gaps = template.matches(GAP).count();
            if gaps != 1 {
                let what = format!("{GAP} must occur once in {template:?}, it occurs {gaps} times");
                return Err(WordsError::Line { file: spec.to_owned(), line, what });
            }
            all.push(template.to_owned());
        }
        if all.is_empty() {
            return Err(WordsError::Empty { path: path.to_owned(), what: "templates" });
        }
        Ok(Self { name: spec.to_owned(), all })
    }

    /// The name or path it was made from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The templates, at least one.
    pub fn all(&self) -> &[String] {
        &self.all
    }

    /// A prompt per template.
    pub fn fill(&self, word: &str) -> Vec<String> {
        self.all.iter().map(|template| fill(template, word)).collect()
    }
}

/// A template with `word` in its gap.
pub fn fill(template: &str, word: &str) -> String {
    template.replacen(GAP, word, 1)
}

#[cfg(test)]
mod tests {
    use super::{GAP, TEMPLATES, Templates};

    #[test]
    fn every_named_template_has_one_gap_and_no_twin() {
        for set in TEMPLATES {
            let templates = Templates::parse(set.name).unwrap();
            let mut all = templates.all().to_vec();
            assert!(all.iter().all(|template| template.matches(GAP).count() == 1), "{}", set.name);
            assert!(all.iter().all(|template| template.trim() == template && !template.contains("  ")), "{}", set.name);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), templates.all().len(), "{}", set.name);
        }
        let count = |name: &str| Templates::parse(name).unwrap().all().len();
        assert_eq!(["simple", "80", "sensitivity", "csp", "csp-adjective"].map(count), [1, 80, 8, 8, 4]);
    }
}
