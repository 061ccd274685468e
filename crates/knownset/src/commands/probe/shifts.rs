//! Corrupted images: every kind at every severity, of the in-distribution images, of the others, of both.

use std::collections::BTreeSet;

use anyhow::Context;
use knownset_core::Features;
use knownset_data::corruptions::{CORRUPTIONS, Corruption, Severity, find};
use serde::Serialize;

use super::sensitivity::{Applied, Scored, Scorers, Side, stop};
use super::{Figures, Session};
use crate::printer::Printer;
use crate::towers::Towers;

/// One kind of corruption at one severity.
#[derive(Serialize)]
pub(super) struct Cell {
    pub(super) kind: &'static str,
    pub(super) severity: u8,
    /// Of the corrupted in-distribution images; null without labels.
    pub(super) accuracy: Option<f64>,
    /// Change from clean images, one a detector in the order of the summary.
    pub(super) change: Vec<Applied<Figures>>,
}

/// Extracts each corrupted set once, and joins it with the others clean and corrupted.
pub(super) fn measure(
    session: &Session<'_>,
    towers: &Towers,
    scorers: &Scorers,
    (clean_id, clean_ood): (&Scored<'_>, &[Scored<'_>]),
    before: &[Figures],
) -> anyhow::Result<Vec<Cell>> {
    let kinds = kinds(&session.args.corruptions)?;
    let severities: BTreeSet<Severity> = session.args.severities.iter().copied().collect();
    let quiet = Printer { quiet: true, ..session.printer };
    let each = session.sets.iter().map(|set| Ok(session.few_images(&set.reference)?.len()));
    let images: usize = each.sum::<anyhow::Result<usize>>()?;
    let progress = session.printer.progress("corrupted", images * kinds.len() * severities.len());
    let mut cells = Vec::new();
    for kind in kinds {
        for &severity in &severities {
            let read = |reference: &str| -> anyhow::Result<Features> {
                stop()?;
                let images = session.few_images(&format!("corrupt:{}:{severity}@{reference}", kind.name))?;
                let count = images.len();
                let known = &session.known.features;
                let set = towers.read(kind.name, images, known, &session.args.reading, quiet)?;
                progress.advance(count);
                Ok(set.features)
            };
            let id = read(&session.sets[0].reference).context("the set id")?;
            let ood =
                session.unknown().map(|set| read(&set.reference).with_context(|| format!("the set {}", set.name)));
            let ood: Vec<Features> = ood.collect::<anyhow::Result<_>>()?;
            let bad_id = scorers.score(&id)?;
            let bad_ood: Vec<_> = ood.iter().map(|set| scorers.score(set)).collect::<anyhow::Result<_>>()?;
            let after = [
                scorers.compare(&bad_id, clean_ood)?,
                scorers.compare(clean_id, &bad_ood)?,
                scorers.compare(&bad_id, &bad_ood)?,
            ];
            let change = (0..before.len()).map(|detector| {
                Applied::of(|side| {
                    let after = match side {
                        Side::Id => &after[0],
                        Side::Ood => &after[1],
                        Side::Both => &after[2],
                    };
                    after[detector].minus(before[detector])
                })
            });
            let change = change.collect();
            cells.push(Cell { kind: kind.name, severity: severity.get(), accuracy: id.accuracy(), change });
        }
    }
    Ok(cells)
}

/// The kinds named, in their own order and once each.
pub(super) fn kinds(names: &[String]) -> anyhow::Result<Vec<&'static Corruption>> {
    if names.iter().any(|name| name == "all") {
        return Ok(CORRUPTIONS.to_vec());
    }
    let named: Vec<&Corruption> = names.iter().map(|name| find(name)).collect::<Result<_, _>>()?;
    Ok(CORRUPTIONS.iter().copied().filter(|kind| named.contains(kind)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_once_each_and_unknown_ones_are_refused() {
        let chosen = |names: &[&str]| kinds(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let names: Vec<&str> = chosen(&["fog", "shot-noise", "fog"]).unwrap().iter().map(|kind| kind.name).collect();
        assert_eq!(names, ["shot-noise", "fog"]);
        assert_eq!(chosen(&["all"]).unwrap().len(), 19);
        assert!(chosen(&["frog"]).unwrap_err().to_string().contains("fog"));
    }
}
