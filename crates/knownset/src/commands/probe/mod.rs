//! `knownset probe`: why towers that read words tell unknown images apart, next to what else they could do it with, and
//! how firmly. After Lee et al., *An Empirical Analysis of VLM-based OOD Detection: Mechanisms, Advantages, and
//! Sensitivity*, 2025 (<https://arxiv.org/abs/2509.13375>); its measures are restated here as formulas of our own, since
//! the paper gives no code.
//!
//! Throughout, s(x, t) is the cosine of an image and a text, t_j are the classes in their prompts, o_l the negative
//! words that NegLabel mines against them. Cosines, AUROC and FPR95 are fractions.

mod linear_probe;
mod mechanisms;
mod modalities;
mod report;
mod sensitivity;
mod shifts;
mod wordings;

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use anyhow::Context;
use knownset_core::metrics::Metrics;
use knownset_detect::{Chosen, select};
use knownset_nn::extract::Cache;
use serde::Serialize;

use super::Status;
use crate::cli::{Part, Probe};
use crate::images::Images;
use crate::inputs::Set;
use crate::known_words::{KnownWords, Record, build};
use crate::printer::Printer;
use crate::towers::{self, Towers};

use mechanisms::Mechanisms;
use modalities::Modality;
use sensitivity::Sensitivity;

/// Images drawn for the sensitivity part, which reads every set many times.
const SENSITIVITY_IMAGES: usize = 200;

/// Everything found out: the JSON that scripts rely on.
#[derive(Serialize)]
struct Findings {
    /// The towers.
    backbone: String,
    /// Classes, templates and negative words.
    known: Record,
    /// What was compared: the known set's test images first.
    sets: Vec<SetRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanisms: Option<Mechanisms>,
    /// Words, linear probe, supervised network, as far as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    modalities: Option<Vec<Modality>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<Sensitivity>,
    /// Seconds spent, by part.
    timing: BTreeMap<&'static str, f64>,
}

/// A set of images.
#[derive(Debug, Clone, Serialize)]
struct SetRecord {
    name: String,
    kind: Kind,
    reference: String,
    /// Images it has; a part may have drawn fewer.
    images: usize,
}

/// What a set is to the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Id,
    Near,
    Far,
}

/// AUROC and FPR95 (ID positive), or changes of them; means where several sets or prompts are behind them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Figures {
    auroc: f64,
    fpr95: f64,
}

impl Figures {
    fn of(metrics: &Metrics) -> Self {
        Self { auroc: metrics.auroc, fpr95: metrics.fpr95 }
    }

    /// `None` of nothing.
    fn mean(all: &[Self]) -> Option<Self> {
        let mean = |part: fn(&Self) -> f64| all.iter().map(part).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| Self { auroc: mean(|one| one.auroc), fpr95: mean(|one| one.fpr95) })
    }

    /// What changed since.
    fn minus(self, before: Self) -> Self {
        Self { auroc: self.auroc - before.auroc, fpr95: self.fpr95 - before.fpr95 }
    }
}

/// What every part needs.
struct Session<'a> {
    args: &'a Probe,
    printer: Printer,
    towers: Towers,
    known: KnownWords,
    cache: Option<Cache>,
    sets: Vec<SetRecord>,
}

/// The test images of a part, read by one network.
struct Read {
    id: Set,
    /// By name.
    ood: Vec<(String, Set)>,
}

pub(super) fn run(args: &Probe, printer: Printer) -> anyhow::Result<Status> {
    let mut timing = BTreeMap::new();
    let session = timed(&mut timing, "words", || Session::open(args, printer))?;
    let wanted = |part: Part| args.parts.contains(&part);
    let read = if wanted(Part::Mechanisms) || wanted(Part::Modalities) {
        let towers = session.towers.with_patches(wanted(Part::Modalities));
        Some(timed(&mut timing, "images", || session.read(|what, images| session.through(&towers, what, images)))?)
    } else {
        None
    };
    let (mut mechanisms, mut shown, mut modalities) = (None, None, None);
    if let Some(read) = read {
        if wanted(Part::Mechanisms) {
            let (found, cosines) = timed(&mut timing, "mechanisms", || mechanisms::measure(&session, &read))?;
            (mechanisms, shown) = (Some(found), Some(cosines));
        }
        if wanted(Part::Modalities) {
            modalities = Some(timed(&mut timing, "modalities", || modalities::compare(&session, read))?);
        }
    }
    let sensitivity = if wanted(Part::Sensitivity) {
        Some(timed(&mut timing, "sensitivity", || sensitivity::measure(&session))?)
    } else {
        None
    };
    let Session { towers, known, sets, .. } = session;
    let backbone = towers.clip().origin().backbone.clone();
    let findings = Findings { backbone, known: known.record, sets, mechanisms, modalities, sensitivity, timing };
    if let Some(folder) = &args.out {
        report::write(folder, &findings, shown.as_ref())?;
        printer.note(format!("wrote {}", folder.join("report.html").display()));
    }
    printer.result(&findings, || report::terminal(&findings))?;
    Ok(Status::Done)
}

fn timed<T>(
    timing: &mut BTreeMap<&'static str, f64>,
    what: &'static str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let done = work()?;
    timing.insert(what, started.elapsed().as_secs_f64());
    Ok(done)
}

impl<'a> Session<'a> {
    /// Opens the towers, looks at the sets and embeds the words that the parts read.
    fn open(args: &'a Probe, printer: Printer) -> anyhow::Result<Self> {
        let detectors = Self::readers(args)?;
        if args.parts.contains(&Part::Sensitivity) {
            sensitivity::check(args)?;
        }
        let id = Images::open(&args.id, args.reading.strict)?;
        let mut sets = vec![record("id", Kind::Id, &args.id, &id)];
        for (kind, given) in [(Kind::Near, &args.near), (Kind::Far, &args.far)] {
            for (name, reference) in given {
                let images = Images::open(reference, args.reading.strict)?;
                sets.push(record(name, kind, reference, &images));
            }
        }
        let mut seen = HashSet::new();
        if let Some(twice) = sets.iter().find(|set| !seen.insert(&set.name)) {
            anyhow::bail!("two sets are called {}", twice.name);
        }
        let classes = args.words.class_names(&id)?;
        let clip = towers::open(&args.towers.backbone, args.towers.weights.as_deref(), printer)?;
        let towers = Towers::new(clip, false);
        let cache = args.reading.keeping.cache();
        let known = build(&args.words, &classes, &detectors, towers.clip(), cache.as_ref(), printer)?;
        Ok(Self { args, printer, towers, known, cache, sets })
    }

    /// The detectors whose words are to be embedded.
    fn readers(args: &Probe) -> anyhow::Result<Vec<Chosen>> {
        let mut readers = Vec::new();
        for (part, list) in [
            (Part::Mechanisms, "neglabel"),
            (Part::Modalities, modalities::WORDS),
            (Part::Sensitivity, args.detectors.as_str()),
        ] {
            if args.parts.contains(&part) {
                readers.extend(select(list)?);
            }
        }
        anyhow::ensure!(!readers.is_empty(), "--parts names no part");
        Ok(readers)
    }

    /// Opens a reference, of which so many images are drawn as a part other than sensitivity takes.
    fn images(&self, reference: &str) -> anyhow::Result<Images> {
        let images = Images::open(reference, self.args.reading.strict)?;
        Ok(images.at_most(self.args.images.filter(|&count| count > 0).unwrap_or(usize::MAX)))
    }

    /// The same, as the sensitivity part takes.
    fn few_images(&self, reference: &str) -> anyhow::Result<Images> {
        let count = match self.args.images {
            Some(0) => usize::MAX,
            given => given.unwrap_or(SENSITIVITY_IMAGES),
        };
        Ok(Images::open(reference, self.args.reading.strict)?.at_most(count))
    }

    fn through(&self, towers: &Towers, what: &str, images: Images) -> anyhow::Result<Set> {
        towers.read(what, images, &self.known.features, &self.args.reading, self.printer)
    }

    /// Reads every set.
    fn read(&self, through: impl Fn(&str, Images) -> anyhow::Result<Set>) -> anyhow::Result<Read> {
        let read = |set: &SetRecord| {
            let found = through(&set.name, self.images(&set.reference)?);
            found.with_context(|| format!("the set {}", set.name))
        };
        let ood = self.unknown().map(|set| Ok((set.name.clone(), read(set)?)));
        Ok(Read { id: read(&self.sets[0])?, ood: ood.collect::<anyhow::Result<_>>()? })
    }

    /// The sets to be refused.
    fn unknown(&self) -> impl Iterator<Item = &SetRecord> {
        self.sets.iter().skip(1)
    }
}

fn record(name: &str, kind: Kind, reference: &str, images: &Images) -> SetRecord {
    SetRecord { name: name.into(), kind, reference: reference.into(), images: images.len() }
}
