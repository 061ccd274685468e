//! Choosing negative words: from a large vocabulary, those least like the classes.
//!
//! NegLabel (Jiang et al., ICLR 2024) measures how near a word is to the known set by the 0.95-quantile of its cosines
//! with the classes, and keeps the 15 % of smallest, of nouns and of adjectives apart. CSP (Chen et al., NeurIPS 2024)
//! does the same, but never keeps a word whose cosine with a class is above 0.95.
//!
//! The quantile forgives a word that is near to fewer than one class in twenty, so synonyms of a class can be kept. With
//! COCO's 80 classes against LVIS's 1,203 names (CLIP text embeddings of Detic), `traffic_light` (cosine 0.936 with COCO's
//! traffic light), `parasol` and `fireplug` are among the 180 negatives, and CSP's ceiling lets them pass. A lower
//! ceiling, or leaving such words out by name, is the caller's choice.
//!
//! Here are the embeddings only; which row is which word is the caller's. All arithmetic is f64, words at equal
//! distance are taken in their order.
//!
//! ```
//! use std::ops::ControlFlow;
//! use knownset_detect::mining::Mining;
//! use ndarray::array;
//!
//! let classes = array![[1.0, 0.0], [0.8, 0.6]];
//! let words = array![[1.0, 0.1], [0.0, 1.0], [-1.0, 0.0], [0.5, 0.5]];
//! let mining = Mining { share: 0.5, ..Mining::NEGLABEL };
//! let measured = mining.measure(&classes, &words, None, |_| ControlFlow::Continue(()))?;
//! assert_eq!(mining.choose(&measured, 0..4)?, [2, 1]);
//! # Ok::<(), knownset_detect::mining::MiningError>(())
//! ```

use std::ops::{ControlFlow, Range};

use knownset_core::digest::Hasher;
use knownset_core::prompts::unit_rows;
use ndarray::{Array2, Axis, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rows::quantile;
use crate::words::{cosines, largest};

/// Words measured between two calls of the progress function.
const BLOCK: usize = 1024;

/// How words are measured and chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mining {
    /// Which quantile of a word's cosines with the classes says how near it is, 0 to 1.
    pub quantile: f64,
    /// How that quantile is read off.
    pub rule: QuantileRule,
    /// Share of the words that is kept, 0 to 1: ⌊share · words⌋ of them.
    pub share: f64,
    /// Words with a larger cosine to any class are never kept, but count among the words.
    pub ceiling: Option<f64>,
}

/// Which number is the q-quantile of K cosines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantileRule {
    /// At position q (K − 1) of the ascending cosines, linear between neighbours: `torch.quantile`'s default, which
    /// NegLabel and CSP use.
    Linear,
    /// The element ⌊q K⌋ of the ascending cosines, counted from 0, at most the last: OpenOOD-VLM's.
    Ascending,
}

/// Words measured so far. It can be written with serde after any block, read back, and completed later: the result is
/// the same as without a stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of the classes, the words and the quantile.
    fingerprint: String,
    /// Words in all.
    total: usize,
    /// The quantile of each word measured.
    nearness: Vec<f64>,
    /// The largest cosine of each word measured.
    largest: Vec<f64>,
}

/// Embeddings that cannot be measured, or measurements that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MiningError {
    /// A setting outside its range.
    #[error("`{name}` must be between 0 and 1, but is {value}")]
    Range {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// No class to measure against.
    #[error("there is no class")]
    NoClass,
    /// Classes and words of different widths.
    #[error("the classes have {classes} columns but the words have {words}")]
    Width {
        /// Columns of the classes.
        classes: usize,
        /// Columns of the words.
        words: usize,
    },
    /// A row of zeros, or one with a NaN or an infinity.
    #[error("row {row} of the {array} has no direction: it is zero or not finite")]
    NoDirection {
        /// "classes" or "words".
        array: &'static str,
        /// The row.
        row: usize,
    },
    /// A measurement to be continued that belongs to other embeddings or another quantile.
    #[error("the measurement to continue is of other embeddings or another quantile, or damaged")]
    Other,
    /// A measurement that was stopped.
    #[error("only {done} of {total} words are measured")]
    Unfinished {
        /// Words measured.
        done: usize,
        /// Words in all.
        total: usize,
    },
    /// Words that are not there.
    #[error("words {start}..{end} were asked for, but there are {total}")]
    OutOfRange {
        /// First word asked for.
        start: usize,
        /// Word behind the last one asked for.
        end: usize,
        /// Words there are.
        total: usize,
    },
}

impl Mining {
    /// As NegLabel.
    pub const NEGLABEL: Self = Self { quantile: 0.95, rule: QuantileRule::Linear, share: 0.15, ceiling: None };
    /// As CSP.
    pub const CSP: Self = Self { ceiling: Some(0.95), ..Self::NEGLABEL };

    /// Measures words `[V, d]` against classes `[K, d]`, of any length, in blocks; `progress` is called after each
    /// block with what is there, and stops the work by [`ControlFlow::Break`].
    ///
    /// `resume` continues a measurement that was stopped.
    ///
    /// # Errors
    /// Embeddings without a direction, or a measurement of something else to continue.
    pub fn measure(
        &self,
        classes: &Array2<f32>,
        words: &Array2<f32>,
        resume: Option<Measured>,
        mut progress: impl FnMut(&Measured) -> ControlFlow<()>,
    ) -> Result<Measured, MiningError> {
        self.check()?;
        if classes.nrows() == 0 {
            return Err(MiningError::NoClass);
        }
        if classes.ncols() != words.ncols() {
            return Err(MiningError::Width { classes: classes.ncols(), words: words.ncols() });
        }
        directed("classes", classes)?;
        directed("words", words)?;
        let columns = unit_rows(classes).map_err(|row| MiningError::NoDirection { array: "classes", row })?;
        let columns = columns.t().as_standard_layout().into_owned();
        let (fingerprint, total) = (self.fingerprint(classes, words), words.nrows());
        let mut measured = match resume {
            None => Measured { fingerprint, total, nearness: Vec::new(), largest: Vec::new() },
            Some(measured) if measured.continues(&fingerprint, total) => measured,
            Some(_) => return Err(MiningError::Other),
        };
        while measured.done() < total {
            let (start, end) = (measured.done(), (measured.done() + BLOCK).min(total));
            let cosines = cosines(words.slice(s![start..end, ..]), columns.view());
            let rows: Vec<_> = cosines.outer_iter().map(|row| row.to_vec()).collect();
            measured.largest.extend(rows.iter().map(|row| largest(row)));
            // −0 becomes 0, so that equal words stay in their order.
            measured.nearness.par_extend(rows.into_par_iter().map(|row| self.nearness(row) + 0.0));
            if progress(&measured).is_break() {
                break;
            }
        }
        Ok(measured)
    }

    /// The words least like the classes among those of `part`, such as the nouns: ⌊share · words of the part⌋ of them,
    /// or fewer where the ceiling leaves fewer, the least alike first.
    pub fn choose(&self, measured: &Measured, part: Range<usize>) -> Result<Vec<usize>, MiningError> {
        self.check()?;
        let (done, total) = (measured.done(), measured.total);
        if done < total {
            return Err(MiningError::Unfinished { done, total });
        }
        let Range { start, end } = part;
        if start > end || end > total {
            return Err(MiningError::OutOfRange { start, end, total });
        }
        let keep = (self.share * (end - start) as f64).floor() as usize;
        let below = |word: &usize| self.ceiling.is_none_or(|ceiling| measured.largest[*word] <= ceiling);
        let mut words: Vec<usize> = part.filter(below).collect();
        words.sort_by(|&a, &b| measured.nearness[a].total_cmp(&measured.nearness[b]));
        words.truncate(keep);
        Ok(words)
    }

    fn check(&self) -> Result<(), MiningError> {
        for (name, value) in [("quantile", self.quantile), ("share", self.share)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(MiningError::Range { name, value });
            }
        }
        Ok(())
    }

    fn nearness(&self, mut cosines: Vec<f64>) -> f64 {
        match self.rule {
            QuantileRule::Linear => quantile(cosines, self.quantile),
            QuantileRule::Ascending => {
                let last = cosines.len() - 1;
                let place = ((self.quantile * cosines.len() as f64).floor() as usize).min(last);
                *cosines.select_nth_unstable_by(place, f64::total_cmp).1
            }
        }
    }

    fn fingerprint(&self, classes: &Array2<f32>, words: &Array2<f32>) -> String {
        let mut hasher = Hasher::default();
        hasher.field(format!("mining 1 {:?} {:?}", self.rule, self.quantile).as_bytes());
        for array in [classes, words] {
            hasher.field(format!("{:?}", array.dim()).as_bytes());
            for row in array.outer_iter() {
                let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                hasher.field(&bytes);
            }
        }
        hasher.finish()
    }
}

impl Measured {
    /// Words measured.
    pub fn done(&self) -> usize {
        self.nearness.len()
    }

    /// Words in all.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The quantile of the cosines with the classes of each word measured.
    pub fn nearness(&self) -> &[f64] {
        &self.nearness
    }

    /// The largest cosine with a class of each word measured.
    pub fn largest(&self) -> &[f64] {
        &self.largest
    }

    fn continues(&self, fingerprint: &str, total: usize) -> bool {
        let whole = self.done() == self.largest.len() && (self.done() == total || self.done().is_multiple_of(BLOCK));
        self.fingerprint == fingerprint && self.total == total && self.done() <= total && whole
    }
}

/// That every row has a direction.
fn directed(array: &'static str, rows: &Array2<f32>) -> Result<(), MiningError> {
    let bad = |row: &usize| {
        let row = rows.index_axis(Axis(0), *row);
        row.iter().any(|value| !value.is_finite()) || row.iter().all(|&value| value == 0.0)
    };
    let row = (0..rows.nrows()).into_par_iter().find_first(bad);
    row.map_or(Ok(()), |row| Err(MiningError::NoDirection { array, row }))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn all(mining: &Mining, classes: &Array2<f32>, words: &Array2<f32>) -> Measured {
        mining.measure(classes, words, None, |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn by_hand_on_the_circle() {
        // Ascending cosines of the words: (0.6, 1), (0, 0.8), (-1, -0.6), (0.6, 0.8...)
        let classes = array![[2.0, 0.0], [0.6, 0.8]];
        let words = array![[1.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, -1.0]];
        let measured = all(&Mining::NEGLABEL, &classes, &words);
        for (nearness, expected) in measured.nearness().iter().zip([0.98, 0.76, -0.62, -0.04]) {
            assert!((nearness - expected).abs() < 1e-7, "{nearness} {expected}");
        }
        let rule = Mining { rule: QuantileRule::Ascending, ..Mining::NEGLABEL };
        let measured = all(&rule, &classes, &words);
        for (nearness, expected) in measured.nearness().iter().zip([1.0, 0.8, -0.6, 0.0]) {
            assert!((nearness - expected).abs() < 1e-7, "{nearness} {expected}");
        }
        let mining = Mining { share: 0.75, ..rule };
        assert_eq!(mining.choose(&measured, 0..4).unwrap(), [2, 3, 1]);
        assert_eq!(mining.choose(&measured, 0..2).unwrap(), [1]);
        // The ceiling takes a word away, not a place.
        let mining = Mining { ceiling: Some(0.95), share: 1.0, ..rule };
        assert_eq!(mining.choose(&measured, 0..4).unwrap(), [2, 3, 1]);
    }

    #[test]
    fn words_at_equal_distance_are_taken_in_their_order() {
        let classes = array![[1.0, 0.0]];
        let words = Array2::from_shape_fn((40, 2), |(_, d)| d as f32);
        let mining = Mining { share: 0.1, ..Mining::NEGLABEL };
        assert_eq!(mining.choose(&all(&mining, &classes, &words), 5..40).unwrap(), [5, 6, 7]);
    }

    #[test]
    fn the_share_is_rounded_down() {
        let classes = array![[1.0, 0.0]];
        let words = Array2::from_shape_fn((39, 2), |(row, d)| (row * d) as f32 + 1.0);
        let measured = all(&Mining::NEGLABEL, &classes, &words);
        assert_eq!(Mining::NEGLABEL.choose(&measured, 0..39).unwrap().len(), 5);
        assert_eq!(Mining::NEGLABEL.choose(&measured, 0..6).unwrap().len(), 0);
    }

    #[test]
    fn a_stop_and_a_later_start_change_nothing() {
        let noise = |row: usize, d: usize| ((row * 37 + d * 101) % 211) as f32 - 105.0;
        let classes = Array2::from_shape_fn((9, 6), |(row, d)| noise(row + 5000, d));
        let words = Array2::from_shape_fn((2500, 6), |(row, d)| noise(row, d));
        let (mining, mut calls) = (Mining::CSP, 0);
        let whole = mining
            .measure(&classes, &words, None, |_| {
                calls += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((calls, whole.done(), whole.total()), (3, 2500, 2500));
        let part = mining.measure(&classes, &words, None, |_| ControlFlow::Break(())).unwrap();
        assert_eq!(part.done(), BLOCK);
        let error = mining.choose(&part, 0..10).unwrap_err();
        assert_eq!(error, MiningError::Unfinished { done: BLOCK, total: 2500 });
        let text = serde_json::to_string(&part).unwrap();
        let read: Measured = serde_json::from_str(&text).unwrap();
        let resumed = mining.measure(&classes, &words, Some(read.clone()), |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(resumed, whole);
        let mut other = words.clone();
        other[(2000, 3)] += 1.0;
        let resumed = mining.measure(&classes, &other, Some(read.clone()), |_| ControlFlow::Continue(()));
        assert_eq!(resumed, Err(MiningError::Other));
        let rule = Mining { rule: QuantileRule::Ascending, ..mining };
        let resumed = rule.measure(&classes, &words, Some(read), |_| ControlFlow::Continue(()));
        assert_eq!(resumed, Err(MiningError::Other));
    }

    #[test]
    fn embeddings_without_direction_are_refused_with_their_row() {
        let good = array![[1.0, 0.0], [0.0, 1.0]];
        let measure = |classes: &Array2<f32>, words: &Array2<f32>| {
            Mining::NEGLABEL.measure(classes, words, None, |_| ControlFlow::Continue(()))
        };
        for bad in [array![[1.0, 0.0], [0.0, 0.0]], array![[1.0, 0.0], [f32::NAN, 1.0]]] {
            assert_eq!(measure(&good, &bad), Err(MiningError::NoDirection { array: "words", row: 1 }));
            assert_eq!(measure(&bad, &good), Err(MiningError::NoDirection { array: "classes", row: 1 }));
        }
        assert_eq!(measure(&good, &array![[1.0]]), Err(MiningError::Width { classes: 2, words: 1 }));
        assert_eq!(measure(&Array2::zeros((0, 2)), &good), Err(MiningError::NoClass));
        let wrong = Mining { quantile: 1.5, ..Mining::NEGLABEL };
        assert!(matches!(
            wrong.measure(&good, &good, None, |_| ControlFlow::Continue(())),
            Err(MiningError::Range { .. })
        ));
        let measured = measure(&good, &good).unwrap();
        assert!(matches!(Mining::NEGLABEL.choose(&measured, 1..3), Err(MiningError::OutOfRange { total: 2, .. })));
    }
}
