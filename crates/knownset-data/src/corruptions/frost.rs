//! Frost: ice crystals on the pane.
//!
//! ImageNet-C adds a piece of one of five photographs of frosted panes. They are not ours to ship, so a pane is drawn: a
//! fractal cloud under feathery crystals, given the mean colour and the contrast of one of the five. Crystals shrink as
//! the photographs were shrunk, to 0.2 for 32 px and to 0.3 for 64 px. Neighbouring pixels of a pane differ by 9 to 26 grey
//! levels on average, those of the photographs by 7 to 29. Shares are as published; the ice itself is not, so this kind
//! compares with published figures in strength only.

use image::RgbImage;

use super::fog::plasma;
use super::level::{Level, Published};
use super::plane::{Plane, per_value, size};
use super::{Corruption, Draws, Group};

/// Shares of the image and of the ice, and the factor on the size of crystals.
const FROST: Published<[f64; 3]> = Published {
    cifar: [[1.0, 0.2, 0.2], [1.0, 0.3, 0.2], [0.9, 0.4, 0.2], [0.85, 0.4, 0.2], [0.75, 0.45, 0.2]],
    tiny: [[1.0, 0.3, 0.3], [0.9, 0.4, 0.3], [0.8, 0.45, 0.3], [0.75, 0.5, 0.3], [0.7, 0.55, 0.3]],
    imagenet: [[1.0, 0.4, 1.0], [0.8, 0.6, 1.0], [0.7, 0.7, 1.0], [0.65, 0.7, 1.0], [0.6, 0.75, 1.0]],
};

/// Mean red, green and blue, and the standard deviation of brightness, measured on the published photographs. Two of the
/// five are the same.
const PANES: [([f64; 3], f64); 5] = [
    ([78.0, 149.0, 166.0], 18.0),
    ([201.0, 205.0, 214.0], 22.0),
    ([201.0, 205.0, 214.0], 22.0),
    ([138.0, 153.0, 165.0], 28.9),
    ([112.0, 123.0, 135.0], 43.1),
];

/// Length of a crystal's arm before shrinking, in pixels.
const ARM: f64 = 70.0;

pub(super) static ENTRY: Corruption = Corruption {
    name: "frost",
    group: Group::Weather,
    validation: false,
    doc: "ice crystals on the pane (drawn; ImageNet-C adds photographs)",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let [kept, added, shrink] = FROST.at(level);
        let (mean, deviation) = PANES[draws.below(PANES.len())];
        let (width, height) = size(image);
        let ice = ice(width, height, ARM * shrink, draws);
        let mut ice =
            ice.values.iter().flat_map(|&ice| mean.map(|mean| ((mean + deviation * ice) / 255.0).clamp(0.0, 1.0)));
        per_value(image, |value| kept * value + added * ice.next().unwrap_or(0.0))
    },
};

/// Brightness of a pane, of mean 0 and standard deviation 1.
fn ice(width: usize, height: usize, arm: f64, draws: &mut Draws) -> Plane {
    let cloud = standardised(&plasma(width, height, 1.6, draws));
    let mut crystals = Plane { width, height, values: vec![0.0; width * height] };
    for arm in [arm, arm / 3.0] {
        let count = (4.0 * (width as f64 + arm) * (height as f64 + arm) / (arm * arm)).ceil() as usize;
        for _ in 0..count {
            let x = draws.range(-0.5 * arm, width as f64 + 0.5 * arm);
            let y = draws.range(-0.5 * arm, height as f64 + 0.5 * arm);
            let turn = draws.range(0.0, 60.0);
            // Half a star at most: crystals grow away from what they touch.
            for sixth in 0..=draws.below(3) {
                let angle = turn + 60.0 * sixth as f64 + draws.range(-12.0, 12.0);
                let length = arm * draws.range(0.3, 1.0);
                feather(&mut crystals, (x, y), angle, length, draws);
            }
        }
    }
    // Where feathers cross, ice gets thicker ever more slowly.
    let crystals = standardised(&crystals.map(|thickness| thickness / (1.0 + thickness)));
    let mut cloud = cloud.values.into_iter();
    standardised(&crystals.map(|crystal| crystal + 0.7 * cloud.next().unwrap_or(0.0)))
}

/// A needle with barbs at about 60 degrees, longer near its root; angles in degrees.
fn feather(ice: &mut Plane, root: (f64, f64), angle: f64, length: f64, draws: &mut Draws) {
    let tip = needle(ice, root, angle, length);
    let barbs = 3 + (length / 5.0) as usize;
    for i in 1..barbs {
        let share = i as f64 / barbs as f64;
        let start = (root.0 + share * (tip.0 - root.0), root.1 + share * (tip.1 - root.1));
        for side in [-60.0, 60.0] {
            let barb = length * (1.0 - share) * draws.range(0.15, 0.5);
            needle(ice, start, angle + side + draws.range(-10.0, 10.0), barb);
        }
    }
}

/// A line that thins out towards its tip; returns the tip.
fn needle(ice: &mut Plane, root: (f64, f64), angle: f64, length: f64) -> (f64, f64) {
    const STEP: f64 = 0.5;
    let (sin, cos) = libm::sincos(angle.to_radians());
    let steps = (length / STEP) as usize;
    for i in 0..steps {
        let along = i as f64 * STEP;
        let thickness = STEP * (1.0 - 0.8 * along / length);
        let (x, y) = (root.0 + along * cos, root.1 + along * sin);
        let (left, top) = (x.floor(), y.floor());
        for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (column, row) = (left as i64 + right, top as i64 + down);
            if (0..ice.width as i64).contains(&column) && (0..ice.height as i64).contains(&row) {
                let share = (1.0 - (x - column as f64).abs()) * (1.0 - (y - row as f64).abs());
                ice.values[row as usize * ice.width + column as usize] += thickness * share;
            }
        }
    }
    (root.0 + length * cos, root.1 + length * sin)
}

/// Mean 0 and standard deviation 1; a flat plane only loses its mean.
fn standardised(plane: &Plane) -> Plane {
    let n = plane.values.len() as f64;
    let mean = plane.values.iter().sum::<f64>() / n;
    let variance = plane.values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / n;
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
    plane.map(|value| (value - mean) * scale)
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn black_shows_the_pane_alone() {
        let black = RgbImage::new(64, 64);
        for seed in 0..20 {
            let frosted = ENTRY.apply(&black, Severity::ALL[4], seed);
            let mean = |c: usize| frosted.pixels().map(|pixel| f64::from(pixel[c])).sum::<f64>() / 4096.0;
            // A little less than 0.55 of the pane's mean: values are clipped, then cut.
            let fits = |(pane, _): &([f64; 3], f64)| (0..3).all(|c| (-2.5..0.5).contains(&(mean(c) - 0.55 * pane[c])));
            assert!(PANES.iter().any(fits), "{:?}", [0, 1, 2].map(mean));
        }
    }

    #[test]
    fn a_needle_ends_at_its_tip() {
        let mut ice = Plane { width: 20, height: 5, values: vec![0.0; 100] };
        let tip = needle(&mut ice, (2.0, 2.0), 0.0, 10.0);
        assert_eq!(tip, (12.0, 2.0));
        assert!(ice.at(2, 2) > ice.at(10, 2) && ice.at(10, 2) > 0.0);
        assert!(ice.at(13, 2) == 0.0 && ice.at(5, 1) == 0.0);
    }
}
