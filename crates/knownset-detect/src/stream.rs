//! One in-distribution set against one out-of-distribution set, as a stream for detectors that learn from it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use knownset_core::Features;
use ndarray::{Array, Axis, CowArray, Dimension, RemoveAxis, concatenate};

use crate::fitted::{Arrays, Fitted, ScoreError};
use crate::grouped::permutation;
use crate::spec::Information;

/// How two sets of images become one stream: which rows are kept, and in which order they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stream {
    /// Of the choice of rows and of their order.
    pub seed: u64,
    /// In-distribution against other images; all rows of both sets where it is not given.
    pub ratio: Option<Ratio>,
}

/// So many in-distribution images for so many others, written `1:100`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    /// In-distribution images.
    pub id: NonZeroU32,
    /// Other images.
    pub ood: NonZeroU32,
}

/// A text that is not a ratio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a ratio of two whole numbers from 1 up, such as 1:100")]
pub struct RatioError(String);

/// Scores of both sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Streamed {
    /// Of the in-distribution rows kept, in the order of `id_rows`.
    pub id: Vec<f64>,
    /// Of the other rows kept, in the order of `ood_rows`.
    pub ood: Vec<f64>,
    /// In-distribution rows kept, ascending.
    pub id_rows: Vec<usize>,
    /// Other rows kept, ascending.
    pub ood_rows: Vec<usize>,
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let parts = text
            .split_once(':')
            .and_then(|(id, ood)| Some(Self { id: id.trim().parse().ok()?, ood: ood.trim().parse().ok()? }));
        parts.ok_or_else(|| RatioError(text.into()))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.ood)
    }
}

impl Stream {
    /// Rows kept of sets of `id` and `ood` images, ascending: all of one set, and of the other a random part that comes
    /// nearest to the ratio from below, but at least one.
    pub fn rows(&self, id: usize, ood: usize) -> (Vec<usize>, Vec<usize>) {
        let Some(ratio) = self.ratio.filter(|_| id > 0 && ood > 0) else {
            return ((0..id).collect(), (0..ood).collect());
        };
        let share = |n: usize, of: NonZeroU32, to: NonZeroU32| {
            usize::try_from(n as u128 * u128::from(to.get()) / u128::from(of.get())).unwrap_or(usize::MAX).max(1)
        };
        let kept = |n: usize, keep: usize| {
            let mut rows = permutation(n, self.seed);
            rows.truncate(keep);
            rows.sort_unstable();
            rows
        };
        (kept(id, share(ood, ratio.ood, ratio.id)), kept(ood, share(id, ratio.id, ratio.ood)))
    }
}

impl Fitted {
    /// Scores one in-distribution set and one other set, as a benchmark does.
    ///
    /// A detector that learns from the [test stream](Information::TestStream) gets the rows kept of both in one
    /// shuffled stream, its memory empty at the start; to any other the order is nothing. The same stream gives the
    /// same rows, order and bits.
    ///
    /// # Errors
    /// As [`Fitted::score`], for either set.
    pub fn score_against(&self, id: &Features, ood: &Features, stream: &Stream) -> Result<Streamed, ScoreError> {
        let (id_rows, ood_rows) = stream.rows(id.len(), ood.len());
        if self.info().information != Information::TestStream {
            let score = |features: &Features, rows: &[usize]| {
                if rows.len() == features.len() { self.score(features) } else { self.score(&features.select(rows)) }
            };
            return Ok(Streamed { id: score(id, &id_rows)?, ood: score(ood, &ood_rows)?, id_rows, ood_rows });
        }
        let (one, other) = (self.arrays(id)?, self.arrays(ood)?);
        let patches = (one.patches.len_of(Axis(1)), other.patches.len_of(Axis(1)));
        if patches.0 != patches.1 {
            return Err(ScoreError::PatchCount { one: patches.0, other: patches.1 });
        }
        // Rows of the two sets one after the other, in the order of the stream.
        let kept: Vec<usize> = id_rows.iter().copied().chain(ood_rows.iter().map(|row| id.len() + row)).collect();
        let places = permutation(kept.len(), stream.seed);
        let order: Vec<usize> = places.iter().map(|&place| kept[place]).collect();
        let mixed = Arrays {
            logits: mix(&one.logits, &other.logits, &order),
            embedding: mix(&one.embedding, &other.embedding, &order),
            patches: mix(&one.patches, &other.patches, &order),
            rotations: mix(&one.rotations, &other.rotations, &order),
        };
        let name = |row: usize| match order[row].checked_sub(id.len()) {
            None => id.id(order[row]),
            Some(row) => ood.id(row),
        };
        let mut scores = vec![0.0; kept.len()];
        for (score, place) in self.score_arrays(&mixed, name)?.into_iter().zip(places) {
            scores[place] = score;
        }
        let ood = scores.split_off(id_rows.len());
        Ok(Streamed { id: scores, ood, id_rows, ood_rows })
    }
}

/// Rows of both arrays, which agree in every other dimension, in the order given.
fn mix<D: Dimension + RemoveAxis>(
    one: &CowArray<'_, f32, D>,
    other: &CowArray<'_, f32, D>,
    order: &[usize],
) -> CowArray<'static, f32, D> {
    let both = concatenate(Axis(0), &[one.view(), other.view()]);
    CowArray::from(both.map_or_else(|_| Array::zeros(D::zeros(one.ndim())), |both| both.select(Axis(0), order)))
}

#[cfg(test)]
mod tests {
    use knownset_core::prompts::CLASSES;
    use ndarray::{Array2, array};

    use super::*;
    use crate::input::FitInput;
    use crate::registry::select;
    use crate::words::known;

    fn images(n: usize, slope: f32) -> Features {
        let row = |(row, d): (usize, usize)| if d == 0 { 1.0 } else { slope * (row as f32 + 1.0) };
        Features { embedding: Some(Array2::from_shape_fn((n, 2), row)), ..Features::default() }
    }

    fn fitted(text: &str) -> Fitted {
        let known = known(&[(CLASSES, array![[1.0, 0.0], [0.0, 1.0]])]);
        Fitted::fit(&select(text).unwrap()[0], &FitInput::new(&known, None).unwrap()).unwrap()
    }

    #[test]
    fn a_ratio_keeps_all_of_one_set() {
        let kept = |ratio: &str, id, ood| {
            let (a, b) = Stream { seed: 1, ratio: Some(ratio.parse().unwrap()) }.rows(id, ood);
            assert!(a.is_sorted() && b.is_sorted() && a.iter().all(|&row| row < id) && b.iter().all(|&row| row < ood));
            (a.len(), b.len())
        };
        assert_eq!(kept("1:1", 10, 7), (7, 7));
        assert_eq!(kept("1:100", 50, 40), (1, 40));
        assert_eq!(kept("100:1", 50, 40), (50, 1));
        assert_eq!(kept("2:3", 10, 9), (6, 9));
        assert_eq!(Stream::default().rows(2, 0), (vec![0, 1], vec![]));
    }

    #[test]
    fn ratios_are_written_as_they_are_read() {
        assert_eq!("1:100".parse::<Ratio>().unwrap().to_string(), "1:100");
        for wrong in ["", "1", "0:1", "1:0", "a:b", "1:2:3", "-1:2"] {
            assert!(wrong.parse::<Ratio>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_static_detector_scores_both_sets_as_ever() {
        let (mcm, id, ood) = (fitted("mcm"), images(6, 0.1), images(4, 3.0));
        let all = mcm.score_against(&id, &ood, &Stream::default()).unwrap();
        assert_eq!((all.id, all.ood), (mcm.score(&id).unwrap(), mcm.score(&ood).unwrap()));
        let some = mcm.score_against(&id, &ood, &Stream { seed: 3, ratio: "1:1".parse().ok() }).unwrap();
        assert_eq!(some.id, mcm.score(&id.select(&some.id_rows)).unwrap());
        assert_eq!((some.id_rows.len(), some.ood_rows.len()), (4, 4));
    }

    #[test]
    fn a_stream_detector_gets_both_sets_in_the_order_of_the_seed() {
        let (id, ood) = (images(6, 0.1), images(4, 0.9));
        let oodd = fitted("oodd:batch=2:queue=3:k=1:update_before_score=false");
        let stream = |seed| oodd.score_against(&id, &ood, &Stream { seed, ratio: None }).unwrap();
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
        // The same, made by hand: rows in the order of the permutation, scored in one call, put back.
        let (Some(a), Some(b)) = (&id.embedding, &ood.embedding) else { panic!("no embedding") };
        let both = concatenate![Axis(0), a.view(), b.view()];
        let order = permutation(10, 1);
        let mixed = Features { embedding: Some(both.select(Axis(0), &order)), ..Features::default() };
        let scores = oodd.score(&mixed).unwrap();
        let of = |row: usize| scores[order.iter().position(|&other| other == row).unwrap()];
        let streamed = stream(1);
        assert_eq!(streamed.id, (0..6).map(of).collect::<Vec<f64>>());
        assert_eq!(streamed.ood, (6..10).map(of).collect::<Vec<f64>>());
    }
}
