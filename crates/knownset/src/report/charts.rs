//! Bars, heat maps and strips of points as inline SVG, in the manner of the plots of a benchmark.

use std::fmt::Write;

use super::html::{heat, percent};
use super::svg::{frame, place, short};

/// Size of a cell of a heat map in pixels, and of what stands around it.
const CELL: (f64, f64) = (62.0, 20.0);
const MARGIN: (f64, f64) = (150.0, 30.0);
/// Height of a row of a strip in pixels.
const ROW: f64 = 26.0;
/// Width of a strip in pixels, the names included.
const STRIP: f64 = 720.0;

/// Bars from 0.5, chance, to 1, grouped: one group a name, in it one bar a series (`None` leaves a gap).
pub(crate) fn grouped_bars(groups: &[(&str, Vec<Option<f64>>)], y_label: &str) -> String {
    let ticks: Vec<_> = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0].map(|value| (2.0 * (value - 0.5), percent(value))).to_vec();
    let share = 1.0 / groups.len().max(1) as f64;
    let centres: Vec<(f64, String)> =
        groups.iter().enumerate().map(|(i, (name, _))| ((i as f64 + 0.5) * share, escape(name))).collect();
    let mut svg = frame("", y_label, &centres, &ticks);
    for (i, (_, values)) in groups.iter().enumerate() {
        let width = 0.7 * share / values.len().max(1) as f64;
        for (series, value) in values.iter().enumerate().filter_map(|(series, value)| Some((series, (*value)?))) {
            let start = i as f64 * share + 0.15 * share + series as f64 * width;
            let (left, top) = place(start, 2.0 * (value.clamp(0.5, 1.0) - 0.5));
            let (right, bottom) = place(start + 0.92 * width, 0.0);
            let _ = write!(
                svg,
                "<path class=\"area set-{series}\" d=\"M{left:.1} {bottom:.1}V{top:.1}H{right:.1}V{bottom:.1}Z\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                f64::midpoint(left, right),
                top - 3.0,
                percent(value)
            );
        }
    }
    svg + "</svg>"
}

/// Changes of AUROC by row and column, in points: red where it fell, green where it rose, deepest at ±25.
pub(crate) fn heat_map(columns: &[String], rows: &[(String, Vec<Option<f64>>)]) -> String {
    let (width, height) = (MARGIN.0 + columns.len() as f64 * CELL.0, MARGIN.1 + rows.len() as f64 * CELL.1);
    let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" style=\"max-width:{width}px\" role=\"img\">");
    for (column, name) in columns.iter().enumerate() {
        let x = MARGIN.0 + (column as f64 + 0.5) * CELL.0;
        let _ = write!(svg, "<text class=\"label\" x=\"{x}\" y=\"18\" text-anchor=\"middle\">{}</text>", escape(name));
    }
    for (row, (name, values)) in rows.iter().enumerate() {
        let y = MARGIN.1 + row as f64 * CELL.1;
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            MARGIN.0 - 8.0,
            y + 14.0,
            escape(name)
        );
        for (column, value) in values.iter().enumerate().filter_map(|(column, value)| Some((column, (*value)?))) {
            let x = MARGIN.0 + column as f64 * CELL.0;
            let _ = write!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"3\" style=\"fill:{}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{:+.1}</text>",
                CELL.0 - 2.0,
                CELL.1 - 2.0,
                heat(0.75 + value),
                x + CELL.0 / 2.0,
                y + 13.5,
                100.0 * value
            );
        }
    }
    svg + "</svg>"
}

/// One row of points a name, all on one axis, with a line at `middle`.
pub(crate) fn strip(rows: &[(String, Vec<f64>)], middle: Option<f64>) -> String {
    let all = || rows.iter().flat_map(|(_, values)| values.iter().copied()).chain(middle);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let span = if high > low { high - low } else { 1.0 };
    let left = 230.0;
    let at = |value: f64| left + (value - low) / span * (STRIP - left - 30.0);
    let height = 26.0 + rows.len() as f64 * ROW;
    let mut svg = format!("<svg viewBox=\"0 0 {STRIP} {height}\" role=\"img\">");
    for tick in [0.0, 0.5, 1.0].map(|share| low + share * span) {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"20\" y2=\"{height}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"13\" text-anchor=\"middle\">{}</text>",
            short(100.0 * tick),
            x = at(tick)
        );
    }
    if let Some(middle) = middle {
        let x = at(middle);
        let _ = write!(svg, "<line class=\"chance\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"20\" y2=\"{height}\"/>");
    }
    for (row, (name, values)) in rows.iter().enumerate() {
        let y = 26.0 + (row as f64 + 0.5) * ROW;
        let (x, name) = (left - 14.0, escape(name));
        let _ = write!(svg, "<text class=\"label\" x=\"{x}\" y=\"{}\" text-anchor=\"end\">{name}</text>", y + 4.0);
        for value in values {
            let _ = write!(svg, "<circle class=\"area set-0\" cx=\"{:.1}\" cy=\"{y}\" r=\"4.5\"/>", at(*value));
        }
    }
    svg + "</svg>"
}

/// Names are not markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_draw_what_is_there_and_escape_names() {
        let bars = grouped_bars(&[("<a>", vec![Some(0.75), None]), ("b", vec![Some(1.0), Some(0.2)])], "AUROC");
        assert_eq!(bars.matches("class=\"area").count(), 3);
        assert!(bars.contains("&lt;a&gt;") && !bars.contains("<a>"));
        let map = heat_map(&["1".into(), "5".into()], &[("fog".into(), vec![Some(-0.1), None])]);
        assert_eq!(map.matches("<rect").count(), 1);
        assert!(map.contains(">-10.0<"), "{map}");
        let points = strip(&[("t".into(), vec![0.5, 0.6]), ("u".into(), vec![0.9])], Some(0.7));
        assert_eq!(points.matches("<circle").count(), 3);
        assert_eq!(points.matches("class=\"chance\"").count(), 1);
    }

    #[test]
    fn nothing_and_equal_values_make_charts() {
        for chart in [grouped_bars(&[], "y"), heat_map(&[], &[]), strip(&[("a".into(), vec![0.5, 0.5])], None)] {
            assert!(chart.ends_with("</svg>") && !chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
