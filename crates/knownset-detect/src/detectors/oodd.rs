//! Out-of-distribution dictionary.
//!
//! Yang et al., *OODD: Test-time Out-of-Distribution Detection with Dynamic Dictionary*, CVPR 2025, on `mcm`. Learns
//! from the test stream: the `queue` images with the lowest MCM score so far are a dictionary of the unknown. Score: MCM
//! − the k-th largest cosine of the image with the dictionary. Reference: the authors' `MCM/eval_ood_detection.py`.
//!
//! Deviation: with fewer than k images in the dictionary the smallest cosine there is taken, with none 0 (the reference
//! stops with an error).
//!
//! Images are taken in batches of `batch`, in the order given, and by default a batch enters the dictionary before it is
//! scored, as in the reference: an image in the dictionary is compared with itself too. [`Stream`](crate::Stream) makes
//! the order that the paper tests on. The queue must be small against the stream: one that holds every image says
//! nothing about which of them are unknown.

use knownset_core::prompts::CLASSES;
use knownset_core::state::{State, StateError};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, by_row, cosines, max_softmax, require_positive, unit};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Oodd {
    temperature: f64,
    queue: usize,
    k: usize,
    batch: usize,
    update_before_score: bool,
}

impl Default for Oodd {
    fn default() -> Self {
        Self { temperature: 1.0, queue: 2048, k: 5, batch: 64, update_before_score: true }
    }
}

impl Spec for Oodd {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("temperature", self.temperature)?;
        for (name, value) in [("queue", self.queue), ("k", self.k)] {
            require(value > 0, name, value as f64, "at least 1")?;
        }
        require((1..=4096).contains(&self.batch), "batch", self.batch as f64, "between 1 and 4096")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(Dictionary { words: Words::fit(input, &[CLASSES])?, params: self.clone() }))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        let words = Words::load(state, &[CLASSES], widths.embedding)?;
        Ok(Box::new(Dictionary { words, params: self.clone() }))
    }
}

#[derive(Debug)]
struct Dictionary {
    words: Words,
    params: Oodd,
}

impl Scorer for Dictionary {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let images = batch.embedding;
        let base = self.words.score(images, |cosines| max_softmax(cosines, self.params.temperature));
        let mut queue = Vec::new();
        let mut scores = Vec::with_capacity(base.len());
        for (index, some) in images.axis_chunks_iter(Axis(0), self.params.batch).enumerate() {
            let first = index * self.params.batch;
            let rows = first..first + some.nrows();
            if self.params.update_before_score {
                rows.clone().for_each(|row| self.push(&mut queue, &base, row));
            }
            let nearest = self.kth_cosines(some, images, &queue);
            scores.extend(base[rows.clone()].iter().zip(nearest).map(|(score, cosine)| score - cosine));
            if !self.params.update_before_score {
                rows.for_each(|row| self.push(&mut queue, &base, row));
            }
        }
        scores
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

impl Dictionary {
    /// Keeps the rows of lowest score in ascending order; of equal scores, the earlier ones.
    fn push(&self, queue: &mut Vec<usize>, base: &[f64], row: usize) {
        let place = queue.partition_point(|&other| base[other] <= base[row]);
        queue.insert(place, row);
        queue.truncate(self.params.queue);
    }

    /// The k-th largest cosine of each image with the queue.
    fn kth_cosines(&self, some: ArrayView2<'_, f32>, images: ArrayView2<'_, f32>, queue: &[usize]) -> Vec<f64> {
        if queue.is_empty() {
            return vec![0.0; some.nrows()];
        }
        let mut columns = Array2::zeros((images.ncols(), queue.len()));
        for (mut column, &row) in columns.columns_mut().into_iter().zip(queue) {
            column.iter_mut().zip(unit(images.row(row))).for_each(|(to, from)| *to = from);
        }
        let k = self.params.k.min(queue.len());
        by_row(&cosines(some, columns.view()), |cosines| {
            let mut cosines = cosines.to_vec();
            *cosines.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
        })
    }
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "oodd",
        title: "OODD",
        aliases: &[],
        year: 2025,
        paper: "https://arxiv.org/abs/2503.10468",
        formula: "MCM - (k-th largest cosine with the test images of lowest MCM so far)",
        needs: Needs { embedding: true, prompts: &[CLASSES], ..Needs::NONE },
        information: Information::TestStream,
        params: &[
            ParamDoc { name: "temperature", doc: "what raw cosines are divided by in MCM, positive" },
            ParamDoc { name: "queue", doc: "test images kept, at least 1" },
            ParamDoc { name: "k", doc: "which neighbour in the queue, at least 1" },
            ParamDoc { name: "batch", doc: "images taken at a time, 1 to 4096" },
            ParamDoc { name: "update_before_score", doc: "whether a batch enters the queue before it is scored" },
        ],
    },
    spec: parse::<Oodd>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    #[test]
    fn by_hand_with_a_queue_of_two() {
        // MCM falls with the angle to the nearer class: 1, 0.9, 0.5 (between the classes).
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]])]);
        let images = array![[1.0, 0.0], [0.8, 0.6], [3.0, 3.0]];
        let base: Vec<f64> = [1.0, 0.2, 0.0].map(|margin: f64| 1.0 / (1.0 + (-margin).exp())).to_vec();
        let params = Oodd { queue: 2, k: 1, batch: 1, ..Oodd::default() };
        // Each image is its own nearest member, until the third has pushed the first out.
        for (score, base) in score(&params, &known, &images).iter().zip(&base) {
            assert!((score - (base - 1.0)).abs() < 1e-7);
        }
        let second = Oodd { k: 2, batch: 3, ..params.clone() };
        let half = 0.5_f64.sqrt();
        let expected = [base[0] - half, base[1] - 1.4 * half, base[2] - 1.4 * half];
        for (score, expected) in score(&second, &known, &images).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
        let after = Oodd { update_before_score: false, ..params };
        let expected = [base[0], base[1] - 0.8, base[2] - 1.4 * half];
        for (score, expected) in score(&after, &known, &images).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
    }
}
