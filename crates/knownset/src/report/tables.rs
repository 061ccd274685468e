//! One leaderboard, written for a terminal, a spreadsheet, Markdown and LaTeX. Percent in all of them.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use knownset_detect::Information;

use crate::results::{Results, Summary};

/// What the figures are.
pub(crate) const CAPTION: &str = "AUROC per set and means over the sets, in percent. FPR95: share of OOD images \
    accepted when 95 % of ID images are (ID positive); FPR95-OOD: share of ID images refused when 95 % of OOD \
    images are (OOD positive, as OpenOOD v1.5). Knows: what a detector was told beyond the images it scores.";

/// Header and rows of the leaderboard, best first.
struct Board {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether higher is better, per column; `None` for names.
    better: Vec<Option<bool>>,
}

fn board(results: &Results) -> Board {
    let sets = results.ood_sets();
    let mut header = vec!["detector".to_owned(), "knows".to_owned()];
    header.extend(sets.iter().map(ToString::to_string));
    header.extend(["AUROC", "FPR95", "FPR95-OOD", "AUPR-in", "AUPR-out"].map(str::to_owned));
    let mut better = vec![None, None];
    better.extend(sets.iter().map(|_| Some(true)));
    better.extend([true, false, false, true, true].map(Some));
    let rows = results.leaderboard().iter().map(|summary| cells(summary, &sets)).collect();
    Board { header, rows, better }
}

fn cells(summary: &Summary<'_>, sets: &[&str]) -> Vec<String> {
    let mut cells = vec![summary.detector.to_owned(), knows(summary.information).to_owned()];
    for set in sets {
        let row = summary.rows.iter().find(|row| row.ood == *set);
        cells.push(row.map_or(String::new(), |row| percent(row.metrics.auroc)));
    }
    let means = [summary.auroc, summary.fpr95, summary.fpr95_ood_positive, summary.aupr_in, summary.aupr_out];
    cells.extend(means.map(percent));
    cells
}

/// What a detector was told beyond the images it scores, in a word or two.
pub(crate) fn knows(information: Option<Information>) -> &'static str {
    match information {
        Some(Information::TrainingImages) => "images",
        Some(Information::Static) => "words",
        Some(Information::TestStream) => "words, stream",
        Some(Information::FewShot) => "few images",
        Some(Information::OodHint) => "words, OOD hint",
        Some(Information::OtherWeights) => "other weights",
        None => "",
    }
}

fn percent(value: f64) -> String {
    format!("{:.2}", 100.0 * value)
}

impl Board {
    /// Per column, the cell text of the best row.
    fn best(&self) -> Vec<Option<String>> {
        let column_best = |(column, better): (usize, &Option<bool>)| {
            let higher = (*better)?;
            let values = self.rows.iter().filter_map(|row| row[column].parse::<f64>().ok());
            let best = values.fold(f64::NAN, |best, value| if higher { best.max(value) } else { best.min(value) });
            Some(format!("{best:.2}"))
        };
        self.better.iter().enumerate().map(column_best).collect()
    }
}

/// For people.
pub(crate) fn terminal(results: &Results) -> String {
    let board = board(results);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&board.header).add_rows(&board.rows);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = String::new();
    let accuracy = results.id.accuracy.map(|accuracy| format!(", accuracy {} %", percent(accuracy)));
    let _ = writeln!(text, "in-distribution: {} images{}", results.id.n, accuracy.unwrap_or_default());
    let _ = writeln!(text, "{table}");
    for skipped in &results.skipped {
        let _ = writeln!(text, "skipped {}: {}", skipped.detector, skipped.why);
    }
    let _ = write!(text, "{CAPTION}");
    text
}

/// One line per detector and OOD set, plus the mean line; header as OpenOOD's tables, in percent.
pub(crate) fn csv(results: &Results) -> String {
    let mut text =
        "detector,dataset,FPR@95,FPR@95-OOD-positive,AUROC,AUROC-low,AUROC-high,AUPR_IN,AUPR_OUT,ACC,KNOWS\n"
            .to_owned();
    let accuracy = results.id.accuracy.map(percent).unwrap_or_default();
    for summary in results.leaderboard() {
        let knows =
            summary.information.map(|information| knows(Some(information)).replace(", ", " + ")).unwrap_or_default();
        for row in &summary.rows {
            let m = &row.metrics;
            let figures =
                [m.fpr95, m.fpr95_ood_positive, m.auroc, m.auroc_ci95[0], m.auroc_ci95[1], m.aupr_in, m.aupr_out];
            let figures = figures.map(percent).join(",");
            let _ = writeln!(text, "{},{},{figures},{accuracy},{knows}", summary.detector, row.ood);
        }
        let [fpr95, fpr95_ood, auroc] = [summary.fpr95, summary.fpr95_ood_positive, summary.auroc].map(percent);
        let [aupr_in, aupr_out] = [summary.aupr_in, summary.aupr_out].map(percent);
        let name = summary.detector;
        let _ = writeln!(text, "{name},mean,{fpr95},{fpr95_ood},{auroc},,,{aupr_in},{aupr_out},{accuracy},{knows}");
    }
    text
}

/// For a README; the best of each column in bold.
pub(crate) fn markdown(results: &Results) -> String {
    let board = board(results);
    let best = board.best();
    let mut text = format!("| {} |\n|{}\n", board.header.join(" | "), "---|".repeat(board.header.len()));
    for row in &board.rows {
        let cells = row.iter().zip(&best).map(|(cell, best)| match best {
            Some(best) if best == cell => format!("**{cell}**"),
            _ => cell.clone(),
        });
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    let _ = write!(text, "\n{CAPTION}\n");
    text
}

/// For a paper, with `booktabs`; the best of each column in bold.
pub(crate) fn latex(results: &Results) -> String {
    let board = board(results);
    let best = board.best();
    let escape = |text: &str| text.replace('_', "\\_").replace('%', "\\%").replace('&', "\\&");
    let columns = "r".repeat(board.header.len() - 1);
    let header = board.header.iter().map(|cell| escape(cell)).collect::<Vec<_>>().join(" & ");
    let mut text = format!("% {CAPTION}\n\\begin{{tabular}}{{l{columns}}}\n\\toprule\n{header} \\\\\n\\midrule\n");
    for row in &board.rows {
        let cells = row.iter().zip(&best).map(|(cell, best)| match best {
            Some(best) if best == cell => format!("\\textbf{{{cell}}}"),
            _ => escape(cell),
        });
        let _ = writeln!(text, "{} \\\\", cells.collect::<Vec<_>>().join(" & "));
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n");
    text
}

#[cfg(test)]
mod tests {
    use knownset_core::metrics::Metrics;

    use super::*;
    use crate::results::{IdSummary, Row};

    fn results() -> Results {
        let row = |detector: &str, ood: &str, auroc: f64| Row {
            detector: detector.into(),
            ood: ood.into(),
            n: 3,
            metrics: Metrics {
                auroc,
                auroc_ci95: [auroc - 0.01, auroc + 0.01],
                fpr95: 1.0 - auroc,
                fpr95_ood_positive: 0.5,
                aupr_in: auroc,
                aupr_out: auroc,
            },
        };
        Results {
            id: IdSummary { n: 10, accuracy: Some(0.915) },
            information: ["msp", "ebo"].map(|name| (name.to_owned(), Information::TrainingImages)).into(),
            results: vec![row("msp", "a_b", 0.5), row("msp", "c", 0.7), row("ebo", "a_b", 0.9), row("ebo", "c", 0.6)],
            ..Results::default()
        }
    }

    #[test]
    fn markdown_is_sorted_by_mean_auroc_with_the_best_in_bold() {
        let text = markdown(&results());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2],
            "| ebo | images | **90.00** | 60.00 | **75.00** | **25.00** | **50.00** | **75.00** | **75.00** |"
        );
        assert_eq!(lines[3], "| msp | images | 50.00 | **70.00** | 60.00 | 40.00 | **50.00** | 60.00 | 60.00 |");
    }

    #[test]
    fn csv_and_latex_hold_the_same_figures() {
        assert_eq!(
            csv(&results()).lines().nth(1).unwrap(),
            "ebo,a_b,10.00,50.00,90.00,89.00,91.00,90.00,90.00,91.50,images"
        );
        let latex = latex(&results());
        assert!(latex.contains("detector & knows & a\\_b & c & AUROC"), "{latex}");
        assert!(latex.contains("ebo & images & \\textbf{90.00} & 60.00"), "{latex}");
    }
}
