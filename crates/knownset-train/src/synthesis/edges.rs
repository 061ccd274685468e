//! Which texts of a class lie at its edge: those furthest from the class's mean.

use std::fmt;
use std::str::FromStr;

use knownset_core::linalg::{project, whitening};
use ndarray::{Array1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// How near a text is to the mean μ of its class; the higher, the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nearness {
    /// −(t − μ)ᵀ S⁺ (t − μ), S the class's own covariance; FodFoM's choice for CIFAR-10.
    Mahalanobis,
    /// cos(t, μ); FodFoM's choice for CIFAR-100 and ImageNet-100, whose classes have fewer texts than dimensions.
    Cosine,
    /// −‖t − μ‖.
    Euclidean,
}

impl Nearness {
    const ALL: [(&'static str, Self); 3] =
        [("mahalanobis", Self::Mahalanobis), ("cosine", Self::Cosine), ("euclidean", Self::Euclidean)];
}

impl FromStr for Nearness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|&(name, _)| name == text).map(|(_, nearness)| nearness);
        found.ok_or_else(|| format!("{text:?} is none of {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}

impl fmt::Display for Nearness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, nearness)| nearness == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Why a class has no edge.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// A mean of nothing, or a covariance of one.
    #[error("a class needs at least two texts to have an edge, and this one has {texts}")]
    TooFew {
        /// Texts there are.
        texts: usize,
    },
    /// A share that is none.
    #[error("the edge is a share of the texts above 0 and at most 100 percent, not {percent}")]
    Percent {
        /// What was asked for.
        percent: f64,
    },
    /// A text that is no number.
    #[error("the features of text {row} are not finite")]
    NotFinite {
        /// Which one.
        row: usize,
    },
    /// As many dimensions as so many texts can span: they are all equally far from their mean, whatever they say.
    #[error(
        "{texts} texts of {width} numbers are all equally far from their mean by Mahalanobis; take cosine or euclidean"
    )]
    AllEqual {
        /// Texts there are.
        texts: usize,
        /// Numbers of a text.
        width: usize,
    },
    /// No eigenvalues.
    #[error("the covariance of the texts has no decomposition")]
    NoConvergence,
}

/// The edge of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges {
    /// The class's mean `[d]`.
    pub mean: Array1<f64>,
    /// The rows at the edge, in their order, and how near each is to the mean.
    pub rows: Vec<(usize, f64)>,
}

/// The rows whose nearness is at most the `percent`-th percentile of the class's, as NumPy interpolates percentiles;
/// `texts` `[n, d]` are of one class. Equal nearness is all in or all out.
pub fn edges(texts: ArrayView2<'_, f32>, nearness: Nearness, percent: f64) -> Result<Edges, EdgeError> {
    let count = texts.nrows();
    if count < 2 {
        return Err(EdgeError::TooFew { texts: count });
    }
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(EdgeError::Percent { percent });
    }
    if let Some(row) = texts.outer_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
        return Err(EdgeError::NotFinite { row });
    }
    let texts = texts.mapv(f64::from);
    let mean = texts.sum_axis(Axis(0)) / count as f64;
    let near: Array1<f64> = match nearness {
        Nearness::Mahalanobis => {
            let centred = &texts - &mean;
            let covariance = centred.t().dot(&centred) / (count - 1) as f64;
            let white = whitening(&covariance).map_err(|_| EdgeError::NoConvergence)?;
            if white.ncols() + 1 == count {
                return Err(EdgeError::AllEqual { texts: count, width: texts.ncols() });
            }
            project(centred.view(), white.view()).map_axis(Axis(1), |row| -row.dot(&row))
        }
        Nearness::Cosine => {
            let length = mean.dot(&mean).sqrt();
            texts.map_axis(Axis(1), |row| row.dot(&mean) / (row.dot(&row).sqrt() * length))
        }
        Nearness::Euclidean => (&texts - &mean).map_axis(Axis(1), |row| -row.dot(&row).sqrt()),
    };
    let threshold = percentile(&near, percent);
    let rows = near.iter().copied().enumerate().filter(|&(_, near)| near <= threshold).collect();
    Ok(Edges { mean, rows })
}

/// Between the two values around the place (n − 1) · percent / 100 of the sorted ones, in proportion.
fn percentile(values: &Array1<f64>, percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * percent / 100.0;
    let (below, share) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * share
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn rows(texts: &Array2<f32>, nearness: Nearness, percent: f64) -> Vec<usize> {
        edges(texts.view(), nearness, percent).unwrap().rows.into_iter().map(|(row, _)| row).collect()
    }

    /// Mean (2, 0): lengths of the differences are 2, 1, 1, 2; across the line two lie off it.
    #[test]
    fn the_furthest_by_hand() {
        let texts = array![[0.0_f32, 0.0], [1.0, 0.0], [3.0, 0.0], [4.0, 0.0]];
        assert_eq!(rows(&texts, Nearness::Euclidean, 40.0), [0, 3]);
        // A percentile between the two furthest and the two nearest takes only what lies at or below it.
        assert_eq!(rows(&texts, Nearness::Euclidean, 100.0), [0, 1, 2, 3]);
        // Along one line the covariance has rank one, and its pseudo-inverse the same order.
        assert_eq!(rows(&texts, Nearness::Mahalanobis, 40.0), [0, 3]);
        // Stretched tenfold along x, a small step along y is the furthest.
        let stretched = array![[-10.0_f32, 0.0], [10.0, 0.0], [-10.0, 0.1], [10.0, -0.1], [0.0, 0.9], [0.0, -0.9]];
        assert_eq!(rows(&stretched, Nearness::Euclidean, 60.0), [0, 1, 2, 3]);
        assert_eq!(rows(&stretched, Nearness::Mahalanobis, 20.0), [4, 5]);
        let found = edges(texts.view(), Nearness::Euclidean, 40.0).unwrap();
        assert_eq!(found, Edges { mean: array![2.0, 0.0], rows: vec![(0, -2.0), (3, -2.0)] });
        let turned = array![[1.0_f32, 0.0], [2.0, 0.1], [9.0, 0.0], [0.0, 1.0]];
        assert_eq!(rows(&turned, Nearness::Cosine, 20.0), [3]);
    }

    #[test]
    fn a_fifth_of_the_texts_is_a_fifth() {
        let texts = Array2::from_shape_fn((1000, 3), |(row, column)| ((row * 7919 + column * 31) % 997) as f32);
        for nearness in Nearness::ALL.map(|(_, nearness)| nearness) {
            let found = edges(texts.view(), nearness, 20.0).unwrap().rows.len();
            assert!((200..=204).contains(&found), "{nearness}: {found}");
        }
    }

    #[test]
    fn what_has_no_edge_is_refused() {
        let two = array![[0.0_f32], [1.0]];
        assert_eq!(edges(two.slice(ndarray::s![..1, ..]), Nearness::Cosine, 20.0), Err(EdgeError::TooFew { texts: 1 }));
        assert_eq!(edges(two.view(), Nearness::Cosine, 0.0), Err(EdgeError::Percent { percent: 0.0 }));
        assert!(matches!(edges(two.view(), Nearness::Cosine, f64::NAN), Err(EdgeError::Percent { .. })));
        let apart = array![[0.0_f32, 0.0, 1.0], [5.0, 0.0, 2.0], [0.0, 3.0, 1.0]];
        let expected = EdgeError::AllEqual { texts: 3, width: 3 };
        assert_eq!(edges(apart.view(), Nearness::Mahalanobis, 20.0), Err(expected));
        assert_eq!(rows(&apart, Nearness::Euclidean, 20.0), [1]);
        let odd = array![[0.0_f32], [f32::INFINITY]];
        assert_eq!(edges(odd.view(), Nearness::Cosine, 20.0), Err(EdgeError::NotFinite { row: 1 }));
    }
}
