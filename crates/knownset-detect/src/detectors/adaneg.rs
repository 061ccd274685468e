//! Adaptive negative proxies.
//!
//! Zhang and Zhang, *AdaNeg: Adaptive Negative Proxy Guided OOD Detection with Vision-Language Models*, NeurIPS 2024.
//! Learns from the test stream: a memory of `memory` places for each class and each negative holds its text feature
//! and test images that are surely of it. With p the score of `neglabel`, an image with p > γ + g (1 − γ) goes to its
//! nearest class, one with p < γ − g γ to its nearest negative; a full memory gives up the image of largest entropy
//! (of the softmax over the classes, or over the negatives) if the new one's is smaller. The score is the one of
//! `neglabel` with proxies in place of the text features, + λ p. A proxy is the direction of the sum of its memory,
//! each member weighted by e^(−b (1 − cosine with the image)) (`sample`) or by 1 (`task`). Reference: OpenOOD-VLM
//! `ttaprompt_postprocessor.py`.
//!
//! Deviations: the groups are those of `neglabel` here; b is 5.5 as in the paper, where the reference cuts it to 5; no
//! 1e-8 is added inside the entropy's logarithm.
//!
//! Images are taken in batches of `batch`, in the order given, and by default a batch enters the memory before it is
//! scored, as in the reference. [`Stream`](crate::Stream) makes the order that the paper tests on.

use std::collections::BTreeMap;

use knownset_core::linalg::project;
use knownset_core::prompts::{CLASSES, NEGATIVES};
use knownset_core::state::{State, StateError};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::grouped::Groups;
use crate::input::{FitError, FitInput};
use crate::spec::{Batch, Entry, Info, Information, Needs, ParamDoc, ParamError, Scorer, Spec, Widths, parse, require};
use crate::words::{Words, cosines, index_of_largest, largest, require_positive, unit};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Proxies {
    Sample,
    Task,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AdaNeg {
    scale: f64,
    groups: usize,
    seed: u64,
    memory: usize,
    gamma: f64,
    gap: f64,
    proxies: Proxies,
    sharpness: f64,
    lambda: f64,
    batch: usize,
    update_before_score: bool,
}

impl Default for AdaNeg {
    fn default() -> Self {
        Self {
            scale: 100.0,
            groups: 5,
            seed: 0,
            memory: 10,
            gamma: 0.5,
            gap: 0.5,
            proxies: Proxies::Sample,
            sharpness: 5.5,
            lambda: 0.1,
            batch: 256,
            update_before_score: true,
        }
    }
}

impl Spec for AdaNeg {
    fn check(&self) -> Result<(), ParamError> {
        require_positive("scale", self.scale)?;
        let unit = |name, value: f64| require((0.0..=1.0).contains(&value), name, value, "between 0 and 1");
        unit("gamma", self.gamma)?;
        unit("gap", self.gap)?;
        for (name, value) in [("sharpness", self.sharpness), ("lambda", self.lambda)] {
            require((0.0..=100.0).contains(&value), name, value, "between 0 and 100")?;
        }
        require(self.groups > 0, "groups", self.groups as f64, "at least 1")?;
        require((1..=100).contains(&self.memory), "memory", self.memory as f64, "between 1 and 100")?;
        require((1..=4096).contains(&self.batch), "batch", self.batch as f64, "between 1 and 4096")
    }

    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Scorer>, FitError> {
        Ok(Box::new(self.scorer(Words::fit(input, &[CLASSES, NEGATIVES])?)))
    }

    fn load(&self, state: &State, widths: Widths) -> Result<Box<dyn Scorer>, StateError> {
        Ok(Box::new(self.scorer(Words::load(state, &[CLASSES, NEGATIVES], widths.embedding)?)))
    }
}

impl AdaNeg {
    fn scorer(&self, words: Words) -> Adaptive {
        let groups = Groups::new(words.count(1), self.groups, self.seed);
        Adaptive { words, groups, params: self.clone() }
    }
}

#[derive(Debug)]
struct Adaptive {
    words: Words,
    groups: Groups,
    params: AdaNeg,
}

/// The images kept of every word that has some, each with the entropy it came with.
type Memory = BTreeMap<usize, Vec<(f64, Vec<f64>)>>;

/// A word that has images: its memory as columns of all memories, the text first.
#[derive(Debug)]
struct Proxy {
    word: usize,
    /// Of its first column.
    first: usize,
    /// Dot products of its members.
    gram: Array2<f64>,
}

impl Scorer for Adaptive {
    fn score(&self, batch: &Batch<'_>) -> Vec<f64> {
        let mut memory = Memory::new();
        let mut scores = Vec::with_capacity(batch.embedding.nrows());
        for images in batch.embedding.axis_chunks_iter(Axis(0), self.params.batch) {
            let texts = self.words.cosines(images);
            let shares = self.shares(&texts);
            if self.params.update_before_score {
                self.update(&mut memory, images, &texts, &shares);
            }
            let adapted = self.shares(&self.adapted(&memory, images, &texts));
            scores.extend(adapted.iter().zip(&shares).map(|(adapted, share)| adapted + self.params.lambda * share));
            if !self.params.update_before_score {
                self.update(&mut memory, images, &texts, &shares);
            }
        }
        scores
    }

    fn state(&self) -> State {
        self.words.state()
    }
}

impl Adaptive {
    /// The score of `neglabel` for each row of cosines.
    fn shares(&self, cosines: &Array2<f64>) -> Vec<f64> {
        let (classes, scale) = (self.words.count(0), self.params.scale);
        let rows: Vec<_> = cosines.outer_iter().collect();
        let share = |row: &ndarray::ArrayView1<'_, f64>| {
            let row = row.to_vec();
            let (known, negative) = row.split_at(classes);
            self.groups.known_share(known, negative, scale)
        };
        rows.par_iter().map(share).collect()
    }

    /// Takes the sure images of a batch into the memory, in their order.
    fn update(&self, memory: &mut Memory, images: ArrayView2<'_, f32>, texts: &Array2<f64>, shares: &[f64]) {
        let (gamma, gap, classes) = (self.params.gamma, self.params.gap, self.words.count(0));
        for ((image, cosines), &share) in images.outer_iter().zip(texts.outer_iter()).zip(shares) {
            let cosines = cosines.to_vec();
            let (first, cosines) = if share > gamma + gap * (1.0 - gamma) {
                (0, &cosines[..classes])
            } else if share < gamma - gap * gamma {
                (classes, &cosines[classes..])
            } else {
                continue;
            };
            let entropy = entropy(cosines, self.params.scale);
            let kept = memory.entry(first + index_of_largest(cosines)).or_default();
            if kept.len() + 1 < self.params.memory {
                kept.push((entropy, unit(image)));
            } else if let Some(worst) = kept.iter_mut().max_by(|a, b| a.0.total_cmp(&b.0))
                && entropy < worst.0
            {
                *worst = (entropy, unit(image));
            }
        }
        memory.retain(|_, kept| !kept.is_empty());
    }

    /// Cosines of images with the proxies of all words; a word without images is its own proxy.
    fn adapted(&self, memory: &Memory, images: ArrayView2<'_, f32>, texts: &Array2<f64>) -> Array2<f64> {
        let (proxies, columns) = self.proxies(memory);
        let members = cosines(images, columns.view());
        let mut adapted = texts.clone();
        let rows: Vec<_> = adapted.outer_iter_mut().zip(members.outer_iter()).collect();
        rows.into_par_iter().for_each(|(mut row, members)| {
            for proxy in &proxies {
                let members: Vec<f64> = members.iter().skip(proxy.first).take(proxy.gram.nrows()).copied().collect();
                row[proxy.word] = self.proxy_cosine(&members, proxy.gram.view());
            }
        });
        adapted
    }

    /// Cosine with the weighted sum of members whose cosines with the image are given.
    fn proxy_cosine(&self, members: &[f64], gram: ArrayView2<'_, f64>) -> f64 {
        let weight = |cosine: &f64| match self.params.proxies {
            Proxies::Task => 1.0,
            Proxies::Sample => (-self.params.sharpness * (1.0 - cosine)).exp(),
        };
        let weights: Vec<f64> = members.iter().map(weight).collect();
        let dot: f64 = members.iter().zip(&weights).map(|(cosine, weight)| cosine * weight).sum();
        let squared: f64 = gram.indexed_iter().map(|((a, b), product)| weights[a] * weights[b] * product).sum();
        if squared > 0.0 { dot / squared.sqrt() } else { 0.0 }
    }

    /// The words that have images, and `[d, members]` their texts and images.
    fn proxies(&self, memory: &Memory) -> (Vec<Proxy>, Array2<f64>) {
        let members: usize = memory.values().map(|kept| kept.len() + 1).sum();
        let width = self.words.width();
        let mut columns = Array2::zeros((width, members));
        let mut proxies = Vec::with_capacity(memory.len());
        let mut first = 0;
        for (&word, kept) in memory {
            let text = self.words.unit(word);
            let own = std::iter::once(&text).chain(kept.iter().map(|(_, image)| image));
            for (index, member) in own.enumerate() {
                columns.column_mut(first + index).iter_mut().zip(member).for_each(|(to, from)| *to = *from);
            }
            let end = first + kept.len() + 1;
            let own = columns.slice(ndarray::s![.., first..end]);
            let gram = project(own.t(), own);
            proxies.push(Proxy { word, first, gram });
            first = end;
        }
        (proxies, columns)
    }
}

/// Of softmax(scale · cosines).
fn entropy(cosines: &[f64], scale: f64) -> f64 {
    let highest = largest(cosines);
    let logs: Vec<f64> = cosines.iter().map(|s| scale * (s - highest)).collect();
    let sum: f64 = logs.iter().map(|log| log.exp()).sum();
    sum.ln() - logs.iter().map(|log| log * log.exp()).sum::<f64>() / sum
}

pub(crate) static ENTRY: Entry = Entry {
    info: Info {
        name: "adaneg",
        title: "AdaNeg",
        aliases: &[],
        year: 2024,
        paper: "https://arxiv.org/abs/2410.20149",
        formula: "NegLabel(proxies) + lambda NegLabel(texts), a proxy the direction of a text and the sure test images of it",
        needs: Needs { embedding: true, prompts: &[CLASSES, NEGATIVES], ..Needs::NONE },
        information: Information::TestStream,
        params: &[
            ParamDoc { name: "scale", doc: "what cosines are multiplied by before the softmax, positive" },
            ParamDoc {
                name: "groups",
                doc: "groups of negatives, at least 1; as many as negatives where those are fewer",
            },
            ParamDoc { name: "seed", doc: "of the split into groups" },
            ParamDoc { name: "memory", doc: "places for each class and negative, its text in one of them, 1 to 100" },
            ParamDoc { name: "gamma", doc: "score that divides known from unknown, 0 to 1" },
            ParamDoc { name: "gap", doc: "share of the way from gamma to 1 and to 0 where an image is sure, 0 to 1" },
            ParamDoc {
                name: "proxies",
                doc: "sample: members weighted by their cosine with the image; task: all alike",
            },
            ParamDoc { name: "sharpness", doc: "of the weights of `sample`, 0 to 100" },
            ParamDoc { name: "lambda", doc: "weight of the score from texts alone, 0 to 100" },
            ParamDoc { name: "batch", doc: "images taken at a time, 1 to 4096" },
            ParamDoc { name: "update_before_score", doc: "whether a batch enters the memory before it is scored" },
        ],
    },
    spec: parse::<AdaNeg>,
};

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::words::{known, score};

    fn words() -> knownset_core::Features {
        known(&[(CLASSES, array![[1.0, 0.0, 0.0]]), (NEGATIVES, array![[0.0, 1.0, 0.0]])])
    }

    fn params() -> AdaNeg {
        AdaNeg { scale: 10.0, groups: 1, batch: 1, lambda: 0.0, ..AdaNeg::default() }
    }

    fn logistic(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    #[test]
    fn by_hand_with_one_image_in_the_memory() {
        // (0.8, 0, 0.6) has cosines 0.8 and 0: surely known, it moves the proxy of the class to (1.8, 0, 0.6).
        // (0, 0, 1) has cosine 0 with both texts: half known by the texts, more by the proxies.
        let images = array![[0.8, 0.0, 0.6], [0.0, 0.0, 1.0]];
        let moved = (1.8_f64 * 1.8 + 0.6 * 0.6).sqrt();
        let task = AdaNeg { proxies: Proxies::Task, ..params() };
        let expected = [logistic(10.0 * (1.8 * 0.8 + 0.36) / moved), logistic(10.0 * 0.6 / moved)];
        for (score, expected) in score(&task, &words(), &images).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
        // Scored first, the first image meets an empty memory.
        let after = AdaNeg { update_before_score: false, ..task };
        let expected = [logistic(8.0), expected[1]];
        for (score, expected) in score(&after, &words(), &images).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-7, "{score} {expected}");
        }
        // Weights of the second image: e^-5.5 for the text, e^-2.2 for the first image.
        let (text, image) = ((-5.5_f64).exp(), (-2.2_f64).exp());
        let proxy = [text + 0.8 * image, 0.6 * image];
        let expected = logistic(10.0 * proxy[1] / proxy[0].hypot(proxy[1]));
        let scores = score(&params(), &words(), &images);
        assert!((scores[1] - expected).abs() < 1e-7, "{} {expected}", scores[1]);
    }

    #[test]
    fn a_memory_of_one_place_leaves_the_texts() {
        let images = array![[0.8, 0.0, 0.6], [0.0, 0.9, 1.0], [0.1, 0.0, 1.0]];
        let alone = AdaNeg { memory: 1, lambda: 0.5, ..params() };
        let expected = [8.0, -10.0 * 0.9 / 1.81_f64.sqrt(), 1.0 / 1.01_f64.sqrt()].map(|z| 1.5 * logistic(z));
        for (score, expected) in score(&alone, &words(), &images).iter().zip(expected) {
            assert!((score - expected).abs() < 1e-6, "{score} {expected}");
        }
    }

    #[test]
    fn a_full_memory_gives_up_the_least_certain_image() {
        let two = known(&[(CLASSES, array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (NEGATIVES, array![[0.0, 1.0, 0.0]])]);
        let words = Words::fit(&FitInput::new(&two, None).unwrap(), &[CLASSES, NEGATIVES]).unwrap();
        let scorer = AdaNeg { memory: 2, ..params() }.scorer(words);
        let mut memory = Memory::new();
        // All surely of class 0; the second is the most certain, the third the least.
        let images = array![[1.0, 0.0, 0.3], [1.0, 0.0, 0.0], [1.0, 0.0, 0.5]];
        let texts = scorer.words.cosines(images.view());
        scorer.update(&mut memory, images.view(), &texts, &scorer.shares(&texts));
        assert_eq!(memory.len(), 1);
        assert_eq!(memory[&0].len(), 1);
        assert_eq!(memory[&0][0].1, [1.0, 0.0, 0.0]);
    }
}
