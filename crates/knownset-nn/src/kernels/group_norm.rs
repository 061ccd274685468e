//! Group normalisation (Wu & He 2018, <https://arxiv.org/abs/1803.08494>), then perhaps SiLU, and its gradients.
//!
//! Values are `[n, pixels, channels]`, the channels a multiple of 16; a group is a number of channels side by side in one
//! image. Sums run in f32 over blocks of a fixed size and in f64 over blocks, so that the number of threads changes no
//! bit. Every image is worked on alone, so that its neighbours change none either.

#![expect(
    clippy::inline_always,
    reason = "what runs under a processor's features must be inlined where they are known"
)]

use pulp::Arch;
use rayon::prelude::*;

use super::batch_norm::{LANES, Lane, block, lanes, moments, sums};

/// y = γ (x − μ) / √(σ² + ε) + β with an image's and a group's μ and σ², then perhaps y ← y / (1 + e^−y).
#[derive(Clone, Copy)]
pub(crate) struct GroupNorm<'a> {
    pub(crate) groups: usize,
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) epsilon: f64,
    pub(crate) silu: bool,
}

/// What a normalisation found of an image: of each channel its group's.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    mean: Vec<f32>,
    /// 1 / √(σ² + ε).
    inverse: Vec<f32>,
}

/// What a normalisation gives back: the gradients of its input, of γ and of β.
pub(crate) struct Gradients {
    pub(crate) input: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

impl GroupNorm<'_> {
    /// Images of `size` values each, normalised, and what was found of them.
    pub(crate) fn forward(&self, values: &[f32], size: usize) -> (Vec<f32>, Vec<Moments>) {
        let mut result = vec![0.0; values.len()];
        let pairs = result.par_chunks_exact_mut(size).zip(values.par_chunks_exact(size));
        let moments = pairs
            .map(|(result, values)| {
                let moments = self.moments(values);
                Arch::new().dispatch(|| self.write(values, &moments, result));
                moments
            })
            .collect();
        (result, moments)
    }

    /// The gradients, given those of the result. `values` went in and `moments` came out.
    pub(crate) fn backward(&self, values: &[f32], moments: &[Moments], gradient: &[f32]) -> Gradients {
        let size = values.len() / moments.len().max(1);
        let mut input = vec![0.0; values.len()];
        let images = (input.par_chunks_exact_mut(size), values.par_chunks_exact(size), gradient.par_chunks_exact(size));
        let sums: Vec<[Vec<f64>; 2]> = images
            .into_par_iter()
            .zip(moments)
            .map(|((input, values, gradient), moments)| {
                Arch::new().dispatch(|| self.activation_gradient(values, moments, gradient, input));
                let sums = self.sums(values, moments, input);
                let shares = self.shares(&sums, size / self.gamma.len());
                Arch::new().dispatch(|| self.input_gradient(values, moments, &shares, input));
                sums
            })
            .collect();
        let total = |which: usize| -> Vec<f32> {
            let sum = |channel| sums.iter().map(|image| image[which][channel]).sum::<f64>() as f32;
            (0..self.gamma.len()).map(sum).collect()
        };
        Gradients { input, gamma: total(1), beta: total(0) }
    }

    /// Channels of a group.
    fn width(&self) -> usize {
        self.gamma.len() / self.groups
    }

    fn moments(&self, values: &[f32]) -> Moments {
        let (means, variances) = moments(values, self.gamma.len());
        let (mut mean, mut inverse) = (Vec::with_capacity(means.len()), Vec::with_capacity(means.len()));
        let width = self.width();
        for (means, variances) in means.chunks_exact(width).zip(variances.chunks_exact(width)) {
            let of_group = means.iter().map(|&mean| f64::from(mean)).sum::<f64>() / width as f64;
            let apart = |mean: f32| (f64::from(mean) - of_group).powi(2);
            let spread = means.iter().zip(variances).map(|(&mean, &variance)| f64::from(variance) + apart(mean));
            let variance = spread.sum::<f64>() / width as f64;
            mean.extend(std::iter::repeat_n(of_group as f32, width));
            inverse.extend(std::iter::repeat_n((1.0 / (variance + self.epsilon).sqrt()) as f32, width));
        }
        Moments { mean, inverse }
    }

    #[inline(always)]
    fn write(&self, values: &[f32], moments: &Moments, result: &mut [f32]) {
        let (scale, shift) = self.line(moments);
        let (scale, shift, panels) = (lanes(&scale), lanes(&shift), self.gamma.len() / LANES);
        for (index, (result, values)) in result.as_chunks_mut().0.iter_mut().zip(lanes(values)).enumerate() {
            let line = at(values, &scale[index % panels], &shift[index % panels]);
            *result = if self.silu { times(&line, &sigmoid(&line)) } else { line };
        }
    }

    /// Writes the gradients before the activation.
    #[inline(always)]
    fn activation_gradient(&self, values: &[f32], moments: &Moments, gradient: &[f32], before: &mut [f32]) {
        if !self.silu {
            before.copy_from_slice(gradient);
            return;
        }
        let (scale, shift) = self.line(moments);
        let (scale, shift, panels) = (lanes(&scale), lanes(&shift), self.gamma.len() / LANES);
        let pairs = lanes(values).iter().zip(lanes(gradient));
        for (index, (before, (values, gradient))) in before.as_chunks_mut().0.iter_mut().zip(pairs).enumerate() {
            let line = at(values, &scale[index % panels], &shift[index % panels]);
            let open = sigmoid(&line);
            // Of y σ(y): σ(y) (1 + y (1 − σ(y))).
            let slope: Lane = std::array::from_fn(|lane| open[lane] * (1.0 + line[lane] * (1.0 - open[lane])));
            *before = times(gradient, &slope);
        }
    }

    /// γ (x − μ) / √… + β as a line: its slope and its value at 0.
    fn line(&self, Moments { mean, inverse }: &Moments) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> = self.gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        let shift = (0..scale.len()).map(|channel| self.beta[channel] - mean[channel] * scale[channel]).collect();
        (scale, shift)
    }

    /// Each channel's sum of gradients, and of their products with normal values.
    fn sums(&self, values: &[f32], Moments { mean, inverse }: &Moments, gradient: &[f32]) -> [Vec<f64>; 2] {
        let channels = self.gamma.len();
        let (mean, inverse) = (lanes(mean), lanes(inverse));
        let mut all = [vec![0.0; channels], vec![0.0; channels]];
        for (values, gradient) in values.chunks(block(channels)).zip(gradient.chunks(block(channels))) {
            let (count, values, gradient) = (values.len(), lanes(values), lanes(gradient));
            let found = Arch::new().dispatch(|| {
                sums(count, channels, |panel, index| {
                    let normal = normal(&values[index], &mean[panel], &inverse[panel]);
                    [gradient[index], times(&gradient[index], &normal)]
                })
            });
            for (all, found) in all.iter_mut().zip(found) {
                all.iter_mut().zip(found).for_each(|(all, found)| *all += f64::from(found));
            }
        }
        all
    }

    /// What every value of a channel takes from its gradient: means over its group, the second times the normal value.
    fn shares(&self, [gradients, products]: &[Vec<f64>; 2], pixels: usize) -> [Vec<f32>; 2] {
        let width = self.width();
        let values = (pixels * width) as f64;
        let mean = |sums: &[f64]| -> Vec<f32> {
            let weighted: Vec<f64> = sums.iter().zip(self.gamma).map(|(sum, &gamma)| sum * f64::from(gamma)).collect();
            let groups = weighted.chunks_exact(width).map(|group| (group.iter().sum::<f64>() / values) as f32);
            groups.flat_map(|mean| std::iter::repeat_n(mean, width)).collect()
        };
        [mean(gradients), mean(products)]
    }

    /// Turns gradients before the activation into those of the input.
    #[inline(always)]
    fn input_gradient(&self, values: &[f32], moments: &Moments, shares: &[Vec<f32>; 2], gradient: &mut [f32]) {
        let panels = self.gamma.len() / LANES;
        let (mean, inverse, gamma) = (lanes(&moments.mean), lanes(&moments.inverse), lanes(self.gamma));
        let [mean_gradient, mean_product] = [lanes(&shares[0]), lanes(&shares[1])];
        for (index, (gradient, values)) in gradient.as_chunks_mut::<LANES>().0.iter_mut().zip(lanes(values)).enumerate()
        {
            let panel = index % panels;
            let normal = normal(values, &mean[panel], &inverse[panel]);
            *gradient = std::array::from_fn(|lane| {
                let centred = gamma[panel][lane] * gradient[lane] - mean_gradient[panel][lane];
                inverse[panel][lane] * (centred - normal[lane] * mean_product[panel][lane])
            });
        }
    }
}

#[inline(always)]
fn at(values: &Lane, scale: &Lane, shift: &Lane) -> Lane {
    std::array::from_fn(|lane| values[lane] * scale[lane] + shift[lane])
}

#[inline(always)]
fn times(a: &Lane, b: &Lane) -> Lane {
    std::array::from_fn(|lane| a[lane] * b[lane])
}

#[inline(always)]
fn normal(values: &Lane, mean: &Lane, inverse: &Lane) -> Lane {
    std::array::from_fn(|lane| (values[lane] - mean[lane]) * inverse[lane])
}

/// 1 / (1 + e^−x).
#[inline(always)]
fn sigmoid(values: &Lane) -> Lane {
    exponential(&values.map(|value| -value)).map(|power| 1.0 / (1.0 + power))
}

/// e^x to 2e-7 of its size, x being cut to −87..87: 2^n times the series of e^r, |r| at most ln 2 / 2. Sixteen at once, in
/// steps that every processor has as vectors; a NaN stays one.
#[inline(always)]
fn exponential(values: &Lane) -> Lane {
    /// 1.5 · 2^23: a number to which this is added is rounded to a whole one, which is in the sum's last bits.
    const WHOLE: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first of so few bits that its products with n are exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    let values = values.map(|value| if value > 87.0 { 87.0 } else { value });
    let values = values.map(|value| if value < -87.0 { -87.0 } else { value });
    let sums = values.map(|value| value * std::f32::consts::LOG2_E + WHOLE);
    let wholes = sums.map(|sum| sum - WHOLE);
    let rests: Lane = std::array::from_fn(|lane| values[lane] - wholes[lane] * LN_2[0]);
    let rests: Lane = std::array::from_fn(|lane| rests[lane] - wholes[lane] * LN_2[1]);
    let mut series = [1.0 / 5040.0; LANES];
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = std::array::from_fn(|lane| series[lane] * rests[lane] + factor);
    }
    let powers = sums.map(|sum| f32::from_bits((sum.to_bits() << 23).wrapping_add(127 << 23)));
    times(&series, &powers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_near_the_librarys() {
        for index in 0..4000 {
            let values: Lane = std::array::from_fn(|lane| (index * LANES + lane) as f32 * 0.0025 - 80.0);
            for (found, value) in exponential(&values).into_iter().zip(values) {
                let expected = f64::from(value).exp();
                assert!((f64::from(found) - expected).abs() < 2e-7 * expected, "{value}: {found}, not {expected}");
            }
        }
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1000.0, -1000.0];
        let found = sigmoid(&std::array::from_fn(|lane| odd[lane.min(4)]));
        assert!(found[0].is_nan() && found[1] == 1.0 && found[3] == 1.0, "{found:?}");
        assert!(found[2] < 1e-37 && found[4] < 1e-37, "{found:?}");
    }
}
