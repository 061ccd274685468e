//! Gaussian blur, and the filter that other corruptions use.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{Edge, Plane, channels, nearest, to_image};
use super::{Corruption, Draws, Group};

/// Standard deviation in pixels.
const SIGMA: Published<f64> = Published {
    cifar: [0.4, 0.6, 0.7, 0.8, 1.0],
    tiny: [0.5, 0.75, 1.0, 1.25, 1.5],
    imagenet: [1.0, 2.0, 3.0, 4.0, 6.0],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "gaussian-blur",
    group: Group::Blur,
    validation: true,
    doc: "a bell-shaped blur",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        to_image(&channels(image).map(|plane| blur(&plane, SIGMA.at(level), TRUNCATE, nearest)))
    },
};

/// Where scikit-image cuts a bell: this many standard deviations from its middle.
pub(super) const TRUNCATE: f64 = 4.0;

/// Convolution with a bell cut at `truncate` standard deviations, rows and columns one after the other.
///
/// Taps that fall outside are folded onto the pixels they read, so a bell wider than the image costs no more than the
/// image itself.
pub(super) fn blur(plane: &Plane, sigma: f64, truncate: f64, edge: Edge) -> Plane {
    let radius = (truncate * sigma + 0.5) as usize;
    if radius == 0 {
        return plane.clone();
    }
    let mut half: Vec<f64> = (0..=radius).map(|i| libm::exp(-0.5 / (sigma * sigma) * (i * i) as f64)).collect();
    let total = half[0] + 2.0 * half[1..].iter().sum::<f64>();
    for weight in &mut half {
        *weight /= total;
    }

    let (width, height) = (plane.width, plane.height);
    let mut columns = Plane { values: Vec::with_capacity(plane.values.len()), ..*plane };
    for y in 0..height {
        let (first, weights) = fold(&half, y, height, edge);
        let mut row = vec![0.0; width];
        for (source, weight) in plane.values[first * width..].chunks_exact(width).zip(&weights) {
            for (sum, value) in row.iter_mut().zip(source) {
                *sum += weight * value;
            }
        }
        columns.values.extend(row);
    }
    let mut both = columns.clone();
    for x in 0..width {
        let (first, weights) = fold(&half, x, width, edge);
        for (row, source) in both.values.chunks_exact_mut(width).zip(columns.values.chunks_exact(width)) {
            row[x] = weights.iter().zip(&source[first..]).map(|(weight, value)| weight * value).sum();
        }
    }
    both
}

/// The weights of the bell around `at` on the `n` pixels there are, from the first that has any.
fn fold(half: &[f64], at: usize, n: usize, edge: Edge) -> (usize, Vec<f64>) {
    let radius = half.len() - 1;
    let first = at.saturating_sub(radius);
    let mut weights = vec![0.0; (at + radius).min(n - 1) - first + 1];
    for tap in 0..=2 * radius {
        let pixel = edge((at + tap) as i64 - radius as i64, n);
        weights[pixel - first] += half[tap.abs_diff(radius)];
    }
    (first, weights)
}

#[cfg(test)]
mod tests {
    use super::super::plane::reflect;
    use super::*;

    #[test]
    fn a_dot_becomes_a_bell() {
        let dot = Plane::from_fn(9, 9, |x, y| f64::from(u8::from(x == 4 && y == 4)));
        let bell = blur(&dot, 1.0, TRUNCATE, nearest);
        // exp(−0.5 r²) / (1 + 2 (e^−0.5 + e^−2 + e^−4.5 + e^−8))², by hand.
        assert!((bell.at(4, 4) - 0.159_155_9).abs() < 1e-6, "{}", bell.at(4, 4));
        assert!((bell.at(5, 5) - 0.159_155_9 * (-1.0_f64).exp()).abs() < 1e-6);
        assert!((bell.values.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_flat_plane_stays_flat_however_wide_the_bell() {
        let flat = Plane::from_fn(5, 3, |_, _| 0.7);
        for edge in [nearest as Edge, reflect] {
            for sigma in [0.1, 1.0, 3.0, 50.0] {
                assert!(blur(&flat, sigma, 3.0, edge).values.iter().all(|value| (value - 0.7).abs() < 1e-12));
            }
        }
    }
}
