//! How firm it is: what becomes of AUROC and FPR95 when images are corrupted, and when prompts are worded otherwise.
//!
//! Every figure is a mean over the OOD sets. The *asymmetry index* of a detector is the standard deviation of its AUROC
//! over the single templates compared, divided by the standard deviation of its AUROC over all corrupted cells (a kind at
//! a severity; the clean images are not one of them). Above 1, wording moves it more than corruption does.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use anyhow::Context;
use knownset_core::metrics::Metrics;
use knownset_core::{Distribution, Features};
use knownset_data::words::Templates;
use knownset_detect::{Chosen, FitInput, Fitted, Information, Stream, select};
use serde::Serialize;

use super::shifts::{self, Cell};
use super::wordings::{self, Group, Prompt};
use super::{Figures, Session};
use crate::cli::Probe;
use crate::images::STOP;
use crate::inputs::Set;

/// What was measured.
#[derive(Serialize)]
pub(super) struct Sensitivity {
    /// Images drawn, by set.
    pub(super) images: BTreeMap<String, usize>,
    /// One a detector.
    pub(super) summary: Vec<Summary>,
    /// One a kind of corruption and severity.
    pub(super) corruptions: Vec<Cell>,
    /// One a wording of the class prompts.
    pub(super) prompts: Vec<Prompt>,
}

/// A detector's AUROC under all that was tried.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) detector: String,
    /// What it was told beyond the image.
    pub(super) information: Information,
    /// Clean images, the prompts of `--templates`.
    pub(super) clean: Figures,
    /// AUROC over the corrupted cells.
    pub(super) corruptions: Applied<Option<Distribution>>,
    /// AUROC over the wordings of a group, on clean images.
    pub(super) prompts: BTreeMap<Group, Distribution>,
    /// Asymmetry index; null where corruption or wording was not varied.
    pub(super) asymmetry: Applied<Option<f64>>,
}

/// By what was corrupted: the in-distribution images, the others, all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Applied<T> {
    pub(super) id: T,
    pub(super) ood: T,
    pub(super) both: T,
}

impl<T> Applied<T> {
    pub(super) fn of(mut each: impl FnMut(Side) -> T) -> Self {
        Self { id: each(Side::Id), ood: each(Side::Ood), both: each(Side::Both) }
    }

    pub(super) fn get(&self, side: Side) -> &T {
        match side {
            Side::Id => &self.id,
            Side::Ood => &self.ood,
            Side::Both => &self.both,
        }
    }
}

/// What was corrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Id,
    Ood,
    Both,
}

/// Fitted detectors.
pub(super) struct Scorers(Vec<Fitted>);

/// Images, and the scores that the detectors give them wherever they stand.
pub(super) struct Scored<'a> {
    features: &'a Features,
    /// `None` for a detector that learns from the stream, whose scores hang on the other images.
    scores: Vec<Option<Vec<f64>>>,
}

impl Scorers {
    pub(super) fn fit(detectors: &[Chosen], known: &Features) -> anyhow::Result<Self> {
        let input = FitInput::new(known, None)?;
        let fit = |chosen: &Chosen| Fitted::fit(chosen, &input).with_context(|| format!("cannot fit {chosen}"));
        Ok(Self(detectors.iter().map(fit).collect::<anyhow::Result<_>>()?))
    }

    pub(super) fn score<'a>(&self, features: &'a Features) -> anyhow::Result<Scored<'a>> {
        let score = |fitted: &Fitted| match fitted.info().information {
            Information::TestStream => Ok(None),
            _ => fitted.score(features).map(Some),
        };
        Ok(Scored { features, scores: self.0.iter().map(score).collect::<Result<_, _>>()? })
    }

    /// Figures of every detector, means over the OOD sets.
    pub(super) fn compare(&self, id: &Scored<'_>, ood: &[Scored<'_>]) -> anyhow::Result<Vec<Figures>> {
        let detector = |(index, fitted): (usize, &Fitted)| {
            let against = |ood: &Scored<'_>| {
                let metrics = if let (Some(id), Some(ood)) = (&id.scores[index], &ood.scores[index]) {
                    Metrics::new(id, ood)?
                } else {
                    let both = fitted.score_against(id.features, ood.features, &Stream::default())?;
                    Metrics::new(&both.id, &both.ood)?
                };
                Ok(Figures::of(&metrics))
            };
            let all: Vec<Figures> = ood.iter().map(against).collect::<anyhow::Result<_>>()?;
            Figures::mean(&all).context("there is no OOD set")
        };
        self.0.iter().enumerate().map(detector).collect()
    }
}

/// The sets as the whole part sees them.
pub(super) struct Clean {
    pub(super) id: Set,
    pub(super) ood: Vec<Set>,
}

impl Clean {
    pub(super) fn score<'a>(&'a self, scorers: &Scorers) -> anyhow::Result<(Scored<'a>, Vec<Scored<'a>>)> {
        let ood = self.ood.iter().map(|set| scorers.score(&set.features)).collect::<anyhow::Result<_>>()?;
        Ok((scorers.score(&self.id.features)?, ood))
    }
}

/// Refuses arguments that would only fail after hours.
pub(super) fn check(args: &Probe) -> anyhow::Result<()> {
    let detectors = select(&args.detectors)?;
    if let Some(other) = detectors.iter().find(|chosen| chosen.entry().info.needs.prompts.is_empty()) {
        anyhow::bail!("--detectors takes detectors that read words, which {other} does not");
    }
    Templates::parse(&args.templates_compared)?;
    shifts::kinds(&args.corruptions)?;
    Ok(())
}

/// Measures everything.
pub(super) fn measure(session: &Session<'_>) -> anyhow::Result<Sensitivity> {
    let detectors = select(&session.args.detectors)?;
    let towers = session.towers.with_patches(detectors.iter().any(|chosen| chosen.entry().info.needs.patches));
    let read = |name: &str, reference: &str| {
        let found = session.through(&towers, name, session.few_images(reference)?);
        found.with_context(|| format!("the set {name}"))
    };
    let ood = session.unknown().map(|set| read(&set.name, &set.reference)).collect::<anyhow::Result<_>>()?;
    let clean = Clean { id: read("id", &session.args.id)?, ood };
    let scorers = Scorers::fit(&detectors, &session.known.features)?;
    let (id, ood) = clean.score(&scorers)?;
    let before = scorers.compare(&id, &ood)?;

    let prompts = wordings::measure(session, &towers, &detectors, &clean)?;
    let corruptions = shifts::measure(session, &towers, &scorers, (&id, &ood), &before)?;
    let summary =
        (0..detectors.len()).map(|index| summary(index, &detectors[index], before[index], &corruptions, &prompts));
    let counts = session.sets.iter().zip(std::iter::once(&clean.id).chain(&clean.ood));
    Ok(Sensitivity {
        images: counts.map(|(set, read)| (set.name.clone(), read.features.len())).collect(),
        summary: summary.collect(),
        corruptions,
        prompts,
    })
}

fn summary(index: usize, chosen: &Chosen, clean: Figures, cells: &[Cell], prompts: &[Prompt]) -> Summary {
    let over_cells = |side: Side| {
        let change = |cell: &Cell| clean.auroc + cell.change[index].get(side).auroc;
        Distribution::of(&cells.iter().map(change).collect::<Vec<_>>())
    };
    let over_prompts = |group: Group| {
        let of_group = prompts.iter().filter(|prompt| prompt.group == group);
        Some((group, Distribution::of(&of_group.map(|prompt| prompt.figures[index].auroc).collect::<Vec<_>>())?))
    };
    let corruptions = Applied::of(over_cells);
    let prompts: BTreeMap<Group, Distribution> = Group::ALL.into_iter().filter_map(over_prompts).collect();
    let templates = prompts.get(&Group::Template).copied();
    Summary {
        detector: chosen.to_string(),
        information: chosen.entry().info.information,
        clean,
        asymmetry: Applied::of(|side| asymmetry(templates, *corruptions.get(side))),
        corruptions,
        prompts,
    }
}

/// std over templates ÷ std over cells, of at least two each.
fn asymmetry(templates: Option<Distribution>, cells: Option<Distribution>) -> Option<f64> {
    let (templates, cells) = (templates?, cells?);
    (templates.n > 1 && cells.n > 1 && cells.std > 0.0).then(|| templates.std / cells.std)
}

/// Stops here if Ctrl-C was pressed; what was read so far is in the cache.
pub(super) fn stop() -> anyhow::Result<()> {
    anyhow::ensure!(!STOP.load(Ordering::Relaxed), "stopped by Ctrl-C; run the same command again to go on");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_by_hand() {
        // Standard deviations 0.1 and 0.05.
        let (templates, cells) = (Distribution::of(&[0.7, 0.9]), Distribution::of(&[0.75, 0.85]));
        assert!((asymmetry(templates, cells).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(asymmetry(templates, Distribution::of(&[0.75])), None);
        assert_eq!(asymmetry(templates, Distribution::of(&[0.75, 0.75])), None);
        assert_eq!(asymmetry(None, cells), None);
    }
}
