//! Other wordings of the class prompts: single templates, and the base prompt with typos, in another word order, with
//! synonyms.
//!
//! The base prompt is the first template of `--templates`. Only the class prompts are rebuilt: negative words and whatever
//! else a detector reads stay those of the base run, so that what moves is the wording and nothing else. No image is read
//! again.

use knownset_core::Features;
use knownset_core::prompts::CLASSES;
use knownset_data::words::{Perturbation, Templates, fill};
use knownset_detect::Chosen;
use serde::Serialize;

use super::sensitivity::{Clean, Scorers, stop};
use super::{Figures, Session};
use crate::known_words::mean_of;
use crate::printer::Printer;
use crate::towers::{Towers, embed};

/// Seeds tried of each way to change a prompt.
const SEEDS: u64 = 4;

/// Kinds of wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
    Template,
    Typo,
    WordOrder,
    Synonym,
}

impl Group {
    pub(super) const ALL: [Self; 4] = [Self::Template, Self::Typo, Self::WordOrder, Self::Synonym];

    /// How a prompt is changed; `None` for one that is not.
    fn perturbation(self) -> Option<Perturbation> {
        match self {
            Self::Template => None,
            Self::Typo => Some(Perturbation::Typo),
            Self::WordOrder => Some(Perturbation::WordOrder),
            Self::Synonym => Some(Perturbation::Synonym),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.perturbation().map_or("template", Perturbation::name)
    }
}

/// One wording of the prompts of all classes.
#[derive(Serialize)]
pub(super) struct Prompt {
    pub(super) group: Group,
    pub(super) template: String,
    /// Of the change; none for a template as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    /// Classes whose prompt is not the template with the class name: the others could not be changed that way.
    pub(super) changed: usize,
    /// Of the in-distribution images; null without labels.
    pub(super) accuracy: Option<f64>,
    /// One a detector in the order of the summary.
    pub(super) figures: Vec<Figures>,
}

/// Scores the clean sets with every wording.
pub(super) fn measure(
    session: &Session<'_>,
    towers: &Towers,
    detectors: &[Chosen],
    clean: &Clean,
) -> anyhow::Result<Vec<Prompt>> {
    let compared = Templates::parse(&session.args.templates_compared)?;
    let base = &session.known.record.templates[0];
    let mut wordings: Vec<_> = compared.all().iter().map(|template| (Group::Template, template, None)).collect();
    for group in Group::ALL.into_iter().filter(|group| group.perturbation().is_some()) {
        wordings.extend((0..SEEDS).map(|seed| (group, base, Some(seed))));
    }
    let progress = session.printer.progress("wordings", wordings.len());
    let mut prompts = Vec::new();
    for (group, template, seed) in wordings {
        stop()?;
        let (texts, changed) = texts(&session.known.record.classes, group, template, seed.unwrap_or_default())?;
        let known = reworded(session, towers, &texts)?;
        let scorers = Scorers::fit(detectors, &known)?;
        let (id, ood) = clean.score(&scorers)?;
        let figures = scorers.compare(&id, &ood)?;
        let features = &clean.id.features;
        let logits = Some(towers.logits(features, &known)?);
        let accuracy = Features { labels: features.labels.clone(), logits, ..Features::default() }.accuracy();
        prompts.push(Prompt { group, template: template.clone(), seed, changed, accuracy, figures });
        progress.advance(1);
    }
    Ok(prompts)
}

/// A prompt a class, and how many of them are changed.
fn texts(classes: &[String], group: Group, template: &str, seed: u64) -> anyhow::Result<(Vec<String>, usize)> {
    let mut changed = 0;
    let mut texts = Vec::new();
    for class in classes {
        let other = match group.perturbation() {
            Some(perturbation) => perturbation.apply(template, class, seed)?,
            None => None,
        };
        changed += usize::from(other.is_some());
        texts.push(other.unwrap_or_else(|| fill(template, class)));
    }
    Ok((texts, changed))
}

/// The known set with these class prompts.
fn reworded(session: &Session<'_>, towers: &Towers, texts: &[String]) -> anyhow::Result<Features> {
    let quiet = Printer { quiet: true, ..session.printer };
    let rows = mean_of(embed(towers.clip(), "prompts", texts, session.cache.as_ref(), quiet)?.view(), 1)?;
    let mut known = session.known.features.clone();
    known.prompts.insert(CLASSES.into(), rows);
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_cannot_be_changed_keeps_its_prompt() {
        let classes = ["building".to_owned(), "zzz".to_owned()];
        let (found, changed) = texts(&classes, Group::Synonym, "a {}.", 1).unwrap();
        assert_eq!((found, changed), (vec!["a edifice.".to_owned(), "a zzz.".to_owned()], 1));
        let (found, changed) = texts(&classes, Group::Template, "a {}.", 1).unwrap();
        assert_eq!((found, changed), (vec!["a building.".to_owned(), "a zzz.".to_owned()], 0));
    }
}
