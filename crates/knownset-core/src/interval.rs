//! How far a mean of a few runs can be trusted.

use serde::Serialize;

/// A mean and its two-sided 95 % confidence interval by Student's t with n − 1 degrees of freedom.
///
/// It takes the runs as a sample of a normal distribution. With three of them t is 4.303: an interval that excludes 0
/// then says a lot, one that does not says little.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// How many values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, divided by n − 1; 0 for one value.
    pub std: f64,
    /// The interval's lower and upper end; infinite for one value.
    pub ci95: [f64; 2],
}

impl Interval {
    /// The interval of the mean of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let half = match n {
            0 => return None,
            1 => return Some(Self { n, mean, std: 0.0, ci95: [f64::NEG_INFINITY, f64::INFINITY] }),
            _ => quantile(n - 1) / (n as f64).sqrt(),
        };
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = (squares / (n - 1) as f64).sqrt();
        Some(Self { n, mean, std, ci95: [mean - half * std, mean + half * std] })
    }

    /// The interval of the mean of `after − before`, pair by pair; `None` if there are none or not as many of each.
    pub fn of_differences(before: &[f64], after: &[f64]) -> Option<Self> {
        let differences: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        if before.len() == after.len() { Self::of(&differences) } else { None }
    }

    /// Whether the interval lies on one side of 0.
    pub fn excludes_zero(&self) -> bool {
        self.ci95[0] > 0.0 || self.ci95[1] < 0.0
    }
}

/// The 0.975-quantile of Student's t.
fn quantile(degrees: usize) -> f64 {
    /// For 1 to 30 degrees of freedom, to three places.
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    /// That of the normal distribution.
    const Z: f64 = 1.959_964;
    let n = degrees as f64;
    // Beyond the table: the first two terms of the Cornish–Fisher expansion, right to 2e-4.
    TABLE.get(degrees.wrapping_sub(1)).copied().unwrap_or_else(|| {
        Z + (Z.powi(3) + Z) / (4.0 * n) + (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * n * n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1, 2, 3: mean 2, deviation 1, half-width 4.303 / √3.
    #[test]
    fn by_hand() {
        let found = Interval::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((found.n, found.mean, found.std), (3, 2.0, 1.0));
        assert!((found.ci95[1] - 2.0 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-12);
        assert!(!found.excludes_zero());
        let paired = Interval::of_differences(&[1.0, 5.0, 9.0], &[2.0, 6.1, 9.9]).unwrap();
        assert!((paired.mean - 1.0).abs() < 1e-12 && paired.excludes_zero());
        assert_eq!(Interval::of_differences(&[1.0], &[]), None);
        assert_eq!(Interval::of(&[]), None);
        assert_eq!(Interval::of(&[4.0]).unwrap().ci95, [f64::NEG_INFINITY, f64::INFINITY]);
    }

    #[test]
    fn the_quantile_goes_on_where_the_table_ends() {
        assert!((quantile(31) - 2.0395).abs() < 5e-4 && (quantile(60) - 2.0003).abs() < 5e-4);
        assert!((quantile(1_000_000) - 1.95996).abs() < 1e-4);
        assert!((1..200).all(|degrees| quantile(degrees) > quantile(degrees + 1)));
    }
}
