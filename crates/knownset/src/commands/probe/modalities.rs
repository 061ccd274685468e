//! What words add: the same image tower with class names, with a linear probe on labelled images, and beside both a
//! network trained with labels alone.

use anyhow::Context;
use knownset_detect::{Information, Stream, select};
use serde::Serialize;

use super::linear_probe::LinearProbe;
use super::{Figures, Kind, Read, Session, SetRecord};
use crate::benchmark::{Sets, run as compare_detectors};
use crate::images;
use crate::inputs::Set;
use crate::results::{Results, Skipped};

/// Detectors of the towers with words, and of a network with a last layer.
pub(super) const WORDS: &str = "zero-shot";
const IMAGES: &str = "all";

/// One way to tell unknown images, with every detector that it allows.
#[derive(Serialize)]
pub(super) struct Modality {
    /// `words`, `linear-probe` or `supervised`.
    pub(super) name: &'static str,
    /// The network behind it.
    pub(super) backbone: String,
    /// Of the in-distribution test images; null without labels.
    pub(super) accuracy: Option<f64>,
    /// Of the linear probe, the L2 penalty chosen on held-out training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) l2: Option<f64>,
    /// By mean AUROC over all sets, best first.
    pub(super) detectors: Vec<Line>,
    pub(super) near: Spread,
    pub(super) far: Spread,
    /// Detectors that could not run, and why.
    pub(super) skipped: Vec<Skipped>,
}

/// One detector: means over the near and over the far sets, null where there is none.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) detector: String,
    /// What it was told beyond the image.
    pub(super) information: Information,
    pub(super) near: Option<Figures>,
    pub(super) far: Option<Figures>,
}

/// The detectors of a modality on one kind of sets. The best is chosen on the test images themselves: an upper bound, not
/// a result to be had.
#[derive(Serialize)]
pub(super) struct Spread {
    /// The detector of largest AUROC.
    pub(super) best: Option<String>,
    pub(super) best_figures: Option<Figures>,
    /// Medians of AUROC and of FPR95 over the detectors.
    pub(super) median: Option<Figures>,
}

/// Compares words with whatever the arguments allow.
pub(super) fn compare(session: &Session<'_>, read: Read) -> anyhow::Result<Vec<Modality>> {
    let mut modalities = Vec::new();
    let tower = session.towers.clip().origin().backbone.clone();
    let probed = match &session.args.train {
        None => None,
        Some(reference) => {
            let train = session.through(&session.towers, "train", session.images(reference)?)?;
            let probe = LinearProbe::train(&train, session.known.record.classes.len())?;
            let ood = read.ood.iter().map(|(name, set)| Ok((name.clone(), probe.read(set)?)));
            let ood = ood.collect::<anyhow::Result<_>>()?;
            Some((probe.l2, probe.read(&train)?, Read { id: probe.read(&read.id)?, ood }))
        }
    };
    let words = Set::of(session.known.features.clone());
    modalities.push(run(session, ("words", tower.clone(), WORDS), words, read)?);
    if let Some((l2, train, read)) = probed {
        let modality = run(session, ("linear-probe", tower, IMAGES), train, read)?;
        modalities.push(Modality { l2: Some(l2), ..modality });
    }
    if let (Some((name, weights)), Some(train)) = (&session.args.supervised, &session.args.train) {
        let network = images::network(name, weights.as_deref(), session.printer)?;
        anyhow::ensure!(network.backbone.head().is_some(), "{name} has no last layer: --supervised takes a classifier");
        let through = |what: &str, images: images::Images| {
            let rows = 0..images.len();
            let found = images.features(what, &network, &session.args.reading, rows, session.printer)?;
            Ok(Set::of(found.features))
        };
        let train = through("train", session.images(train)?).context("the set train")?;
        let backbone = network.origin.backbone.clone();
        modalities.push(run(session, ("supervised", backbone, IMAGES), train, session.read(through)?)?);
    }
    Ok(modalities)
}

fn run(
    session: &Session<'_>,
    (name, backbone, detectors): (&'static str, String, &str),
    train: Set,
    read: Read,
) -> anyhow::Result<Modality> {
    let sets = Sets { train, val: None, id: read.id, ood: read.ood, stream: Stream::default() };
    let outcome = compare_detectors(&sets, &select(detectors)?, session.printer).context(name)?;
    let detectors = lines(&outcome.results, &session.sets)?;
    Ok(Modality {
        name,
        backbone,
        accuracy: outcome.results.id.accuracy,
        l2: None,
        near: spread(&detectors, |line| line.near),
        far: spread(&detectors, |line| line.far),
        detectors,
        skipped: outcome.results.skipped,
    })
}

fn lines(results: &Results, sets: &[SetRecord]) -> anyhow::Result<Vec<Line>> {
    let line = |summary: crate::results::Summary<'_>| {
        let mean = |kind: Kind| {
            let of_kind = |name: &str| sets.iter().any(|set| set.name == name && set.kind == kind);
            let rows = summary.rows.iter().filter(|row| of_kind(&row.ood));
            Figures::mean(&rows.map(|row| Figures::of(&row.metrics)).collect::<Vec<_>>())
        };
        let information = summary.information.context("every detector that ran says what it knows")?;
        Ok(Line { detector: summary.detector.into(), information, near: mean(Kind::Near), far: mean(Kind::Far) })
    };
    results.leaderboard().into_iter().map(line).collect()
}

fn spread(lines: &[Line], kind: impl Fn(&Line) -> Option<Figures>) -> Spread {
    let all: Vec<(&str, Figures)> =
        lines.iter().filter_map(|line| Some((line.detector.as_str(), kind(line)?))).collect();
    let best = all.iter().fold(None, |best: Option<&(&str, Figures)>, one| match best {
        Some(best) if best.1.auroc >= one.1.auroc => Some(best),
        _ => Some(one),
    });
    let median = |part: fn(&Figures) -> f64| {
        let values: Vec<f64> = all.iter().map(|(_, figures)| part(figures)).collect();
        knownset_core::Distribution::of(&values).map(|found| found.median)
    };
    let median = median(|figures| figures.auroc).zip(median(|figures| figures.fpr95));
    Spread {
        best: best.map(|best| best.0.to_owned()),
        best_figures: best.map(|best| best.1),
        median: median.map(|(auroc, fpr95)| Figures { auroc, fpr95 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_and_median_by_hand() {
        let line = |detector: &str, near: Option<(f64, f64)>| Line {
            detector: detector.into(),
            information: Information::Static,
            near: near.map(|(auroc, fpr95)| Figures { auroc, fpr95 }),
            far: None,
        };
        let lines = [line("a", Some((0.6, 0.9))), line("b", Some((0.9, 0.3))), line("c", Some((0.7, 0.5)))];
        let near = spread(&lines, |line| line.near);
        assert_eq!(near.best.as_deref(), Some("b"));
        assert_eq!(near.best_figures, Some(Figures { auroc: 0.9, fpr95: 0.3 }));
        assert_eq!(near.median, Some(Figures { auroc: 0.7, fpr95: 0.5 }));
        let far = spread(&lines, |line| line.far);
        assert!(far.best.is_none() && far.median.is_none());
    }
}
