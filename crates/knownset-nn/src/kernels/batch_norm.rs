//! Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>), then perhaps a sum and a ReLU, in one
//! pass over the values, and its gradients in two.
//!
//! Values are `[pixels, channels]`, the channels a multiple of 16. Sums run in f32 over blocks of a fixed size and in f64
//! over blocks, so that the number of threads changes no bit.

#![expect(
    clippy::inline_always,
    reason = "what runs under a processor's features must be inlined where they are known"
)]

use pulp::Arch;
use rayon::prelude::*;

/// Channels that are worked on together.
pub(super) const LANES: usize = 16;
/// Values in a block, about.
const BLOCK: usize = 1 << 15;

/// Sixteen channels of a pixel.
pub(super) type Lane = [f32; LANES];

pub(super) fn lanes(values: &[f32]) -> &[Lane] {
    let (lanes, rest) = values.as_chunks();
    assert!(rest.is_empty(), "{} values", values.len());
    lanes
}

/// Values in a block of whole pixels.
pub(super) fn block(channels: usize) -> usize {
    (BLOCK / channels).max(1) * channels
}

/// Adds up `term(lane number of the pixel, value's index)` over a block's pixels, for every channel.
#[inline(always)]
pub(super) fn sums<const N: usize>(
    values: usize,
    channels: usize,
    term: impl Fn(usize, usize) -> [Lane; N],
) -> [Vec<f32>; N] {
    let panels = channels / LANES;
    let mut all = [(); N].map(|()| Vec::with_capacity(channels));
    for panel in 0..panels {
        let mut sums = [[0.0; LANES]; N];
        for index in (panel..values / LANES).step_by(panels) {
            for (sums, term) in sums.iter_mut().zip(term(panel, index)) {
                for (sum, term) in sums.iter_mut().zip(term) {
                    *sum += term;
                }
            }
        }
        all.iter_mut().zip(sums).for_each(|(all, sums)| all.extend(sums));
    }
    all
}

/// Each channel's mean and (biased) variance.
pub(crate) fn moments(values: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let blocks: Vec<(f64, Vec<f32>, Vec<f32>)> = values
        .par_chunks(block(channels))
        .map(|values| {
            Arch::new().dispatch(|| {
                let (pixels, lanes) = ((values.len() / channels) as f32, lanes(values));
                let [mut mean] = sums(values.len(), channels, |_, index| [lanes[index]]);
                for mean in &mut mean {
                    *mean /= pixels;
                }
                let means = self::lanes(&mean);
                let [squares] = sums(values.len(), channels, |panel, index| {
                    let (values, means) = (&lanes[index], &means[panel]);
                    [std::array::from_fn(|lane| (values[lane] - means[lane]).powi(2))]
                });
                (f64::from(pixels), mean, squares)
            })
        })
        .collect();
    let (mut count, mut mean, mut squares) = (0.0, vec![0.0; channels], vec![0.0; channels]);
    // Two parts of a sample as one (Chan, Golub & LeVeque 1979).
    for (more, block_mean, block_squares) in blocks {
        let both = count + more;
        for channel in 0..channels {
            let difference = f64::from(block_mean[channel]) - mean[channel];
            mean[channel] += difference * more / both;
            squares[channel] += f64::from(block_squares[channel]) + difference * difference * count * more / both;
        }
        count = both;
    }
    let variance = squares.iter().map(|sum| (sum / count) as f32).collect();
    (mean.iter().map(|&mean| mean as f32).collect(), variance)
}

/// A normalisation with known moments: y = γ (z − μ) / √(σ² + ε) + β, plus `add`, then ReLU.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) mean: &'a [f32],
    pub(crate) variance: &'a [f32],
    pub(crate) epsilon: f64,
    pub(crate) relu: bool,
}

/// What a normalisation gives back.
pub(crate) struct Gradients {
    /// Of its input.
    pub(crate) input: Vec<f32>,
    /// Of the scale.
    pub(crate) gamma: Vec<f32>,
    /// Of the shift.
    pub(crate) beta: Vec<f32>,
    /// Of its result before the ReLU, which is that of what was added; if asked for.
    pub(crate) sum: Option<Vec<f32>>,
}

impl Norm<'_> {
    fn inverse_deviations(&self) -> Vec<f32> {
        self.variance.iter().map(|&v| (1.0 / (f64::from(v) + self.epsilon).sqrt()) as f32).collect()
    }

    pub(crate) fn forward(&self, values: &[f32], add: Option<&[f32]>) -> Vec<f32> {
        let channels = self.gamma.len();
        let (size, panels) = (block(channels), channels / LANES);
        let inverse = self.inverse_deviations();
        let scale: Vec<f32> = self.gamma.iter().zip(&inverse).map(|(gamma, inverse)| gamma * inverse).collect();
        let shift: Vec<f32> = (0..channels).map(|c| self.beta[c] - self.mean[c] * scale[c]).collect();
        let (scale, shift) = (lanes(&scale), lanes(&shift));
        let mut result = vec![0.0; values.len()];
        result.par_chunks_mut(size).enumerate().for_each(|(index, result)| {
            let here = index * size..index * size + result.len();
            let add = add.map(|add| lanes(&add[here.clone()]));
            let values = lanes(&values[here]);
            Arch::new().dispatch(|| {
                for (index, result) in result.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let (values, scale, shift) = (&values[index], &scale[index % panels], &shift[index % panels]);
                    *result = std::array::from_fn(|lane| values[lane] * scale[lane] + shift[lane]);
                    if let Some(add) = add {
                        *result = std::array::from_fn(|lane| result[lane] + add[index][lane]);
                    }
                    if self.relu {
                        // Not a maximum, which would hide a NaN.
                        *result = result.map(|value| if value < 0.0 { 0.0 } else { value });
                    }
                }
            });
        });
        result
    }

    /// Gradients through moments that were the batch's own. `values` went in, `result` came out, `gradient` is the
    /// result's.
    pub(crate) fn backward(&self, values: &[f32], result: &[f32], gradient: &[f32], wants_sum: bool) -> Gradients {
        let channels = self.gamma.len();
        let (size, panels) = (block(channels), channels / LANES);
        let inverse = self.inverse_deviations();
        let (mean, inverse) = (lanes(self.mean), lanes(&inverse));
        // A gradient ends where the ReLU was shut.
        let passed = |result: &Lane, gradient: &Lane| -> Lane {
            std::array::from_fn(|lane| if self.relu && result[lane] <= 0.0 { 0.0 } else { gradient[lane] })
        };
        let normal = |panel: usize, values: &Lane| -> Lane {
            std::array::from_fn(|lane| (values[lane] - mean[panel][lane]) * inverse[panel][lane])
        };
        let blocks: Vec<[Vec<f32>; 2]> = (values.par_chunks(size), result.par_chunks(size), gradient.par_chunks(size))
            .into_par_iter()
            .map(|(values, result, gradient)| {
                let (count, values, result, gradient) = (values.len(), lanes(values), lanes(result), lanes(gradient));
                Arch::new().dispatch(|| {
                    sums(count, channels, |panel, index| {
                        let gradient = passed(&result[index], &gradient[index]);
                        let normal = normal(panel, &values[index]);
                        [gradient, std::array::from_fn(|lane| gradient[lane] * normal[lane])]
                    })
                })
            })
            .collect();
        let total = |which: usize| -> Vec<f32> {
            let sum = |channel| blocks.iter().map(|sums| f64::from(sums[which][channel])).sum::<f64>() as f32;
            (0..channels).map(sum).collect()
        };
        let (beta, gamma) = (total(0), total(1));

        let pixels = (values.len() / channels) as f32;
        let scale: Vec<f32> = (0..channels).map(|c| self.gamma[c] * inverse[c / LANES][c % LANES]).collect();
        let shares = |sums: &[f32]| sums.iter().map(|sum| sum / pixels).collect::<Vec<f32>>();
        let (mean_gradient, mean_product) = (shares(&beta), shares(&gamma));
        let (scale, mean_gradient, mean_product) = (lanes(&scale), lanes(&mean_gradient), lanes(&mean_product));
        let mut input = vec![0.0; values.len()];
        let mut sum = vec![0.0; if wants_sum { values.len() } else { 0 }];
        let write = |block: usize, input: &mut [f32], mut sum: Option<&mut [f32]>| {
            let here = block * size..block * size + input.len();
            let values = lanes(&values[here.clone()]);
            let (result, gradient) = (lanes(&result[here.clone()]), lanes(&gradient[here]));
            Arch::new().dispatch(|| {
                for (index, input) in input.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let panel = index % panels;
                    let gradient = passed(&result[index], &gradient[index]);
                    let normal = normal(panel, &values[index]);
                    *input = std::array::from_fn(|lane| {
                        let centred = gradient[lane] - mean_gradient[panel][lane];
                        scale[panel][lane] * (centred - normal[lane] * mean_product[panel][lane])
                    });
                    if let Some(sum) = &mut sum {
                        sum[index * LANES..][..LANES].copy_from_slice(&gradient);
                    }
                }
            });
        };
        if wants_sum {
            let pairs = input.par_chunks_mut(size).zip(sum.par_chunks_mut(size)).enumerate();
            pairs.for_each(|(block, (input, sum))| write(block, input, Some(sum)));
        } else {
            input.par_chunks_mut(size).enumerate().for_each(|(block, input)| write(block, input, None));
        }
        Gradients { input, gamma, beta, sum: wants_sum.then_some(sum) }
    }
}
