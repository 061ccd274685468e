//! What is said of boxes against what is there: each thing goes to the box that fits it best, and these are to be sure of
//! the tokens of its name and to lie where it lies.

use std::collections::BTreeMap;

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Int, Tensor, TensorData};
use knownset_core::detection::generalised_overlap;
use knownset_nn::network::Said;

use super::assignment::assign;
use super::corners;

/// How much a right answer counts against a wrong one, and how much less sure answers count (Lin et al. 2017).
const ALPHA: f64 = 0.25;
const GAMMA: i32 = 2;
/// Costs of a pair: of the tokens, of the distance of coordinates, of the generalised overlap.
const COSTS: [f64; 3] = [1.0, 5.0, 2.0];
/// The same of the loss.
const WEIGHTS: [f64; 3] = [2.0, 5.0, 2.0];
/// Keeps a logarithm finite.
const EPSILON: f64 = 1e-8;

/// A thing that is to be found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Number of the image.
    pub(crate) image: usize,
    /// The text's tokens that name it; at least one.
    pub(crate) tokens: Vec<usize>,
    /// Centre, width and height as parts of the image's.
    pub(crate) place: [f32; 4],
}

/// The loss of what is said, divided by the number of things, a single number.
pub(crate) fn loss(said: &Said, targets: &[Target]) -> Tensor<1> {
    let pairs = pairs(said, targets);
    let share = 1.0 / targets.len().max(1) as f64;
    let tokens = focal(said.logits.clone(), wanted(said, targets, &pairs)).sum() * (WEIGHTS[0] * share);
    if pairs.is_empty() {
        return tokens;
    }
    let device = said.boxes.device();
    let [n, boxes, _] = said.boxes.dims();
    let rows: Vec<i64> = pairs.iter().map(|&(row, _)| row as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [pairs.len()]), &device);
    let found = said.boxes.clone().reshape([n * boxes, 4]).select(0, rows);
    let places: Vec<f32> = pairs.iter().flat_map(|&(_, target)| targets[target].place).collect();
    let places = Tensor::<2>::from_data(TensorData::new(places, [pairs.len(), 4]), &device);
    let distances = (found.clone() - places.clone()).abs().sum() * (WEIGHTS[1] * share);
    let overlaps = (generalised(found, places) * -1.0 + 1.0).sum() * (WEIGHTS[2] * share);
    tokens + distances + overlaps
}

/// Which box, counted through all images, is to find which target.
fn pairs(said: &Said, targets: &[Target]) -> Vec<(usize, usize)> {
    let [_, boxes, tokens] = said.logits.dims();
    let values = |tensor: &Tensor<3>| tensor.clone().into_data().iter::<f32>().collect::<Vec<f32>>();
    let (logits, places) = (values(&said.logits), values(&said.boxes));
    let mut images: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        images.entry(target.image).or_default().push(index);
    }
    let mut pairs = Vec::with_capacity(targets.len());
    for (image, own) in images {
        let cost = |target: usize, query: usize| {
            let (target, row) = (&targets[own[target]], image * boxes + query);
            let place = [0, 1, 2, 3].map(|at| places[4 * row + at]);
            cost(target, &logits[row * tokens..(row + 1) * tokens], place)
        };
        let assigned = assign(own.len(), boxes, &cost);
        pairs.extend(assigned.into_iter().map(|(target, query)| (image * boxes + query, own[target])));
    }
    pairs
}

/// What it costs that a box with these logits finds a target.
fn cost(target: &Target, logits: &[f32], place: [f32; 4]) -> f64 {
    let of_token = |&token: &usize| {
        let sure = 1.0 / (1.0 + (-f64::from(logits[token])).exp());
        let said = ALPHA * (1.0 - sure).powi(GAMMA) * -(sure + EPSILON).ln();
        let denied = (1.0 - ALPHA) * sure.powi(GAMMA) * -(1.0 - sure + EPSILON).ln();
        said - denied
    };
    let tokens = target.tokens.iter().map(of_token).sum::<f64>() / target.tokens.len().max(1) as f64;
    let distance: f64 = place.iter().zip(target.place).map(|(&a, b)| f64::from((a - b).abs())).sum();
    let overlap = generalised_overlap(corners(place), corners(target.place));
    COSTS[0] * tokens + COSTS[1] * distance - COSTS[2] * overlap
}

/// `[n, B, T]`: 1 where a box is to be sure of a token.
fn wanted(said: &Said, targets: &[Target], pairs: &[(usize, usize)]) -> Tensor<3> {
    let shape = said.logits.dims();
    let [n, boxes, tokens] = shape;
    let mut wanted = vec![0.0_f32; n * boxes * tokens];
    for &(row, target) in pairs {
        targets[target].tokens.iter().for_each(|&token| wanted[row * tokens + token] = 1.0);
    }
    Tensor::from_data(TensorData::new(wanted, shape), &said.logits.device())
}

/// Focal loss of each logit (Lin et al. 2017, <https://arxiv.org/abs/1708.02002>): −α (1 − p)² log p where 1 is wanted,
/// −(1 − α) p² log(1 − p) where 0 is.
fn focal(logits: Tensor<3>, wanted: Tensor<3>) -> Tensor<3> {
    let sure = sigmoid(logits.clone());
    let said = (sure.clone() * -1.0 + 1.0).powi_scalar(GAMMA) * log_sigmoid(logits.clone()) * -ALPHA;
    let denied = sure.powi_scalar(GAMMA) * log_sigmoid(logits * -1.0) * (ALPHA - 1.0);
    said * wanted.clone() + denied * (wanted * -1.0 + 1.0)
}

/// Generalised overlap of the rows of two lists of boxes `[m, 4]`, centre, width and height → `[m, 1]`.
fn generalised(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    // The upper left and the lower right corner, `[m, 2]` each.
    let corners = |boxes: Tensor<2>| {
        let (centre, half) = (boxes.clone().narrow(1, 0, 2), boxes.narrow(1, 2, 2) * 0.5);
        [centre.clone() - half.clone(), centre + half]
    };
    let area = |from: Tensor<2>, to: Tensor<2>| {
        let sides = (to - from).clamp_min(0.0);
        sides.clone().narrow(1, 0, 1) * sides.narrow(1, 1, 1)
    };
    let ([a0, a1], [b0, b1]) = (corners(a), corners(b));
    let both = area(a0.clone().max_pair(b0.clone()), a1.clone().min_pair(b1.clone()));
    let around = area(a0.clone().min_pair(b0.clone()), a1.clone().max_pair(b1.clone()));
    let any = area(a0, a1) + area(b0, b1) - both.clone();
    both / any.clone() - (around.clone() - any) / around
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{golden, gradients_agree, number, rows, values};

    fn boxes<const N: usize>(boxes: [[f32; 4]; N]) -> Tensor<2> {
        rows(&boxes.each_ref().map(|row| &row[..]))
    }

    #[test]
    fn overlaps_are_those_of_the_metric() {
        let a = [[0.5, 0.5, 0.4, 0.4], [0.2, 0.3, 0.2, 0.4], [0.5, 0.5, 0.1, 0.9], [0.3, 0.3, 0.2, 0.2]];
        let b = [[0.5, 0.5, 0.4, 0.4], [0.7, 0.6, 0.3, 0.2], [0.4, 0.6, 0.5, 0.2], [0.35, 0.3, 0.4, 0.5]];
        let found = values(&generalised(boxes(a), boxes(b)));
        for ((a, b), found) in a.into_iter().zip(b).zip(found) {
            let expected = generalised_overlap(corners(a), corners(b));
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        gradients_agree(boxes([[0.5, 0.5, 0.4, 0.3], [0.2, 0.3, 0.2, 0.4]]), |found| {
            generalised(found, boxes([[0.6, 0.4, 0.4, 0.4], [0.7, 0.6, 0.3, 0.2]])).sum()
        });
    }

    /// p = 1/2: −¼ · ¼ · log ½ where 1 is wanted, −¾ · ¼ · log ½ where 0 is.
    #[test]
    fn focal_losses_by_hand() {
        let logits = rows(&[&[0.0, 0.0]]).unsqueeze::<3>();
        let found = values(&focal(logits, rows(&[&[1.0, 0.0]]).unsqueeze()));
        let half = 2.0_f64.ln();
        assert!((found[0] - half / 16.0).abs() < 1e-7 && (found[1] - 3.0 * half / 16.0).abs() < 1e-7, "{found:?}");
        gradients_agree(rows(&[&[0.7, -1.2, 2.0]]), |logits| {
            focal(logits.unsqueeze(), rows(&[&[1.0, 0.0, 0.0]]).unsqueeze()).sum()
        });
        let certain = values(&focal(rows(&[&[80.0, -80.0]]).unsqueeze(), rows(&[&[0.0, 1.0]]).unsqueeze()));
        assert!((certain[0] - 60.0).abs() < 1e-3 && (certain[1] - 20.0).abs() < 1e-3, "{certain:?}");
    }

    /// The script gives two images, three and one of whose targets are to be found by five boxes, in a text of six tokens;
    /// a third image shows nothing of what the text names.
    #[test]
    fn pytorch_agrees() {
        let golden = golden("detection");
        let list = |name: &str| golden.labels(name);
        let places = values(&golden.tensor::<2>("targets.places"));
        let targets: Vec<Target> = list("targets.image")
            .into_iter()
            .zip(list("targets.label"))
            .zip(places.chunks_exact(4))
            .map(|((image, label), place)| Target {
                image,
                // Phrases of the script: tokens 1 and 2, token 4.
                tokens: if label == 0 { vec![1, 2] } else { vec![4] },
                place: [0, 1, 2, 3].map(|at| place[at] as f32),
            })
            .collect();
        let (logits, boxes) = (golden.rows("case.logits"), golden.rows("case.boxes"));
        let said = |logits: &Tensor<2>, boxes: &Tensor<2>| Said {
            logits: logits.clone().reshape([3, 5, 6]),
            boxes: boxes.clone().reshape([3, 5, 4]),
        };
        let said = said(&logits, &boxes);
        let found: Vec<usize> = pairs(&said, &targets).into_iter().flat_map(|(row, target)| [row, target]).collect();
        assert_eq!(found, list("case.pairs"));
        golden.holds("case", &loss(&said, &targets), &[("logits", logits), ("boxes", boxes)]);
    }

    /// Without things, only the tokens count: six times ¾ · ¼ · log 2, twice.
    #[test]
    fn where_nothing_is_nothing_is_to_be_said() {
        let said = Said {
            logits: Tensor::zeros([1, 2, 3], &rows(&[&[0.0]]).device()),
            boxes: boxes([[0.5; 4]; 2]).unsqueeze(),
        };
        assert!((number(&loss(&said, &[])) - 2.0 * 6.0 * 3.0 / 16.0 * 2.0_f64.ln()).abs() < 1e-5);
        assert_eq!(pairs(&said, &[]), []);
    }
}
