//! Why it works: three properties of the space that images and words share.
//!
//! - *Alignment*: an image of a known class is near to the words of its class, and the nearer, the more surely.
//! - *Relative nearness*: m(x) = max_j s(x, t_j) − max_l s(x, o_l) is larger for known images than for unknown ones.
//! - *Separation of prompts*: the words that stand for the unknown are farther from the classes than those from each
//!   other.

use anyhow::Context;
use knownset_core::linalg::project;
use knownset_core::metrics::Metrics;
use knownset_core::prompts::{CLASSES, NEGATIVES, unit_rows};
use knownset_core::{Distribution, Features, spearman};
use ndarray::{Array2, ArrayView2};
use serde::Serialize;

use super::{Figures, Kind, Read, Session};

/// What was measured.
#[derive(Serialize)]
pub(super) struct Mechanisms {
    pub(super) alignment: Alignment,
    pub(super) relative_nearness: RelativeNearness,
    pub(super) prompt_separation: PromptSeparation,
}

/// Property 1, on the in-distribution images with a label.
#[derive(Serialize)]
pub(super) struct Alignment {
    /// Share of images whose nearest class is theirs; null without labels.
    pub(super) accuracy: Option<f64>,
    /// Spearman's correlation of max_j s with 1 where the nearest class is right, 0 where it is not; null without
    /// labels, or where all or none are right.
    pub(super) spearman: Option<f64>,
    /// max_j s where the nearest class is right, and where it is wrong.
    pub(super) right: Option<Distribution>,
    pub(super) wrong: Option<Distribution>,
}

/// Property 2.
#[derive(Serialize)]
pub(super) struct RelativeNearness {
    /// How many o_l there are.
    pub(super) negatives: usize,
    /// m of the in-distribution images.
    pub(super) id: Option<Distribution>,
    pub(super) ood: Vec<Nearness>,
}

/// m of one set of unknown images.
#[derive(Serialize)]
pub(super) struct Nearness {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) m: Option<Distribution>,
    /// Of m as a score, against the in-distribution images.
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// Property 3.
#[derive(Serialize)]
pub(super) struct PromptSeparation {
    /// s(t_j, t_j') of every pair of classes.
    pub(super) between_classes: Option<Distribution>,
    /// s(t_j, o_l) of every class and negative.
    pub(super) to_negatives: Option<Distribution>,
    /// max_l s(t_j, o_l) of every class.
    pub(super) to_nearest_negative: Option<Distribution>,
    /// The negative nearest to each class.
    pub(super) nearest: Vec<Nearest>,
}

#[derive(Serialize)]
pub(super) struct Nearest {
    pub(super) class: String,
    pub(super) word: String,
    pub(super) cosine: f64,
}

/// The numbers behind the distributions, for plots.
pub(super) struct Cosines {
    pub(super) right: Vec<f64>,
    pub(super) wrong: Vec<f64>,
    /// m of the in-distribution images, then of each set.
    pub(super) nearness: Vec<Vec<f64>>,
    pub(super) between_classes: Vec<f64>,
    pub(super) to_negatives: Vec<f64>,
    pub(super) to_nearest_negative: Vec<f64>,
}

/// Measures all three.
pub(super) fn measure(session: &Session<'_>, read: &Read) -> anyhow::Result<(Mechanisms, Cosines)> {
    let unit = |name: &str| {
        let rows = session.known.features.unit_prompts(name)?;
        rows.with_context(|| format!("there are no {name}"))
    };
    let (classes, negatives) = (unit(CLASSES)?, unit(NEGATIVES)?);
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    let mut nearness = Vec::new();
    for (index, set) in std::iter::once(&read.id).chain(read.ood.iter().map(|(_, set)| set)).enumerate() {
        let images = unit_images(&set.features)?;
        let to_classes = project(images.view(), classes.t());
        let nearest: Vec<(usize, f64)> = to_classes.outer_iter().map(|row| largest(row.iter().copied())).collect();
        if index == 0 {
            for (&(class, cosine), &label) in nearest.iter().zip(set.features.labels.iter().flatten()) {
                match usize::try_from(label) {
                    Ok(label) if label == class => right.push(cosine),
                    Ok(_) => wrong.push(cosine),
                    Err(_) => {}
                }
            }
        }
        let to_negatives = project(images.view(), negatives.t());
        let farthest = to_negatives.outer_iter().map(|row| largest(row.iter().copied()).1);
        nearness.push(nearest.iter().zip(farthest).map(|((_, class), negative)| class - negative).collect::<Vec<_>>());
    }
    let alignment = alignment(&right, &wrong);
    let relative_nearness = relative(session, &nearness, negatives.nrows())?;
    let (prompt_separation, [between_classes, to_negatives, to_nearest_negative]) =
        separation(session, classes.view(), negatives.view());
    let cosines = Cosines { right, wrong, nearness, between_classes, to_negatives, to_nearest_negative };
    Ok((Mechanisms { alignment, relative_nearness, prompt_separation }, cosines))
}

fn unit_images(features: &Features) -> anyhow::Result<Array2<f64>> {
    let embedding = features.embedding.as_ref().context("the image tower gave no embedding")?;
    unit_rows(embedding).map_err(|row| anyhow::anyhow!("the embedding of {} is zero", features.id(row)))
}

fn alignment(right: &[f64], wrong: &[f64]) -> Alignment {
    let n = right.len() + wrong.len();
    let cosines: Vec<f64> = right.iter().chain(wrong).copied().collect();
    let correct: Vec<f64> = (0..n).map(|image| if image < right.len() { 1.0 } else { 0.0 }).collect();
    Alignment {
        accuracy: (n > 0).then(|| right.len() as f64 / n as f64),
        spearman: spearman(&cosines, &correct),
        right: Distribution::of(right),
        wrong: Distribution::of(wrong),
    }
}

fn relative(session: &Session<'_>, nearness: &[Vec<f64>], negatives: usize) -> anyhow::Result<RelativeNearness> {
    let set = |(set, m): (&super::SetRecord, &Vec<f64>)| {
        let figures = Figures::of(&Metrics::new(&nearness[0], m)?);
        Ok(Nearness { name: set.name.clone(), kind: set.kind, m: Distribution::of(m), figures })
    };
    let ood = session.unknown().zip(&nearness[1..]).map(set).collect::<anyhow::Result<_>>()?;
    Ok(RelativeNearness { negatives, id: Distribution::of(&nearness[0]), ood })
}

fn separation(
    session: &Session<'_>,
    classes: ArrayView2<'_, f64>,
    negatives: ArrayView2<'_, f64>,
) -> (PromptSeparation, [Vec<f64>; 3]) {
    let among = project(classes, classes.t());
    let k = classes.nrows();
    let between: Vec<f64> = (0..k).flat_map(|j| (j + 1..k).map(move |other| (j, other))).map(|at| among[at]).collect();
    let against = project(classes, negatives.t());
    let (names, words) = (&session.known.record.classes, session.known.record.words.get(NEGATIVES));
    let nearest = |(class, row): (usize, ndarray::ArrayView1<'_, f64>)| {
        let (word, cosine) = largest(row.iter().copied());
        let word = words.and_then(|words| words.get(word)).cloned().unwrap_or_default();
        Nearest { class: names[class].clone(), word, cosine }
    };
    let nearest: Vec<Nearest> = against.outer_iter().enumerate().map(nearest).collect();
    let to_negatives: Vec<f64> = against.iter().copied().collect();
    let to_nearest: Vec<f64> = nearest.iter().map(|nearest| nearest.cosine).collect();
    let found = PromptSeparation {
        between_classes: Distribution::of(&between),
        to_negatives: Distribution::of(&to_negatives),
        to_nearest_negative: Distribution::of(&to_nearest),
        nearest,
    };
    (found, [between, to_negatives, to_nearest])
}

/// The largest value and where it is, the first of equals.
fn largest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_by_hand() {
        let found = alignment(&[0.4, 0.3], &[0.2, 0.1]);
        assert_eq!(found.accuracy, Some(0.5));
        // Ranks 4, 3, 2, 1 against 3.5, 3.5, 1.5, 1.5: 4 / √(5 · 4).
        assert!((found.spearman.unwrap() - 4.0 / 20.0_f64.sqrt()).abs() < 1e-12);
        let none = alignment(&[], &[]);
        assert_eq!((none.accuracy, none.spearman), (None, None));
        assert_eq!(alignment(&[0.4, 0.3], &[]).spearman, None);
    }

    #[test]
    fn the_first_of_the_largest_counts() {
        assert_eq!(largest([0.1, 0.7, 0.7].into_iter()), (1, 0.7));
    }
}
