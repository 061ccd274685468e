//! `scheduler_config.json`: how much noise a sample has at each time, and at which times a sampler looks.

use std::path::Path;

use serde_json::{Value, json};

use super::sampler::Method;
use crate::checkpoint::{CheckpointError, Section};

/// Most times of a schedule.
const LONGEST: usize = 100_000;

/// A noise schedule. At time t a sample is √ᾱ(t) times what it will become plus √(1 − ᾱ(t)) times unit noise, ᾱ(t) being
/// the product of all 1 − β up to t (Ho et al. 2020, <https://arxiv.org/abs/2006.11239>).
///
/// What a file leaves open (`None`) depends on the method, as it does in diffusers.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Number of times.
    pub times: usize,
    /// How β grows.
    pub growth: Growth,
    /// What the network answers.
    pub prediction: Prediction,
    /// How a sampler's times are spread; by default leading, for Euler even.
    pub spacing: Option<Spacing>,
    /// Added to leading times.
    pub offset: usize,
    /// Whether what lies before time 0 has no noise at all, instead of that of time 0; by default with DDIM alone.
    pub ends_clean: Option<bool>,
    /// Whether PNDM begins without Runge-Kutta steps.
    pub skips_runge_kutta: bool,
    /// DDIM clips its estimate of the final sample to plus and minus this.
    pub clip: Option<f64>,
}

/// How β grows with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Growth {
    /// Evenly between two numbers.
    Linear(f64, f64),
    /// Its square root evenly between those of two numbers; Stable Diffusion's.
    Scaled(f64, f64),
    /// So that ᾱ falls as a squared cosine (Nichol & Dhariwal 2021, <https://arxiv.org/abs/2102.09672>).
    Cosine,
}

/// What a network answers, x being its input and s what x will become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise ε in x.
    Noise,
    /// √ᾱ ε − √(1 − ᾱ) s (Salimans & Ho 2022, <https://arxiv.org/abs/2202.00512>).
    Velocity,
}

/// How n steps lie among N times (Lin et al. 2023, <https://arxiv.org/abs/2305.08891>, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// ⌊N/n⌋ apart, from 0 and the offset up.
    Leading,
    /// Even from 0 to N − 1.
    Even,
    /// N/n apart, from N − 1 down.
    Trailing,
}

impl Default for Schedule {
    /// diffusers' defaults: 1,000 times, β from 0.0001 to 0.02.
    fn default() -> Self {
        Self {
            times: 1000,
            growth: Growth::Linear(0.0001, 0.02),
            prediction: Prediction::Noise,
            spacing: None,
            offset: 0,
            ends_clean: None,
            skips_runge_kutta: false,
            clip: Some(1.0),
        }
    }
}

impl Schedule {
    /// Reads a `scheduler_config.json`: the schedule, and the method of its scheduler if that is one of ours.
    ///
    /// # Errors
    /// A file that is missing or broken, or asks for what this program does not do.
    pub fn open(path: &Path) -> Result<(Self, Option<Method>), CheckpointError> {
        Self::read(&Section::open(path)?)
    }

    fn read(config: &Section) -> Result<(Self, Option<Method>), CheckpointError> {
        config.only([
            ("final_sigmas_type", json!("zero")),
            ("interpolation_type", json!("linear")),
            ("rescale_betas_zero_snr", json!(false)),
            ("thresholding", json!(false)),
            ("timestep_type", json!("discrete")),
            ("trained_betas", Value::Null),
            ("use_beta_sigmas", json!(false)),
            ("use_exponential_sigmas", json!(false)),
            ("use_karras_sigmas", json!(false)),
        ])?;
        let unknown = |key: &str, expected: &str| {
            Err(config.wrong(format!("{key} is {}, only {expected} are supported", config.get(key))))
        };
        let (start, end) = (config.number("beta_start", 0.0001)?, config.number("beta_end", 0.02)?);
        let growth = match config.get("beta_schedule") {
            Value::Null => Growth::Linear(start, end),
            Value::String(name) if name == "linear" => Growth::Linear(start, end),
            Value::String(name) if name == "scaled_linear" => Growth::Scaled(start, end),
            Value::String(name) if name == "squaredcos_cap_v2" => Growth::Cosine,
            _ => return unknown("beta_schedule", "linear, scaled_linear and squaredcos_cap_v2"),
        };
        if growth != Growth::Cosine && !(0.0 < start && start <= end && end < 1.0) {
            return Err(config.wrong(format!("beta_start {start} and beta_end {end} are not rising inside 0..1")));
        }
        let prediction = match config.get("prediction_type") {
            Value::Null => Prediction::Noise,
            Value::String(name) if name == "epsilon" => Prediction::Noise,
            Value::String(name) if name == "v_prediction" => Prediction::Velocity,
            _ => return unknown("prediction_type", "epsilon and v_prediction"),
        };
        let spacing = match config.get("timestep_spacing") {
            Value::Null => None,
            Value::String(name) if name == "leading" => Some(Spacing::Leading),
            Value::String(name) if name == "linspace" => Some(Spacing::Even),
            Value::String(name) if name == "trailing" => Some(Spacing::Trailing),
            _ => return unknown("timestep_spacing", "leading, linspace and trailing"),
        };
        let range = config.number("clip_sample_range", 1.0)?;
        let schedule = Self {
            times: config.within("num_train_timesteps", 1000, 1..=LONGEST)?,
            growth,
            prediction,
            spacing,
            offset: config.within("steps_offset", 0, 0..=LONGEST)?,
            ends_clean: if config.get("set_alpha_to_one").is_null() {
                None
            } else {
                Some(config.flag("set_alpha_to_one", true)?)
            },
            skips_runge_kutta: config.flag("skip_prk_steps", false)?,
            clip: config.flag("clip_sample", true)?.then_some(range),
        };
        Ok((schedule, config.get("_class_name").as_str().and_then(Method::of_class)))
    }

    /// ᾱ of every time.
    pub fn alphas(&self) -> Vec<f64> {
        let count = self.times as f64;
        let even = |from: f64, to: f64, time: usize| from + (to - from) * time as f64 / (count - 1.0).max(1.0);
        let remaining = |time: f64| ((time / count + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
        let beta = |time: usize| match self.growth {
            Growth::Linear(start, end) => even(start, end, time),
            Growth::Scaled(start, end) => even(start.sqrt(), end.sqrt(), time).powi(2),
            Growth::Cosine => (1.0 - remaining(time as f64 + 1.0) / remaining(time as f64)).min(0.999),
        };
        let product = |product: &mut f64, time: usize| {
            *product *= 1.0 - beta(time);
            Some(*product)
        };
        (0..self.times).scan(1.0, product).collect()
    }

    /// Times of n steps, falling; whole numbers but for even ones that are not `rounded`.
    pub(super) fn steps(&self, n: usize, spacing: Spacing, rounded: bool) -> Vec<f64> {
        let count = self.times as f64;
        let round = |time: f64| if rounded { time.round_ties_even() } else { time };
        match spacing {
            Spacing::Leading => (0..n).rev().map(|step| (step * (self.times / n) + self.offset) as f64).collect(),
            Spacing::Even => {
                let apart = if n > 1 { (count - 1.0) / (n - 1) as f64 } else { 0.0 };
                (0..n)
                    .rev()
                    .map(|step| round(if step > 0 && step + 1 == n { count - 1.0 } else { step as f64 * apart }))
                    .collect()
            }
            Spacing::Trailing => {
                // The distance as the difference of two times, as NumPy's arange has it: ties would round otherwise.
                let apart = (count - count / n as f64) - count;
                (0..n).map(|step| (count + step as f64 * apart).round_ties_even() - 1.0).collect()
            }
        }
    }
}
