//! NPOS: outliers around the known pictures that are farthest from the others, without a model of their distribution.
//!
//! Tao et al., *Non-Parametric Outlier Synthesis*, ICLR 2023. Each class keeps its latest `queue` embeddings f. The
//! `boundary` of them with the largest distance to their K-th nearest neighbour, on the unit sphere, are its boundary;
//! of `samples` points f + σ ε around each of `picks` boundary points by chance, ε standard normal and the same for
//! all, the `keep` with the largest such distance are outliers. Loss: [CIDER](super::cider)'s terms, `weight` ·
//! cross-entropy of a network of two layers that tells embeddings of pictures from outliers. K is 300, σ 0.1, the
//! weight 0.1, the dispersion's 0.5; outliers come after 40 % of the epochs, as in OpenOOD's settings. Detectors read
//! f: k nearest neighbours on the unit sphere.
//!
//! Deviations: those of CIDER. The authors' code and OpenOOD sort distances as if the candidates of all boundary points
//! took turns, though they lie one point after the other, and so keep other candidates than the farthest; and their
//! queues are zeros again after every epoch. Neither is repeated. A queue that holds less than K takes its farthest
//! neighbour. They train the network of two layers at a tenth of the rate; here it has the rate of the others.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor};
use knownset_core::neighbours::Bank;
use knownset_core::params::{ParamError, require};
use knownset_nn::HostTensor;
use knownset_nn::network::Rule;
use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::cider::{Sphere, TwoLayers, beside, labels_of_views};
use super::{Outliers, ParamDoc, RecipeEntry, classifier};
use crate::augment::Augment;
use crate::network::Network;
use crate::queue::{Queue, tensor};
use crate::recipe::{Batch, Moment, Recipe, Step, Views, constant};
use crate::views::{self, ViewKind};

pub(crate) static ENTRY: RecipeEntry = RecipeEntry {
    name: "npos",
    title: "NPOS",
    year: 2023,
    paper: "https://arxiv.org/abs/2303.02966",
    loss: "cider's terms + w logistic loss of a network at pictures and at points beyond the boundary of their class",
    outliers: Outliers::None,
    params: &[
        ParamDoc { name: "weight", doc: "w, weight of the logistic loss, at least 0" },
        ParamDoc { name: "compactness", doc: "weight of a picture's closeness to its prototype, at least 0" },
        ParamDoc { name: "dispersion", doc: "weight of the prototypes' closeness to one another, at least 0" },
        ParamDoc { name: "temperature", doc: "τ, what cosines are divided by, above 0" },
        ParamDoc { name: "momentum", doc: "how much of a prototype stays, 0..1" },
        ParamDoc { name: "width", doc: "length of the projected vectors, at least 1" },
        views::PARAM,
        ParamDoc { name: "start", doc: "share of the epochs without outliers, 0..1" },
        ParamDoc { name: "queue", doc: "embeddings kept of every class, at least 1" },
        ParamDoc { name: "k", doc: "K, which nearest neighbour's distance counts, at least 1" },
        ParamDoc { name: "sigma", doc: "σ, deviation of candidates about their boundary point, above 0" },
        ParamDoc { name: "boundary", doc: "embeddings of a class that are its boundary, at least 1" },
        ParamDoc { name: "picks", doc: "boundary points of a class with candidates in a step, at least 1" },
        ParamDoc { name: "samples", doc: "candidates about each of them, at least 1" },
        ParamDoc { name: "keep", doc: "candidates of each that are outliers, at most samples" },
    ],
    kind: classifier::<Npos>(),
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Npos {
    weight: f64,
    compactness: f64,
    dispersion: f64,
    temperature: f64,
    momentum: f64,
    width: usize,
    views: ViewKind,
    start: f64,
    queue: usize,
    k: usize,
    sigma: f64,
    boundary: usize,
    picks: usize,
    samples: usize,
    keep: usize,
}

impl Default for Npos {
    fn default() -> Self {
        Self {
            weight: 0.1,
            compactness: 1.0,
            dispersion: 0.5,
            temperature: 0.1,
            momentum: 0.95,
            width: 128,
            views: ViewKind::default(),
            start: 0.4,
            queue: 1000,
            k: 300,
            sigma: 0.1,
            boundary: 200,
            picks: 2,
            samples: 600,
            keep: 200,
        }
    }
}

#[derive(Module, Debug)]
pub(crate) struct Parts {
    sphere: Sphere,
    /// The log-odds of being known.
    known: TwoLayers,
    queue: Queue,
}

impl Recipe for Npos {
    type Parts = Parts;

    fn check(&self) -> Result<(), ParamError> {
        for (name, value) in
            [("weight", self.weight), ("compactness", self.compactness), ("dispersion", self.dispersion)]
        {
            require(value >= 0.0, name, value, "at least 0")?;
        }
        for (name, value) in [("temperature", self.temperature), ("sigma", self.sigma)] {
            require(value > 0.0, name, value, "above 0")?;
        }
        require((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "at least 0 and below 1")?;
        require((0.0..=1.0).contains(&self.start), "start", self.start, "between 0 and 1")?;
        let counts = [
            ("width", self.width),
            ("queue", self.queue),
            ("k", self.k),
            ("boundary", self.boundary),
            ("picks", self.picks),
            ("samples", self.samples),
        ];
        for (name, value) in counts {
            require(value >= 1, name, value as f64, "at least 1")?;
        }
        require((1..=self.samples).contains(&self.keep), "keep", self.keep as f64, "between 1 and samples")
    }

    fn views(&self, standard: &Augment) -> Views {
        self.views.two(Augment::default(), standard)
    }

    fn parts(&self, width: usize, classes: usize, device: &Device) -> Parts {
        Parts {
            sphere: Sphere::new(width, self.width, classes, device),
            known: TwoLayers::new([width, self.width, 1], device),
            queue: Queue::new([classes, self.queue, width], device),
        }
    }

    fn init(&self, name: &str, _: &[usize]) -> Rule {
        let kept = name == "recipe.sphere.prototypes" || name.starts_with("recipe.queue.");
        if kept { constant(0.0) } else { Rule::ByShape }
    }

    fn step(&self, network: &mut Network<Parts>, batch: &Batch, moment: &Moment) -> Step {
        let labels = labels_of_views(batch);
        let embedding = network.embed(Tensor::cat(batch.views.clone(), 0));
        let (head, hits) = beside(&network.trunk.classify(embedding.clone().detach()), batch);
        let Parts { sphere, known, queue } = &mut network.parts;
        let terms = sphere.terms(embedding.clone(), &labels, self.temperature, self.momentum);
        let loss = terms.compactness * self.compactness + terms.dispersion * self.dispersion + head;
        queue.push(&embedding, &labels);
        if !moment.past(self.start) {
            return Step { loss, hits };
        }
        let outliers = tensor(self.outliers(&queue.classes(), &mut moment.random()), &embedding.device());
        let told = told_apart(known.forward(embedding), known.forward(outliers));
        Step { loss: loss + told * self.weight, hits }
    }

    fn export(&self, tensors: &mut BTreeMap<String, HostTensor>, _: &str) {
        tensors.retain(|name, _| !name.starts_with("recipe."));
    }
}

impl Npos {
    /// `[m, d]`: the outliers of all classes, each given as its embeddings `[n_c, d]`.
    fn outliers(&self, classes: &[Array2<f32>], rng: &mut ChaCha8Rng) -> Array2<f32> {
        let d = classes.first().map_or(0, Array2::ncols);
        let noise = || -> f32 { StandardNormal.sample(&mut *rng) };
        let noise = Array2::from_shape_simple_fn((self.samples, d), noise) * self.sigma as f32;
        let mut outliers = Array2::zeros((0, d));
        for rows in classes.iter().filter(|rows| !rows.is_empty()) {
            let bank = Bank::new(rows.view());
            let mut boundary = self.farthest(&bank, rows.view(), self.boundary);
            let (picked, _) = boundary.partial_shuffle(rng, self.picks);
            for &point in picked.iter() {
                let candidates = &noise + &rows.row(point);
                let kept = self.farthest(&bank, candidates.view(), self.keep);
                outliers.append(Axis(0), candidates.select(Axis(0), &kept).view()).expect("rows of the same width");
            }
        }
        outliers
    }

    /// The `count` rows that are farthest from their K-th nearest neighbour in the bank, the first of equals.
    fn farthest(&self, bank: &Bank, rows: ArrayView2<'_, f32>, count: usize) -> Vec<usize> {
        let distances = bank.kth_squared_distance(rows, self.k);
        let mut order: Vec<usize> = (0..rows.nrows()).collect();
        order.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]));
        order.truncate(count);
        order
    }
}

/// Mean logistic loss of log-odds `[n, 1]` of pictures, which are known, and `[m, 1]` of outliers, which are not.
pub(crate) fn told_apart(known: Tensor<2>, outliers: Tensor<2>) -> Tensor<1> {
    -log_sigmoid(Tensor::cat(vec![known, -outliers], 0)).mean()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::augment::stream;
    use crate::testing::{golden, gradients_agree, number, rows};

    #[test]
    fn the_logistic_loss_by_hand() {
        let log3 = 3.0_f32.ln();
        let loss = number(&told_apart(rows(&[&[log3], &[0.0]]), rows(&[&[log3]])));
        let expected = ((4.0_f64 / 3.0).ln() + 2.0_f64.ln() + 4.0_f64.ln()) / 3.0;
        assert!((loss - expected).abs() < 1e-6, "{loss} {expected}");
        assert!(number(&told_apart(rows(&[&[-200.0]]), rows(&[&[200.0]]))).is_finite());
    }

    #[test]
    fn gradients() {
        gradients_agree(rows(&[&[1.0], &[-2.0]]), |known| told_apart(known, rows(&[&[0.3]])));
        gradients_agree(rows(&[&[1.0], &[-2.0]]), |outliers| told_apart(rows(&[&[0.3]]), outliers));
        golden("outliers").agrees("npos", ["known", "outliers"], |[known, outliers]| told_apart(known, outliers));
    }

    fn toy() -> Npos {
        Npos { k: 2, boundary: 2, picks: 2, samples: 8, keep: 3, sigma: 0.2, ..Npos::default() }
    }

    /// Rows at 0, 2, 4, 50 and 90 degrees: with itself as the nearest, the second neighbours of the last two are far.
    fn fan() -> Array2<f32> {
        let row = |degrees: f32| [degrees.to_radians().cos() * 3.0, degrees.to_radians().sin() * 3.0];
        array![row(0.0), row(2.0), row(4.0), row(50.0), row(90.0)]
    }

    #[test]
    fn the_boundary_is_where_neighbours_are_far() {
        let (npos, fan) = (toy(), fan());
        let bank = Bank::new(fan.view());
        assert_eq!(npos.farthest(&bank, fan.view(), 2), [3, 4]);
        let all = Npos { k: 99, ..npos };
        assert_eq!(all.farthest(&bank, fan.view(), 1), [0], "90 degrees away from the farthest, as the last is");
    }

    /// Of the candidates of each boundary point its own farthest, whatever those of the others are; the authors' code
    /// mixes them up.
    #[test]
    fn every_boundary_point_keeps_its_own_farthest_candidates() {
        let (npos, fan) = (toy(), fan());
        let rng = &mut stream(1, 2, 3);
        let outliers = npos.outliers(&[fan.clone(), Array2::zeros((0, 2))], rng);
        assert_eq!(outliers.dim(), (6, 2));
        let again = &mut stream(1, 2, 3);
        let noise: Vec<f32> = (0..16).map(|_| StandardNormal.sample(again)).collect();
        let second_nearest = |x: f32, y: f32| {
            let length = x.hypot(y);
            let mut all: Vec<f32> =
                fan.outer_iter().map(|row| (row[0] / 3.0 - x / length).hypot(row[1] / 3.0 - y / length)).collect();
            all.sort_by(f32::total_cmp);
            all[1]
        };
        let mut points: Vec<usize> = Vec::new();
        for kept in outliers.axis_chunks_iter(Axis(0), 3) {
            let own = |&point: &usize| {
                let mut candidates: Vec<[f32; 2]> = noise
                    .chunks_exact(2)
                    .map(|e| [fan[[point, 0]] + 0.2 * e[0], fan[[point, 1]] + 0.2 * e[1]])
                    .collect();
                candidates.sort_by(|a, b| second_nearest(b[0], b[1]).total_cmp(&second_nearest(a[0], a[1])));
                kept.outer_iter()
                    .zip(&candidates)
                    .all(|(kept, own)| (kept[0] - own[0]).abs() + (kept[1] - own[1]).abs() < 1e-5)
            };
            points.extend([3, 4].iter().filter(|&point| own(point)));
        }
        points.sort_unstable();
        assert_eq!(points, [3, 4]);
    }

    /// Queues of less than `boundary` rows pick among those they have.
    #[test]
    fn a_young_queue_has_outliers_too() {
        let npos = Npos { samples: 10, keep: 4, ..Npos::default() };
        let outliers = npos.outliers(&[array![[1.0, 2.0, 2.0]]], &mut stream(1, 0, 0));
        assert_eq!(outliers.dim(), (4, 3));
    }
}
