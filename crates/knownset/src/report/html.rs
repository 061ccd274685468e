//! The self-contained HTML report.

use std::collections::BTreeMap;

use knownset_detect::Streamed;
use minijinja::{Environment, context};

use super::{svg, tables};
use crate::results::{Results, Summary};

/// Colours the page defines for sets; more sets share the last.
const COLOURS: usize = 9;

/// Everything a report shows.
pub(crate) struct Report<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    pub(crate) results: &'a Results,
    pub(crate) scores: &'a Scores,
    /// Images to look at, by the best detector's score.
    pub(crate) galleries: Vec<Gallery>,
}

/// Scores by detector.
pub(crate) type Scores = BTreeMap<String, DetectorScores>;

/// One detector's scores: of the ID set and each OOD set, in order. Only of detectors that learn from what they score do
/// the ID scores differ from set to set.
#[derive(Debug, Clone, Default)]
pub(crate) struct DetectorScores {
    pub(crate) against: Vec<Streamed>,
}

impl DetectorScores {
    /// Scores as they were saved, all rows of every set.
    pub(crate) fn of_tables(id: &[f64], oods: Vec<Vec<f64>>) -> Self {
        let pair = |ood: Vec<f64>| {
            let (id_rows, ood_rows) = ((0..id.len()).collect(), (0..ood.len()).collect());
            Streamed { id: id.to_vec(), ood, id_rows, ood_rows }
        };
        Self { against: oods.into_iter().map(pair).collect() }
    }
}

/// A row of images.
#[derive(Debug)]
pub(crate) struct Gallery {
    pub(crate) title: String,
    pub(crate) images: Vec<Thumbnail>,
}

/// One image in a gallery.
#[derive(Debug)]
pub(crate) struct Thumbnail {
    pub(crate) id: String,
    pub(crate) score: String,
    /// PNG in base64.
    pub(crate) png: String,
}

impl Gallery {
    pub(crate) fn context(&self) -> minijinja::Value {
        let image = |image: &Thumbnail| context! { id => image.id.as_str(), score => image.score.as_str(), png => image.png.as_str() };
        context! { title => self.title.as_str(), images => self.images.iter().map(image).collect::<Vec<_>>() }
    }
}

/// Templates of one page, which may include the style all pages share.
pub(crate) fn environment<'a>(name: &'a str, page: &'a str) -> anyhow::Result<Environment<'a>> {
    let mut environment = Environment::new();
    environment.add_template("style.css", include_str!("style.css.jinja"))?;
    environment.add_template(name, page)?;
    Ok(environment)
}

impl Report<'_> {
    /// The page.
    pub(crate) fn render(&self) -> anyhow::Result<String> {
        let environment = environment("report.html", include_str!("report.html.jinja"))?;
        let leaderboard = self.results.leaderboard();
        let sets = self.results.ood_sets();
        let best = leaderboard.first().ok_or_else(|| anyhow::anyhow!("no detector gave a result"))?;
        let accuracy = self.results.id.accuracy.map(percent);
        Ok(environment.get_template("report.html")?.render(context! {
            title => self.title.to_owned(),
            subtitle => self.subtitle.to_owned(),
            id_n => self.results.id.n,
            accuracy,
            best => context! { name => best.detector.to_owned(), auroc => percent(best.auroc), fpr95 => percent(best.fpr95) },
            board => leaderboard.iter().map(|summary| board_row(summary, &sets)).collect::<Vec<_>>(),
            plots => leaderboard.iter().filter_map(|summary| self.plot(summary)).collect::<Vec<_>>(),
            sets => sets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            caption => tables::CAPTION,
            skipped => self.results.skipped.iter().map(|s| context! { detector => s.detector.as_str(), why => s.why.as_str() }).collect::<Vec<_>>(),
            problems => self.problems(),
            galleries => self.galleries.iter().map(Gallery::context).collect::<Vec<_>>(),
            version => env!("CARGO_PKG_VERSION"),
        })?)
    }

    fn plot(&self, summary: &Summary<'_>) -> Option<minijinja::Value> {
        let scores = self.scores.get(summary.detector)?;
        let pairs: Vec<(&[f64], &[f64])> =
            scores.against.iter().take(COLOURS - 1).map(|pair| (pair.id.as_slice(), pair.ood.as_slice())).collect();
        let mut sets = vec![pairs.first()?.0];
        sets.extend(pairs.iter().map(|pair| pair.1));
        Some(context! {
            name => summary.detector.to_owned(),
            auroc => percent(summary.auroc),
            histogram => minijinja::Value::from_safe_string(svg::histogram(&sets)),
            roc => minijinja::Value::from_safe_string(svg::roc(&pairs)),
        })
    }

    /// What was left out or filled in while reading images.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (set, counts) in &self.results.images {
            if !counts.truncated.is_empty() {
                problems.push(format!("{set}: {} damaged images were partly filled in", counts.truncated.len()));
            }
            for why in counts.unreadable.iter().take(10) {
                problems.push(format!("{set}: left out {why}"));
            }
            if counts.unreadable.len() > 10 {
                problems.push(format!("{set}: {} images left out in all", counts.unreadable.len()));
            }
        }
        problems
    }
}

fn board_row(summary: &Summary<'_>, sets: &[&str]) -> minijinja::Value {
    let cells: Vec<_> = sets
        .iter()
        .filter_map(|set| summary.rows.iter().find(|row| row.ood == *set))
        .map(|row| {
            let [low, high] = row.metrics.auroc_ci95;
            context! {
                text => percent(row.metrics.auroc),
                half => percent((high - low) / 2.0),
                interval => format!("{}–{}", percent(low), percent(high)),
                colour => heat(row.metrics.auroc),
            }
        })
        .collect();
    context! {
        name => summary.detector.to_owned(),
        knows => tables::knows(summary.information),
        cells,
        auroc => percent(summary.auroc),
        fpr95 => percent(summary.fpr95),
        fpr95_ood => percent(summary.fpr95_ood_positive),
        aupr_in => percent(summary.aupr_in),
        aupr_out => percent(summary.aupr_out),
    }
}

pub(crate) fn percent(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// From red at chance and below over white at 0.75 to green at 1.
pub(crate) fn heat(auroc: f64) -> String {
    let position = (auroc.clamp(0.5, 1.0) - 0.75) / 0.25;
    let (hue, strength) = if position < 0.0 { (12, -position) } else { (145, position) };
    format!("hsl({hue} 60% 45% / {:.2})", 0.38 * strength)
}

#[cfg(test)]
mod tests {
    use knownset_core::metrics::Metrics;

    use super::*;
    use crate::results::{IdSummary, Row};

    #[test]
    fn the_page_is_self_contained_and_escapes_names() {
        let (id, ood) = (vec![1.0, 2.0, 3.0], vec![0.0, 1.5]);
        let metrics = Metrics::new(&id, &ood).unwrap();
        let row = Row { detector: "msp".into(), ood: "<script>".into(), n: 2, metrics };
        let id_summary = IdSummary { n: 3, accuracy: None };
        let results = Results { id: id_summary, results: vec![row], ..Results::default() };
        let scores = Scores::from([("msp".to_owned(), DetectorScores::of_tables(&id, vec![ood]))]);
        let report = Report { title: "T", subtitle: "S", results: &results, scores: &scores, galleries: Vec::new() };
        let page = report.render().unwrap();
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "names are escaped");
        assert!(!page.contains("http"), "nothing is loaded from elsewhere");
        assert_eq!(page.matches("<svg").count(), 2);
    }
}
