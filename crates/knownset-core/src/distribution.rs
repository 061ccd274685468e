//! What many numbers look like in a few.

use serde::Serialize;

/// A summary of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, divided by n: they are all there are, not a sample of more.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The 0.05-quantile. Quantiles are linear between order statistics, as NumPy's.
    pub q05: f64,
    /// The 0.25-quantile.
    pub q25: f64,
    /// The median.
    pub median: f64,
    /// The 0.75-quantile.
    pub q75: f64,
    /// The 0.95-quantile.
    pub q95: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    /// Summarises finite numbers; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len();
        // Summed in ascending order: the result does not depend on the order given.
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64;
        let quantile = |q: f64| {
            let position = q * (n - 1) as f64;
            let (low, share) = (sorted[position.floor() as usize], position.fract());
            let high = sorted[(position.floor() as usize + 1).min(n - 1)];
            low + share * (high - low)
        };
        Some(Self {
            n,
            mean,
            std: variance.sqrt(),
            min,
            q05: quantile(0.05),
            q25: quantile(0.25),
            median: quantile(0.5),
            q75: quantile(0.75),
            q95: quantile(0.95),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let found = Distribution::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((found.n, found.mean, found.min, found.max), (4, 2.5, 1.0, 4.0));
        // Deviations −1.5, −0.5, 0.5, 1.5: the mean square is 1.25.
        assert!((found.std - 1.25_f64.sqrt()).abs() < 1e-15);
        // Positions 0.15, 0.75, 1.5, 2.25 and 2.85 among the order statistics.
        let quantiles = [found.q05, found.q25, found.median, found.q75, found.q95];
        for (quantile, expected) in quantiles.iter().zip([1.15, 1.75, 2.5, 3.25, 3.85]) {
            assert!((quantile - expected).abs() < 1e-12, "{quantile} {expected}");
        }
    }

    #[test]
    fn one_number_and_none() {
        let one = Distribution::of(&[7.0]).unwrap();
        assert_eq!((one.mean, one.std, one.q05, one.q95), (7.0, 0.0, 7.0, 7.0));
        assert_eq!(Distribution::of(&[]), None);
    }
}
