//! Score histograms and ROC curves as inline SVG. Colours come from the page's CSS classes `set-0`, `set-1`, ….

use std::fmt::Write;

/// Plot size in pixels, the axes' margins included.
const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 36.0;
/// Bars of a histogram.
const BINS: usize = 48;
/// Points kept of a ROC curve.
const POINTS: usize = 200;

/// Where data coordinates in 0–1 land on the page.
pub(super) fn place(x: f64, y: f64) -> (f64, f64) {
    (LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM))
}

pub(super) fn frame(x_label: &str, y_label: &str, x_ticks: &[(f64, String)], y_ticks: &[(f64, String)]) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for (x, text) in x_ticks {
        let ((x, y), (_, top)) = (place(*x, 0.0), place(0.0, 1.0));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            y + 14.0
        );
    }
    for (y, text) in y_ticks {
        let ((x, y), (right, _)) = (place(0.0, *y), place(1.0, 0.0));
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            x - 5.0,
            y + 3.5
        );
    }
    let (middle, bottom) = place(0.5, 0.0);
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_label}</text>\
         <text class=\"label\" transform=\"translate(12,{:.1}) rotate(-90)\" text-anchor=\"middle\">{y_label}</text>",
        bottom + 30.0,
        place(0.0, 0.5).1
    );
    svg
}

/// Densities of the scores of each set, the first being in-distribution; between the 0.5 % and 99.5 % quantiles of
/// all scores, what lies outside counted in the outermost bars.
pub(crate) fn histogram(sets: &[&[f64]]) -> String {
    densities(sets, "score (higher = more in-distribution)", "share of images")
}

/// As [`histogram`], of any numbers.
pub(crate) fn densities(sets: &[&[f64]], x_label: &str, y_label: &str) -> String {
    let mut all: Vec<f64> = sets.iter().flat_map(|set| set.iter().copied()).filter(|score| score.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    let quantile =
        |share: f64| all.get((share * (all.len().saturating_sub(1)) as f64) as usize).copied().unwrap_or(0.0);
    let (low, high) = (quantile(0.005), quantile(0.995));
    let span = if high > low { high - low } else { 1.0 };
    let bars: Vec<[f64; BINS]> = sets.iter().map(|set| bars(set, low, span)).collect();
    let tallest = bars.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let ticks: Vec<_> = [0.0, 0.25, 0.5, 0.75, 1.0].iter().map(|&x| (x, short(low + x * span))).collect();
    let mut svg = frame(x_label, y_label, &ticks, &[]);
    for (index, bars) in bars.iter().enumerate() {
        let (start, base) = place(0.0, 0.0);
        let mut path = format!("M{start:.1} {base:.1}");
        for (bin, share) in bars.iter().enumerate() {
            let (left, y) = place(bin as f64 / BINS as f64, share / tallest);
            let (right, _) = place((bin + 1) as f64 / BINS as f64, 0.0);
            let _ = write!(path, "L{left:.1} {y:.1}H{right:.1}");
        }
        let _ = write!(svg, "<path class=\"area set-{index}\" d=\"{path}V{base:.1}Z\"/>");
    }
    svg + "</svg>"
}

fn bars(scores: &[f64], low: f64, span: f64) -> [f64; BINS] {
    let mut bars = [0.0; BINS];
    for score in scores {
        let bin = ((score - low) / span * BINS as f64).clamp(0.0, (BINS - 1) as f64) as usize;
        bars[bin] += 1.0 / scores.len() as f64;
    }
    bars
}

/// A number in at most about five characters.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// ROC curves of the ID scores against each OOD set; ID is positive.
pub(crate) fn roc(pairs: &[(&[f64], &[f64])]) -> String {
    let ticks: Vec<_> = [0.0, 0.25, 0.5, 0.75, 1.0].map(|value| (value, format!("{:.0} %", 100.0 * value))).to_vec();
    let mut svg = frame("OOD images accepted", "ID images accepted", &ticks, &ticks);
    let ((x1, y1), (x2, y2)) = (place(0.0, 0.0), place(1.0, 1.0));
    let _ = write!(svg, "<line class=\"chance\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
    let (kept_x, kept_y) = place(0.0, 0.95);
    let _ =
        write!(svg, "<line class=\"chance\" x1=\"{kept_x:.1}\" y1=\"{kept_y:.1}\" x2=\"{x2:.1}\" y2=\"{kept_y:.1}\"/>");
    for (index, (id, ood)) in pairs.iter().enumerate() {
        let mut path = String::new();
        for (x, y) in curve(id, ood) {
            let (x, y) = place(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        let _ = write!(svg, "<path class=\"line set-{}\" d=\"{path}\"/>", index + 1);
    }
    svg + "</svg>"
}

/// (share of OOD accepted, share of ID accepted) from the strictest threshold to the laxest.
fn curve(id: &[f64], ood: &[f64]) -> Vec<(f64, f64)> {
    let mut scores: Vec<(f64, bool)> =
        id.iter().map(|&score| (score, true)).chain(ood.iter().map(|&score| (score, false))).collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut accepted_id, mut accepted_ood) = (0_usize, 0_usize);
    let mut points = vec![(0.0, 0.0)];
    for (index, &(score, is_id)) in scores.iter().enumerate() {
        if is_id {
            accepted_id += 1;
        } else {
            accepted_ood += 1;
        }
        if scores.get(index + 1).is_none_or(|next| next.0 != score) {
            points.push((accepted_ood as f64 / ood.len() as f64, accepted_id as f64 / id.len() as f64));
        }
    }
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len() - 1;
    points.into_iter().enumerate().filter(|(index, _)| index % step == 0 || *index == last).map(|(_, p)| p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roc_curve_by_hand() {
        let points = curve(&[3.0, 1.0], &[1.0, 0.0]);
        assert_eq!(points, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn bars_sum_to_one_and_outliers_stay_in_the_plot() {
        let bars = bars(&[-100.0, 0.5, 100.0, 0.1], 0.0, 1.0);
        assert!((bars.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!((bars[0], bars[BINS - 1]), (0.25, 0.25));
    }

    #[test]
    fn constant_scores_make_a_plot() {
        assert!(histogram(&[&[1.0, 1.0], &[1.0]]).ends_with("</svg>"));
        assert!(!histogram(&[&[f64::INFINITY], &[1.0]]).contains("NaN"));
    }
}
