//! What a study says: means over seeds, and differences from the baseline seed by seed.

use std::collections::BTreeMap;

use knownset_core::Interval;
use serde::Serialize;

use super::plan::Plan;
use crate::results::{Results, Skipped};

/// The figures of every run, one result per seed in the plan's order.
pub(crate) type Outcomes = BTreeMap<String, Vec<Results>>;

/// A study's result.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// One entry per run, in the plan's order, the baseline first.
    pub(crate) runs: Vec<Run>,
    /// Detectors that could not judge a run; no mean has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<Missing>,
}

/// A detector that could not judge a run.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) run: String,
    pub(crate) seed: u64,
    pub(crate) detector: String,
    pub(crate) why: String,
}

/// What is known of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// Share of ID test images classified correctly.
    pub(crate) accuracy: Option<Interval>,
    /// Difference from the baseline's; none for the baseline.
    pub(crate) accuracy_gain: Option<Interval>,
    /// By group of OOD sets, over the mean of all detectors that every run has.
    pub(crate) mean: BTreeMap<String, Figures>,
    /// By detector, then by group of OOD sets.
    pub(crate) detectors: BTreeMap<String, BTreeMap<String, Figures>>,
}

/// Figures averaged over the sets of a group.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) auroc: Interval,
    pub(crate) fpr95: Interval,
    /// Difference from the same detector's on the baseline, seed by seed; none for the baseline, and for a detector
    /// that the baseline has not.
    pub(crate) auroc_gain: Option<Interval>,
}

/// The AUROC and the FPR95 of each seed.
#[derive(Clone)]
struct Seeds {
    auroc: Vec<f64>,
    fpr95: Vec<f64>,
}

/// Figures by detector and group.
type BySeed = BTreeMap<String, BTreeMap<String, Seeds>>;

impl Summary {
    pub(crate) fn new(plan: &Plan, outcomes: &Outcomes) -> Self {
        let seeds: BTreeMap<&String, BySeed> =
            outcomes.iter().map(|(name, results)| (name, by_seed(plan, results))).collect();
        let everywhere = |detector: &String| seeds.values().all(|run| run.contains_key(detector));
        let baseline = seeds.get(&plan.baseline);
        let accuracies = |name: &String| -> Option<Vec<f64>> {
            outcomes.get(name)?.iter().map(|results| results.id.accuracy).collect()
        };
        let names = std::iter::once(&plan.baseline).chain(plan.runs.keys().filter(|name| **name != plan.baseline));
        let runs = names.filter_map(|name| {
            let run = seeds.get(name)?;
            let before = baseline.filter(|_| *name != plan.baseline);
            let gain = |detector: &String, group: &String, after: &Seeds| {
                Interval::of_differences(&before?.get(detector)?.get(group)?.auroc, &after.auroc)
            };
            let detectors = run.iter().map(|(detector, groups)| {
                let figures = groups
                    .iter()
                    .filter_map(|(group, seeds)| Some((group.clone(), figures(seeds, gain(detector, group, seeds))?)));
                (detector.clone(), figures.collect())
            });
            let shared: Vec<&String> = run.keys().filter(|detector| everywhere(detector)).collect();
            let mean = plan.ood.keys().filter_map(|group| {
                let own = mean_of(run, &shared, group)?;
                let gain = before.and_then(|before| mean_of(before, &shared, group));
                let gain = gain.and_then(|before| Interval::of_differences(&before.auroc, &own.auroc));
                Some((group.clone(), figures(&own, gain)?))
            });
            let accuracy = accuracies(name);
            Some(Run {
                name: name.clone(),
                accuracy: accuracy.as_deref().and_then(Interval::of),
                accuracy_gain: before
                    .and_then(|_| Interval::of_differences(&accuracies(&plan.baseline)?, accuracy.as_deref()?)),
                mean: mean.collect(),
                detectors: detectors.collect(),
            })
        });
        let skipped = outcomes.iter().flat_map(|(run, results)| {
            let seeds = plan.seeds.iter().zip(results);
            seeds.flat_map(move |(&seed, results)| {
                let of = move |Skipped { detector, why }: &Skipped| Missing {
                    run: run.clone(),
                    seed,
                    detector: detector.clone(),
                    why: why.clone(),
                };
                results.skipped.iter().map(of)
            })
        });
        Self { runs: runs.collect(), skipped: skipped.collect() }
    }
}

fn figures(seeds: &Seeds, auroc_gain: Option<Interval>) -> Option<Figures> {
    Some(Figures { auroc: Interval::of(&seeds.auroc)?, fpr95: Interval::of(&seeds.fpr95)?, auroc_gain })
}

/// Each seed's figures, averaged over the sets of a group, of the detectors that every seed has.
fn by_seed(plan: &Plan, results: &[Results]) -> BySeed {
    let mut all = BySeed::new();
    for results in results {
        for (group, sets) in &plan.ood {
            for summary in results.leaderboard() {
                let rows: Vec<_> = summary.rows.iter().filter(|row| sets.contains_key(&row.ood)).collect();
                let n = rows.len() as f64;
                let groups = all.entry(summary.detector.to_owned()).or_default();
                let seeds = groups.entry(group.clone()).or_insert(Seeds { auroc: Vec::new(), fpr95: Vec::new() });
                seeds.auroc.push(rows.iter().map(|row| row.metrics.auroc).sum::<f64>() / n);
                seeds.fpr95.push(rows.iter().map(|row| row.metrics.fpr95).sum::<f64>() / n);
            }
        }
    }
    all.retain(|_, groups| groups.values().all(|seeds| seeds.auroc.len() == results.len()));
    all
}

/// The figures of each seed, averaged over detectors.
fn mean_of(run: &BySeed, detectors: &[&String], group: &String) -> Option<Seeds> {
    let all: Vec<&Seeds> = detectors.iter().filter_map(|detector| run.get(*detector)?.get(group)).collect();
    let mean = |pick: fn(&Seeds) -> &Vec<f64>| -> Option<Vec<f64>> {
        let seeds = pick(all.first()?).len();
        Some((0..seeds).map(|seed| all.iter().map(|one| pick(one)[seed]).sum::<f64>() / all.len() as f64).collect())
    };
    Some(Seeds { auroc: mean(|seeds| &seeds.auroc)?, fpr95: mean(|seeds| &seeds.fpr95)? })
}
