//! DDIM: with the noise and the final sample that the network's answer means, the sample at an earlier time.

use super::{Alphas, noise_and_final};
use crate::diffusion::{Prediction, SampleError, Schedule, Spacing};

#[derive(Debug, Clone)]
pub(super) struct Ddim {
    alphas: Alphas,
    prediction: Prediction,
    clip: Option<f64>,
    eta: f64,
    /// Times from one step to the next.
    stride: f64,
}

impl Ddim {
    pub(super) fn new(schedule: &Schedule, eta: f64, steps: usize) -> Result<(Vec<f64>, Self), SampleError> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(SampleError::Eta { eta });
        }
        let walk = Self {
            alphas: Alphas::new(schedule, schedule.ends_clean.unwrap_or(true)),
            prediction: schedule.prediction,
            clip: schedule.clip,
            eta,
            stride: (schedule.times / steps) as f64,
        };
        Ok((schedule.steps(steps, schedule.spacing.unwrap_or(Spacing::Leading), true), walk))
    }

    pub(super) fn is_random(&self) -> bool {
        self.eta > 0.0
    }

    /// x' = √ᾱ' s + √(1 − ᾱ' − σ²) ε + σ z with σ² = η² (1 − ᾱ')/(1 − ᾱ) (1 − ᾱ/ᾱ').
    pub(super) fn step(&self, time: f64, sample: &mut [f64], answer: &[f64], noise: Option<&[f64]>) {
        let (alpha, earlier) = (self.alphas.at(time), self.alphas.at(time - self.stride));
        let variance = self.eta.powi(2) * (1.0 - earlier) / (1.0 - alpha) * (1.0 - alpha / earlier);
        let direction = (1.0 - earlier - variance).max(0.0).sqrt();
        for (index, (x, &answer)) in sample.iter_mut().zip(answer).enumerate() {
            let (epsilon, end) = noise_and_final(self.prediction, alpha, *x, answer);
            let end = self.clip.map_or(end, |range| end.clamp(-range, range));
            let fresh = noise.map_or(0.0, |noise| noise[index]);
            *x = earlier.sqrt() * end + direction * epsilon + variance.max(0.0).sqrt() * fresh;
        }
    }
}
