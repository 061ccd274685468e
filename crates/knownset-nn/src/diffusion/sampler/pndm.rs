//! PNDM: the network's last answers combined by a multistep formula; before there are enough of them, by steps of
//! Runge-Kutta's kind or, as Stable Diffusion has it, by formulas of lower order and one step taken twice.

use std::collections::VecDeque;

use super::{Alphas, noise_and_final};
use crate::diffusion::{Prediction, SampleError, Schedule, Spacing};

/// Steps that Runge and Kutta's method takes the first of, with four answers each but for the last.
const ORDER: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Pndm {
    alphas: Alphas,
    prediction: Prediction,
    /// Times from one step to the next.
    stride: usize,
    /// Times of the Runge-Kutta answers.
    runge_kutta: Vec<f64>,
    /// The last answers, the newest first.
    answers: VecDeque<Vec<f64>>,
    /// Answers of one Runge-Kutta step so far, weighted.
    sum: Vec<f64>,
    /// The sample that a step began with.
    start: Vec<f64>,
}

impl Pndm {
    pub(super) fn new(schedule: &Schedule, steps: usize) -> Result<(Vec<f64>, Self), SampleError> {
        let times = schedule.steps(steps, schedule.spacing.unwrap_or(Spacing::Leading), true);
        let stride = schedule.times / steps;
        let (runge_kutta, multistep) = if schedule.skips_runge_kutta {
            // The second time comes twice.
            let again = times.get(1).copied();
            (Vec::new(), times.iter().take(2).copied().chain(again).chain(times.iter().skip(2).copied()).collect())
        } else {
            if steps < ORDER {
                return Err(SampleError::Steps { steps, least: ORDER, most: schedule.times });
            }
            (runge_kutta(&times, stride), times[ORDER - 1..].to_vec())
        };
        let times = runge_kutta.iter().copied().chain::<Vec<f64>>(multistep).collect();
        let walk = Self {
            alphas: Alphas::new(schedule, schedule.ends_clean.unwrap_or(false)),
            prediction: schedule.prediction,
            stride,
            runge_kutta,
            answers: VecDeque::new(),
            sum: Vec::new(),
            start: Vec::new(),
        };
        Ok((times, walk))
    }

    pub(super) fn step(&mut self, taken: usize, time: f64, sample: &mut [f64], answer: &[f64]) {
        if taken < self.runge_kutta.len() {
            self.runge_kutta_step(taken, time, sample, answer);
        } else {
            self.multistep(taken, time, sample, answer);
        }
    }

    /// One of four answers: at the start, twice half a stride ahead, and a stride ahead.
    fn runge_kutta_step(&mut self, taken: usize, time: f64, sample: &mut [f64], answer: &[f64]) {
        let half = if taken.is_multiple_of(2) { (self.stride / 2) as f64 } else { 0.0 };
        let part = taken % 4;
        if part == 0 {
            self.remember(answer);
            self.start = sample.to_vec();
            self.sum = vec![0.0; sample.len()];
        }
        let weight = if matches!(part, 0 | 3) { 1.0 / 6.0 } else { 1.0 / 3.0 };
        self.sum.iter_mut().zip(answer).for_each(|(sum, answer)| *sum += weight * answer);
        let direction = if part == 3 { std::mem::take(&mut self.sum) } else { answer.to_vec() };
        sample.copy_from_slice(&self.start);
        self.transfer(self.runge_kutta[taken / 4 * 4], time - half, sample, &direction);
    }

    fn multistep(&mut self, taken: usize, time: f64, sample: &mut [f64], answer: &[f64]) {
        let stride = self.stride as f64;
        // The first step is taken again, with the mean of the answers at both its ends.
        if self.runge_kutta.is_empty() && taken == 1 {
            let mean: Vec<f64> = self.answers[0].iter().zip(answer).map(|(a, b)| (a + b) / 2.0).collect();
            sample.copy_from_slice(&self.start);
            return self.transfer(time + stride, time, sample, &mean);
        }
        if self.runge_kutta.is_empty() && taken == 0 {
            self.start = sample.to_vec();
        }
        self.remember(answer);
        let weights: &[f64] = match self.answers.len() {
            1 => &[1.0],
            2 => &[3.0 / 2.0, -1.0 / 2.0],
            3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let mut direction = vec![0.0; sample.len()];
        for (answer, weight) in self.answers.iter().zip(weights) {
            direction.iter_mut().zip(answer).for_each(|(sum, answer)| *sum += weight * answer);
        }
        self.transfer(time, time - stride, sample, &direction);
    }

    fn remember(&mut self, answer: &[f64]) {
        self.answers.push_front(answer.to_vec());
        self.answers.truncate(ORDER);
    }

    /// The paper's formula (9): from one time to another along a combined answer.
    fn transfer(&self, from: f64, to: f64, sample: &mut [f64], answer: &[f64]) {
        let (alpha, earlier) = (self.alphas.at(from), self.alphas.at(to));
        let scale = (earlier / alpha).sqrt();
        let below = alpha * (1.0 - earlier).sqrt() + (alpha * (1.0 - alpha) * earlier).sqrt();
        let factor = if below > 0.0 { (earlier - alpha) / below } else { 0.0 };
        for (x, &answer) in sample.iter_mut().zip(answer) {
            let (noise, _) = noise_and_final(self.prediction, alpha, *x, answer);
            *x = scale * *x - factor * noise;
        }
    }
}

/// The times of the first three steps' answers, four each.
fn runge_kutta(times: &[f64], stride: usize) -> Vec<f64> {
    let half = (stride / 2) as f64;
    let step = |pair: &[f64]| [pair[0], pair[1] + half, pair[1] + half, pair[1]];
    times[..ORDER].windows(2).flat_map(step).collect()
}
