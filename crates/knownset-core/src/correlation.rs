//! Whether two numbers rise together.

/// Spearman's rank correlation of pairs, −1 to 1: Pearson's correlation of the ranks, equal values sharing the mean of
/// their ranks. `None` where it is not defined: fewer than two pairs, or one side all equal.
///
/// # Panics
/// If the sides have different lengths.
pub fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    assert_eq!(left.len(), right.len(), "pairs");
    let (left, right) = (ranks(left), ranks(right));
    let middle = f64::midpoint(left.len() as f64, 1.0);
    let (mut product, mut squares) = (0.0, [0.0, 0.0]);
    for (left, right) in left.iter().zip(&right) {
        let (left, right) = (left - middle, right - middle);
        product += left * right;
        squares[0] += left * left;
        squares[1] += right * right;
    }
    let scale = squares[0].sqrt() * squares[1].sqrt();
    (scale > 0.0).then(|| product / scale)
}

/// Ranks from 1, equal values sharing their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in group {
            ranks[index] = before as f64 + f64::midpoint(group.len() as f64, 1.0);
        }
        before += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }

    #[test]
    fn by_hand() {
        // No ties: 1 − 6 Σd² / (n (n² − 1)) with d = 0, 1, 1, 0.
        let found = spearman(&[1.0, 2.0, 3.0, 4.0], &[10.0, 30.0, 20.0, 40.0]).unwrap();
        assert!((found - 0.8).abs() < 1e-15);
        // Against two classes: ranks about 2.5 are −1.5, −0.5, 0.5, 1.5 and −1, 1, −1, 1: 2 / √(5 · 4).
        let found = spearman(&[0.1, 0.2, 0.3, 0.4], &[0.0, 1.0, 0.0, 1.0]).unwrap();
        assert!((found - 2.0 / 20.0_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn undefined_where_nothing_varies() {
        assert_eq!(spearman(&[], &[]), None);
        assert_eq!(spearman(&[1.0], &[2.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0]), None);
    }

    proptest! {
        #[test]
        fn only_the_order_counts(pairs in prop::collection::vec((-5_i32..5, -5_i32..5), 2..40)) {
            let left: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.0)).collect();
            let right: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1)).collect();
            let stretched: Vec<f64> = left.iter().map(|value| value.powi(3) + 7.0).collect();
            let turned: Vec<f64> = left.iter().map(|value| -value).collect();
            let found = spearman(&left, &right);
            prop_assert_eq!(found, spearman(&stretched, &right));
            if let (Some(found), Some(turned)) = (found, spearman(&turned, &right)) {
                prop_assert!((found + turned).abs() < 1e-12 && found.abs() < 1.0 + 1e-12);
            }
        }
    }
}
