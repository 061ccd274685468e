//! Features that look like those of a small trained network, made from a seed.

use std::collections::BTreeMap;

use knownset_core::{Features, Head};
use knownset_core::{parts, prompts as p};
use ndarray::{Array, Array1, Array2, Array3, Axis, Dimension, RemoveAxis, array};

use crate::fitted::Fitted;
use crate::input::FitInput;
use crate::registry::Chosen;

/// Classes, and rectified activations that belong to each.
pub(super) const CLASSES: usize = 4;
const OWN: usize = 4;
/// Activations that belong to no class.
pub(super) const SPARE: usize = 8;
/// Patches of an image.
const PATCHES: usize = 3;
/// Groups of dimensions of the class centres.
const GROUPS: usize = 4;
/// Rounds of shuffled and of negative prompts.
pub(super) const ROUNDS: usize = 2;

/// SplitMix64 (Steele, Lea, Flood 2014), summed to something bell-shaped.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Mean 0, variance 1.
    fn bell(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

fn head(spare: usize) -> Head {
    let mut noise = Noise(99);
    let weight = Array2::from_shape_fn((CLASSES, CLASSES * OWN + spare), |(class, d)| {
        let part = match d / OWN {
            own if own == class && own < CLASSES => 1.0,
            other if other < CLASSES => -0.3,
            _ => 0.0,
        };
        part + 0.02 * noise.bell()
    });
    Head { weight, bias: Array1::from_vec(vec![0.1, -0.1, 0.05, 0.0]) }
}

/// What every recipe would have trained beside that head: all of it tells activations of a class from those of none.
fn trained(head: &Head, spare: usize) -> BTreeMap<String, Array2<f32>> {
    let d = CLASSES * OWN + spare;
    let mut noise = Noise(30);
    let mut layer = |rows: usize, known: f32, none: f32| {
        Array2::from_shape_fn((rows, d), |(_, d)| (if d / OWN < CLASSES { known } else { none }) + 0.02 * noise.bell())
    };
    let number = |value: f32| array![[value]];
    let (confidence, variances, outlier) = (layer(1, 0.5, -0.5), layer(3, -0.2, 0.2), layer(1, -0.3, 0.5));
    let (own, mut second) = (texts(CLASSES, spare, 31, Some), head.weight.clone());
    for ((class, d), weight) in second.indexed_iter_mut() {
        *weight += if d / OWN < CLASSES { 0.0 } else { [0.5, -0.5][class % 2] };
    }
    let centres = layer(CLASSES, 0.2, -0.5) + &own;
    let parts = [
        (parts::CONFIDENCE_WEIGHT, confidence),
        (parts::CONFIDENCE_BIAS, number(-0.1)),
        (parts::SECOND_BIAS, head.bias.mapv(|bias| 0.5 * bias).insert_axis(Axis(0))),
        (parts::SECOND_WEIGHT, second),
        (parts::ENERGY_WEIGHT, array![[0.5, 1.0, 2.0, 1.5]]),
        (parts::GODIN_KIND, number(1.0)),
        (parts::GODIN_WEIGHT, own),
        (parts::GODIN_BIAS, Array2::zeros((1, CLASSES))),
        (parts::T2FNORM_TAU, number(0.1)),
        (parts::RTS_WEIGHT, variances),
        (parts::RTS_BIAS, array![[0.1, 0.0, -0.1]]),
        (parts::OUTLIER_WEIGHT, outlier),
        (parts::OUTLIER_BIAS, number(0.0)),
        (parts::CENTRES, centres),
        (parts::GROUPS, number(GROUPS as f32)),
    ];
    parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect()
}

/// The turns of an image are seen where its activations are those of a class.
fn rotations(embedding: &Array2<f32>, seed: u64) -> Array3<f32> {
    let mut noise = Noise(seed);
    let known = |row: usize| {
        let (own, none) = embedding.row(row).split_at(Axis(0), CLASSES * OWN);
        own.mean().unwrap_or_default() - none.mean().unwrap_or_default()
    };
    Array3::from_shape_fn((embedding.nrows(), parts::TURNS, parts::TURNS), |(row, turn, class)| {
        0.3 * noise.bell() + if turn == class { 4.0 * known(row) } else { 0.0 }
    })
}

/// n texts: text i points at the activations of class `of(i)`, or at those of no class, a few of them each.
fn texts(n: usize, spare: usize, seed: u64, of: impl Fn(usize) -> Option<usize>) -> Array2<f32> {
    let mut noise = Noise(seed);
    Array2::from_shape_fn((n, CLASSES * OWN + spare), |(text, d)| {
        let hit = match of(text) {
            Some(class) => d / OWN == class,
            None => d / OWN >= CLASSES && (d + text) % 3 != 0,
        };
        f32::from(hit) + 0.05 * noise.bell()
    })
}

/// What a text tower would say about the classes and about what is none of them.
fn prompts(spare: usize) -> BTreeMap<String, Array2<f32>> {
    let class = |text: usize| Some(text % CLASSES);
    let none = |_: usize| None;
    let prompts = [
        (p::CLASSES, texts(CLASSES, spare, 20, class)),
        (p::NEGATIVES, texts(11, spare, 21, none)),
        (p::CONJUGATED, texts(7, spare, 22, none)),
        (p::AGENTS, texts(3, spare, 23, none)),
        (p::OUTLIERS, texts(5, spare, 24, none)),
        (p::SHUFFLED, texts(ROUNDS * CLASSES, spare, 25, class)),
        (p::DENIALS, texts(CLASSES, spare, 26, none)),
        (p::CANDIDATES, texts(40, spare, 27, none)),
        (p::NEGATED, texts(ROUNDS * CLASSES, spare, 28, none)),
    ];
    prompts.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect()
}

/// Each image's embedding, seen three times with noise of its own.
fn patches(embedding: &Array2<f32>, seed: u64) -> Array3<f32> {
    let mut noise = Noise(seed);
    Array3::from_shape_fn((embedding.nrows(), PATCHES, embedding.ncols()), |(row, _, d)| {
        embedding[(row, d)] + 0.3 * noise.bell()
    })
}

/// n rows of d = 16 + spare activations; `level(class, d, bell)` before the rectifier.
fn features(n: usize, spare: usize, seed: u64, level: impl Fn(usize, usize, f32) -> f32) -> Features {
    let mut noise = Noise(seed);
    let labels = Array1::from_shape_fn(n, |row| (row % CLASSES) as i64);
    let embedding = Array2::from_shape_fn((n, CLASSES * OWN + spare), |(row, d)| {
        level(row % CLASSES, d / OWN, noise.bell()).max(0.0)
    });
    let head = head(spare);
    let logits = embedding.dot(&head.weight.t()) + &head.bias;
    Features {
        labels: Some(labels),
        logits: Some(logits),
        patches: Some(patches(&embedding, seed + 1000)),
        rotations: Some(rotations(&embedding, seed + 2000)),
        embedding: Some(embedding),
        parts: trained(&head, spare),
        head: Some(head),
        prompts: prompts(spare),
        ..Features::default()
    }
}

/// Images of the known classes, a few of them misclassified.
pub(super) fn known(n: usize, spare: usize, seed: u64) -> Features {
    features(n, spare, seed, |class, group, bell| match group {
        own if own == class => 1.5 + bell,
        other if other < CLASSES => 0.2 + 0.5 * bell,
        _ => 0.2 * bell,
    })
}

/// Images of nothing known: the activations that belong to no class respond, the others hardly.
pub(super) fn far(n: usize, seed: u64) -> Features {
    features(n, SPARE, seed, |_, group, bell| if group < CLASSES { 0.1 * bell } else { 2.0 + bell })
}

/// The training features of most checks.
pub(super) fn train() -> Features {
    known(240, SPARE, 1)
}

/// The features to score of most checks: in- and out-of-distribution, more than one block of them.
pub(super) fn test() -> Features {
    let (near, far) = (known(200, SPARE, 2), far(100, 3));
    Features {
        logits: join(near.logits.as_ref(), far.logits.as_ref()),
        embedding: join(near.embedding.as_ref(), far.embedding.as_ref()),
        patches: join(near.patches.as_ref(), far.patches.as_ref()),
        rotations: join(near.rotations.as_ref(), far.rotations.as_ref()),
        ..Features::default()
    }
}

/// The same features of the classes of `order` alone, in that order. Labels are left to the caller.
pub(super) fn with_classes(features: Features, order: &[usize]) -> Features {
    let rounds = |rounds: usize| -> Vec<usize> {
        (0..rounds).flat_map(|round| order.iter().map(move |class| round * CLASSES + class)).collect()
    };
    let word = |(name, rows): (String, Array2<f32>)| match name.as_str() {
        p::CLASSES | p::DENIALS => (name, rows.select(Axis(0), &rounds(1))),
        p::SHUFFLED | p::NEGATED => (name, rows.select(Axis(0), &rounds(ROUNDS))),
        _ => (name, rows),
    };
    let part = |(name, part): (String, Array2<f32>)| match name.as_str() {
        parts::SECOND_WEIGHT | parts::GODIN_WEIGHT | parts::CENTRES => (name, part.select(Axis(0), order)),
        parts::SECOND_BIAS | parts::ENERGY_WEIGHT | parts::GODIN_BIAS => (name, part.select(Axis(1), order)),
        _ => (name, part),
    };
    Features {
        logits: features.logits.map(|array| array.select(Axis(1), order)),
        head: features
            .head
            .map(|head| Head { weight: head.weight.select(Axis(0), order), bias: head.bias.select(Axis(0), order) }),
        prompts: features.prompts.into_iter().map(word).collect(),
        parts: features.parts.into_iter().map(part).collect(),
        ..features
    }
}

/// Rows of both.
pub(super) fn join<D: Dimension + RemoveAxis>(
    a: Option<&Array<f32, D>>,
    b: Option<&Array<f32, D>>,
) -> Option<Array<f32, D>> {
    ndarray::concatenate(Axis(0), &[a?.view(), b?.view()]).ok()
}

pub(super) fn fit(chosen: &Chosen, train: &Features) -> Result<Fitted, String> {
    let input = FitInput::new(train, None).map_err(|error| format!("no input: {error}"))?;
    Fitted::fit(chosen, &input).map_err(|error| format!("does not fit: {error}"))
}

/// Scores, which are as many as the rows.
pub(super) fn score(fitted: &Fitted, features: &Features) -> Result<Vec<f64>, String> {
    let scores = fitted.score(features).map_err(|error| format!("does not score: {error}"))?;
    if scores.len() == features.len() {
        return Ok(scores);
    }
    Err(format!("{} scores for {} rows", scores.len(), features.len()))
}

/// Fits, and scores the usual rows.
pub(super) fn fit_and_score(chosen: &Chosen, train: &Features) -> Result<Vec<f64>, String> {
    score(&fit(chosen, train)?, &test())
}

/// The first pair that differs in a bit.
pub(super) fn same_bits(a: &[f64], b: &[f64]) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{} scores against {}", a.len(), b.len()));
    }
    match a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits()) {
        None => Ok(()),
        Some(row) => Err(format!("row {row} scores {} and {}", a[row], b[row])),
    }
}

/// The first pair that differs by more than rounding.
pub(super) fn close(a: &[f64], b: &[f64]) -> Result<(), String> {
    match a.iter().zip(b).position(|(a, b)| (a - b).abs() > 1e-9 * (1.0 + a.abs())) {
        None if a.len() == b.len() => Ok(()),
        None => Err(format!("{} scores against {}", a.len(), b.len())),
        Some(row) => Err(format!("row {row} scores {} and {}", a[row], b[row])),
    }
}
