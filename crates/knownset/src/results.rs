//! What `bench` and `eval` find out: the JSON that scripts rely on.

use std::collections::BTreeMap;

use knownset_core::metrics::Metrics;
use knownset_detect::Information;
use serde::{Deserialize, Serialize};

use crate::cli::GateMetric;

/// The whole result of a benchmark.
#[expect(clippy::struct_field_names, reason = "scripts rely on the name `results`")]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The in-distribution test set.
    pub(crate) id: IdSummary,
    /// One entry per detector and OOD set.
    pub(crate) results: Vec<Row>,
    /// What each detector was told beyond the images it scores.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) information: BTreeMap<String, Information>,
    /// Detectors that could not run, and why.
    pub(crate) skipped: Vec<Skipped>,
    /// What was read, per set, when images were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) images: BTreeMap<String, ImageCounts>,
    /// Seconds spent, by stage; detectors under their name.
    pub(crate) timing: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct IdSummary {
    pub(crate) n: usize,
    /// Share classified correctly; null without labels or predictions.
    pub(crate) accuracy: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) detector: String,
    pub(crate) ood: String,
    /// OOD images.
    pub(crate) n: usize,
    #[serde(flatten)]
    pub(crate) metrics: Metrics,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) detector: String,
    pub(crate) why: String,
}

/// How reading a set of images went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ImageCounts {
    /// Images whose features were used.
    pub(crate) used: usize,
    /// Ids of damaged images of which part was filled in.
    pub(crate) truncated: Vec<String>,
    /// Messages, each naming its image, of those left out.
    pub(crate) unreadable: Vec<String>,
}

/// A detector's figures averaged over the OOD sets.
#[derive(Debug, Clone)]
pub(crate) struct Summary<'a> {
    pub(crate) detector: &'a str,
    pub(crate) information: Option<Information>,
    /// One per OOD set, in the order the sets were given.
    pub(crate) rows: Vec<&'a Row>,
    pub(crate) auroc: f64,
    pub(crate) fpr95: f64,
    pub(crate) fpr95_ood_positive: f64,
    pub(crate) aupr_in: f64,
    pub(crate) aupr_out: f64,
}

impl Results {
    /// Detectors by mean AUROC, best first.
    pub(crate) fn leaderboard(&self) -> Vec<Summary<'_>> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.results {
            if !names.contains(&row.detector.as_str()) {
                names.push(&row.detector);
            }
        }
        let mut board: Vec<_> = names.into_iter().map(|detector| self.summary(detector)).collect();
        board.sort_by(|a, b| b.auroc.total_cmp(&a.auroc));
        board
    }

    fn summary<'a>(&'a self, detector: &'a str) -> Summary<'a> {
        let rows: Vec<&Row> = self.results.iter().filter(|row| row.detector == detector).collect();
        let mean = |metric: fn(&Metrics) -> f64| {
            rows.iter().map(|row| metric(&row.metrics)).sum::<f64>() / rows.len().max(1) as f64
        };
        Summary {
            detector,
            information: self.information.get(detector).copied(),
            auroc: mean(|metrics| metrics.auroc),
            fpr95: mean(|metrics| metrics.fpr95),
            fpr95_ood_positive: mean(|metrics| metrics.fpr95_ood_positive),
            aupr_in: mean(|metrics| metrics.aupr_in),
            aupr_out: mean(|metrics| metrics.aupr_out),
            rows,
        }
    }

    /// The OOD sets, in the order they were given.
    pub(crate) fn ood_sets(&self) -> Vec<&str> {
        let mut sets: Vec<&str> = Vec::new();
        for row in &self.results {
            if !sets.contains(&row.ood.as_str()) {
                sets.push(&row.ood);
            }
        }
        sets
    }

    /// Whether the best detector's mean reaches the gate, and the mean.
    pub(crate) fn passes(&self, (metric, least): (GateMetric, f64)) -> (bool, f64) {
        let board = self.leaderboard();
        let best = board.iter().map(|summary| match metric {
            GateMetric::Auroc => summary.auroc,
            GateMetric::AuprIn => summary.aupr_in,
            GateMetric::AuprOut => summary.aupr_out,
        });
        let best = best.fold(0.0, f64::max);
        (best >= least, best)
    }
}
