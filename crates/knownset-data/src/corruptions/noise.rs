//! Noise of a sensor: Gaussian, shot, impulse and speckle.

use image::RgbImage;

use super::level::{Level, Published};
use super::plane::per_value;
use super::{Corruption, Draws, Group};

/// Standard deviation, of a range of 0–1.
const GAUSSIAN_SCALE: Published<f64> = Published {
    cifar: [0.04, 0.06, 0.08, 0.09, 0.10],
    tiny: [0.04, 0.08, 0.12, 0.15, 0.18],
    imagenet: [0.08, 0.12, 0.18, 0.26, 0.38],
};

/// Photons that make full brightness.
const SHOT_PHOTONS: Published<f64> = Published {
    cifar: [500.0, 250.0, 100.0, 75.0, 50.0],
    tiny: [250.0, 100.0, 50.0, 30.0, 15.0],
    imagenet: [60.0, 25.0, 12.0, 5.0, 3.0],
};

/// Share of values replaced.
const IMPULSE_SHARE: Published<f64> = Published {
    cifar: [0.01, 0.02, 0.03, 0.05, 0.07],
    tiny: [0.01, 0.02, 0.05, 0.08, 0.14],
    imagenet: [0.03, 0.06, 0.09, 0.17, 0.27],
};

/// Standard deviation, as a share of the value.
const SPECKLE_SCALE: Published<f64> = Published {
    cifar: [0.06, 0.1, 0.12, 0.16, 0.2],
    tiny: [0.15, 0.2, 0.25, 0.3, 0.35],
    imagenet: [0.15, 0.2, 0.35, 0.45, 0.6],
};

pub(super) static GAUSSIAN: Corruption = Corruption {
    name: "gaussian-noise",
    group: Group::Noise,
    validation: false,
    doc: "normal noise on every value, as in low light",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let scale = GAUSSIAN_SCALE.at(level);
        per_value(image, |value| value + scale * draws.normal())
    },
};

pub(super) static SHOT: Corruption = Corruption {
    name: "shot-noise",
    group: Group::Noise,
    validation: false,
    doc: "Poisson noise: light is made of photons",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let photons = SHOT_PHOTONS.at(level);
        // At most 256 different values: one table of cumulative probabilities for each that occurs.
        let mut tables: [Option<Vec<f64>>; 256] = [const { None }; 256];
        per_value(image, |value| {
            let table = &mut tables[(value * 255.0).round() as usize];
            let cumulative = table.get_or_insert_with(|| cumulative_poisson(value * photons));
            let unit = draws.unit();
            cumulative.partition_point(|&share| share < unit) as f64 / photons
        })
    },
};

pub(super) static IMPULSE: Corruption = Corruption {
    name: "impulse-noise",
    group: Group::Noise,
    validation: false,
    doc: "values replaced by black or white, as by bit errors",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let share = IMPULSE_SHARE.at(level);
        // Which values, then which colour, as scikit-image draws them.
        let replaced: Vec<bool> = image.iter().map(|_| draws.unit() <= share).collect();
        let mut replaced = replaced.into_iter();
        per_value(image, |value| {
            let white = draws.unit() <= 0.5;
            if replaced.next() == Some(true) { f64::from(u8::from(white)) } else { value }
        })
    },
};

pub(super) static SPECKLE: Corruption = Corruption {
    name: "speckle-noise",
    group: Group::Noise,
    validation: true,
    doc: "normal noise in proportion to brightness",
    render: |image: &RgbImage, level: Level, draws: &mut Draws| {
        let scale = SPECKLE_SCALE.at(level);
        per_value(image, |value| value + value * scale * draws.normal())
    },
};

/// Shares of counts up to 0, 1, 2, … of a Poisson distribution of that mean (up to 700), as far as they grow in f64.
fn cumulative_poisson(mean: f64) -> Vec<f64> {
    let mut share = libm::exp(-mean);
    let mut cumulative = vec![share];
    let mut total = share;
    for count in 1.. {
        share *= mean / f64::from(count);
        if f64::from(count) > mean && total + share == total {
            break;
        }
        total += share;
        cumulative.push(total);
    }
    cumulative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_tables_have_their_mean_and_variance() {
        assert_eq!(cumulative_poisson(0.0), [1.0]);
        let two = cumulative_poisson(2.0);
        for (ours, by_hand) in two.iter().zip([1.0, 3.0, 5.0, 19.0 / 3.0]) {
            assert!((ours - by_hand * (-2.0_f64).exp()).abs() < 1e-15);
        }
        for mean in [0.3, 15.0, 500.0] {
            let table = cumulative_poisson(mean);
            assert!((table[table.len() - 1] - 1.0).abs() < 1e-12, "{mean}");
            let shares = (0..table.len()).map(|k| (k as f64, table[k] - if k == 0 { 0.0 } else { table[k - 1] }));
            let variance: f64 = shares.map(|(k, share)| share * (k - mean) * (k - mean)).sum();
            assert!((variance - mean).abs() < 1e-8 * mean, "{mean}: {variance}");
        }
    }
}
