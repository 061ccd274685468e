//! Shares of a run, for several machines.

use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

/// The I-th of N shares, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if 1 <= index && index <= count => Ok(Self { index, count }),
            _ => Err("expected I/N with I from 1 to N, such as 1/4".into()),
        }
    }
}

/// The rows of a share, all of them where there is none.
pub(crate) fn share(rows: usize, shard: Option<Shard>) -> Range<usize> {
    shard.map_or(0..rows, |Shard { index, count }| rows * (index - 1) / count..rows * index / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_one() {
        assert_eq!("4/4".parse(), Ok(Shard { index: 4, count: 4 }));
        for text in ["0/4", "5/4", "x", "1/", "-1/4"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_the_whole_without_gaps() {
        let shares: Vec<Range<usize>> = (1..=3).map(|index| share(10, Some(Shard { index, count: 3 }))).collect();
        assert_eq!(shares, [0..3, 3..6, 6..10]);
        assert_eq!((share(10, None), share(1, Some(Shard { index: 1, count: 2 }))), (0..10, 0..0));
    }
}
