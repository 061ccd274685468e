//! Euler's method: a sample with noise of deviation σ instead of unit variance moves along its noise.

use crate::diffusion::{Prediction, Schedule, Spacing};

#[derive(Debug, Clone)]
pub(super) struct Euler {
    /// σ of each step, and 0 at the end.
    deviations: Vec<f64>,
    prediction: Prediction,
    /// Whether the first sample's variance is that of noise and signal together.
    leading: bool,
}

impl Euler {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> (Vec<f64>, Self) {
        let spacing = schedule.spacing.unwrap_or(Spacing::Even);
        let times = schedule.steps(steps, spacing, false);
        let all: Vec<f64> = schedule.alphas().iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect();
        // Between whole times, in between.
        let at = |&time: &f64| {
            let low = (time as usize).min(all.len() - 1);
            let high = (low + 1).min(all.len() - 1);
            all[low] + (all[high] - all[low]) * (time - low as f64)
        };
        let deviations = times.iter().map(at).chain([0.0]).collect();
        (times, Self { deviations, prediction: schedule.prediction, leading: spacing == Spacing::Leading })
    }

    pub(super) fn first_scale(&self) -> f64 {
        let largest = self.deviations.iter().fold(0.0, |largest: f64, &deviation| largest.max(deviation));
        if self.leading { largest.hypot(1.0) } else { largest }
    }

    pub(super) fn input_scale(&self, taken: usize) -> f64 {
        self.deviations.get(taken).map_or(1.0, |deviation| 1.0 / deviation.hypot(1.0))
    }

    /// x' = x + (σ' − σ) (x − s) / σ.
    pub(super) fn step(&self, taken: usize, sample: &mut [f64], answer: &[f64]) {
        let (deviation, next) = (self.deviations[taken], self.deviations[taken + 1]);
        let scale = deviation.hypot(1.0);
        for (x, &answer) in sample.iter_mut().zip(answer) {
            let noise = match self.prediction {
                Prediction::Noise => answer,
                Prediction::Velocity => (*x - (*x / scale - deviation * answer) / scale) / deviation,
            };
            *x += (next - deviation) * noise;
        }
    }
}
