//! Samplers: how a sample moves from noise to image, step by step, by what a network says of it. All arithmetic is f64.

mod ddim;
mod euler;
mod pndm;

use super::{Prediction, SampleError, Schedule};
use ddim::Ddim;
use euler::Euler;
use pndm::Pndm;

/// How samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Song et al. 2020, <https://arxiv.org/abs/2010.02502>.
    Ddim {
        /// Fresh noise at each step, 0 for none to 1 for as much as DDPM adds.
        eta: f64,
    },
    /// Liu et al. 2022, <https://arxiv.org/abs/2202.09778>.
    Pndm,
    /// Euler's method as Karras et al. 2022, <https://arxiv.org/abs/2206.00364>, write diffusion, without churn.
    Euler,
}

impl Method {
    /// diffusers' scheduler of this method.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Ddim { .. } => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
        }
    }

    /// The method of a scheduler of diffusers.
    pub(super) fn of_class(name: &str) -> Option<Self> {
        [Self::Ddim { eta: 0.0 }, Self::Pndm, Self::Euler].into_iter().find(|method| method.class() == name)
    }
}

/// One sample's way.
///
/// ```
/// # use knownset_nn::diffusion::{Method, Sampler, Schedule};
/// # fn answer(input: &[f64], time: f64) -> Vec<f64> { input.iter().map(|x| x * time / 1000.0).collect() }
/// # fn main() -> Result<(), knownset_nn::diffusion::SampleError> {
/// let mut sampler = Sampler::new(&Schedule::default(), Method::Euler, 10)?;
/// let noise = [0.3, -1.2];
/// let mut sample = noise.map(|x| x * sampler.first_scale());
/// while let Some(time) = sampler.time() {
///     let input = sample.map(|x| x * sampler.input_scale());
///     sampler.step(&mut sample, &answer(&input, time), None);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    times: Vec<f64>,
    /// Steps taken.
    taken: usize,
    walk: Walk,
}

#[derive(Debug, Clone)]
enum Walk {
    Ddim(Ddim),
    Pndm(Pndm),
    Euler(Euler),
}

impl Sampler {
    /// A way of that many steps, as diffusers' scheduler of that name takes it.
    ///
    /// # Errors
    /// No steps or more than the schedule has times, fewer than four for PNDM with Runge-Kutta steps, times outside the
    /// schedule (an offset too large), η outside 0..1.
    pub fn new(schedule: &Schedule, method: Method, steps: usize) -> Result<Self, SampleError> {
        if !(1..=schedule.times).contains(&steps) {
            return Err(SampleError::Steps { steps, least: 1, most: schedule.times });
        }
        let (times, walk) = match method {
            Method::Ddim { eta } => {
                let (times, walk) = Ddim::new(schedule, eta, steps)?;
                (times, Walk::Ddim(walk))
            }
            Method::Pndm => {
                let (times, walk) = Pndm::new(schedule, steps)?;
                (times, Walk::Pndm(walk))
            }
            Method::Euler => {
                let (times, walk) = Euler::new(schedule, steps);
                (times, Walk::Euler(walk))
            }
        };
        let inside = |time: &f64| (0.0..schedule.times as f64).contains(time);
        match times.iter().find(|time| !inside(time)) {
            Some(&time) => Err(SampleError::Time { time, times: schedule.times }),
            None => Ok(Self { times, taken: 0, walk }),
        }
    }

    /// The times the network is asked at: one for each step, for PNDM somewhat more.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The time the network is asked at next; nothing at the end.
    pub fn time(&self) -> Option<f64> {
        self.times.get(self.taken).copied()
    }

    /// What unit noise is multiplied by to become the first sample.
    pub fn first_scale(&self) -> f64 {
        match &self.walk {
            Walk::Euler(walk) => walk.first_scale(),
            Walk::Ddim(_) | Walk::Pndm(_) => 1.0,
        }
    }

    /// What a sample is multiplied by to become the network's next input.
    pub fn input_scale(&self) -> f64 {
        match &self.walk {
            Walk::Euler(walk) => walk.input_scale(self.taken),
            Walk::Ddim(_) | Walk::Pndm(_) => 1.0,
        }
    }

    /// Whether each step takes fresh unit noise.
    pub fn is_random(&self) -> bool {
        matches!(&self.walk, Walk::Ddim(walk) if walk.is_random())
    }

    /// Moves the sample by the network's answer; nothing happens at the end. Without `noise`, a step that takes some takes
    /// zeros.
    ///
    /// # Panics
    /// If the slices are not of the same length.
    pub fn step(&mut self, sample: &mut [f64], answer: &[f64], noise: Option<&[f64]>) {
        assert!(sample.len() == answer.len() && noise.is_none_or(|noise| noise.len() == sample.len()), "equal lengths");
        let Some(&time) = self.times.get(self.taken) else { return };
        match &mut self.walk {
            Walk::Ddim(walk) => walk.step(time, sample, answer, noise),
            Walk::Pndm(walk) => walk.step(self.taken, time, sample, answer),
            Walk::Euler(walk) => walk.step(self.taken, sample, answer),
        }
        self.taken += 1;
    }
}

/// ᾱ at whole times, and before the first.
#[derive(Debug, Clone)]
struct Alphas {
    values: Vec<f64>,
    before: f64,
}

impl Alphas {
    fn new(schedule: &Schedule, ends_clean: bool) -> Self {
        let values = schedule.alphas();
        let before = if ends_clean { 1.0 } else { values.first().copied().unwrap_or(1.0) };
        Self { values, before }
    }

    fn at(&self, time: f64) -> f64 {
        // No step reaches beyond the last time: `Sampler::new` has seen to it.
        if time < 0.0 { self.before } else { self.values[time as usize] }
    }
}

/// The noise and the final sample that an answer to `sample` means, by ᾱ.
fn noise_and_final(prediction: Prediction, alpha: f64, sample: f64, answer: f64) -> (f64, f64) {
    let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
    match prediction {
        Prediction::Noise => (answer, (sample - noise * answer) / signal),
        Prediction::Velocity => (signal * answer + noise * sample, signal * sample - noise * answer),
    }
}
