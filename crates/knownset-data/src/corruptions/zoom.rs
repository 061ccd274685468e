//! Zoom blur: the mean of the image and its enlargements about the middle.
//!
//! The published code crops squares; here each side is cropped by itself, so that any shape works.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::{Plane, channels, to_image};
use super::{Corruption, Draws, Group};

/// Enlargements 1, 1 + step, 1 + 2 step, …: the step, and how many.
const ZOOMS: Published<(f64, usize)> = Published {
    cifar: [(0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)],
    tiny: [(0.01, 7), (0.01, 12), (0.01, 16), (0.01, 21), (0.01, 26)],
    imagenet: [(0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)],
};

pub(super) static ENTRY: Corruption = Corruption {
    name: "zoom-blur",
    group: Group::Blur,
    validation: false,
    doc: "the camera moved towards the scene",
    render: |image: &RgbImage, level: Level, _: &mut Draws| {
        let (step, count) = ZOOMS.at(level);
        // The difference of neighbours in NumPy's arange, whose last bit decides how some sides are rounded up.
        let step = (1.0 + step) - 1.0;
        to_image(&channels(image).map(|plane| {
            let mut sum = plane.clone();
            for i in 0..count {
                let zoomed = clipped_zoom(&plane, 1.0 + i as f64 * step);
                for (sum, value) in sum.values.iter_mut().zip(zoomed.values) {
                    *sum += value;
                }
            }
            sum.map(|value| value / (count + 1) as f64)
        }))
    },
};

/// The middle of the plane, enlarged to the size of the whole; between pixels, linearly.
pub(super) fn clipped_zoom(plane: &Plane, factor: f64) -> Plane {
    let columns = positions(plane.width, factor);
    let rows = positions(plane.height, factor);
    Plane::from_fn(plane.width, plane.height, |x, y| {
        let ((left, right, across), (above, below, down)) = (columns[x], rows[y]);
        let upper = plane.at(left, above) * (1.0 - across) + plane.at(right, above) * across;
        let lower = plane.at(left, below) * (1.0 - across) + plane.at(right, below) * across;
        upper * (1.0 - down) + lower * down
    })
}

/// For each position of a side of `n` pixels: the pixels before and after it in the original, and how far it is from one
/// to the other.
fn positions(n: usize, factor: f64) -> Vec<(usize, usize, f64)> {
    let crop = (n as f64 / factor).ceil() as usize;
    let start = (n - crop) / 2;
    let zoomed = (crop as f64 * factor).round_ties_even() as usize;
    let trim = (zoomed - n) / 2;
    // The corners of the crop stay where they are.
    let scale = if zoomed > 1 { (crop - 1) as f64 / (zoomed - 1) as f64 } else { 0.0 };
    let position = |at: usize| {
        let at = (at + trim) as f64 * scale;
        let before = (at as usize).min(crop - 1);
        (start + before, start + (before + 1).min(crop - 1), at - before as f64)
    };
    (0..n).map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zooms_about_the_middle() {
        let ramp = Plane::from_fn(8, 1, |x, _| x as f64);
        assert_eq!(clipped_zoom(&ramp, 1.0).values, ramp.values);
        // Pixels 2 to 5 become eight, corners kept: steps of 3/7.
        let twice = clipped_zoom(&ramp, 2.0);
        for (x, value) in twice.values.iter().enumerate() {
            assert!((value - (2.0 + 3.0 / 7.0 * x as f64)).abs() < 1e-12, "{x}: {value}");
        }
    }

    #[test]
    fn no_side_and_no_factor_reads_outside() {
        for n in 1..300 {
            for percent in 100..=450 {
                let positions = positions(n, f64::from(percent) / 100.0);
                assert!(positions.iter().all(|&(before, after, _)| before < n && after < n));
            }
        }
    }
}
