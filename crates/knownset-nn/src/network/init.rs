//! Seeded random initialisation.

use knownset_core::digest::Hasher;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::parameters::{Named, replace};

/// How a tensor's values begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// Normal about 0 with this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this.
    Uniform(f64),
}

/// What an architecture says about one tensor's initialisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Its own way.
    Set(Init),
    /// What [`initialise`] does with tensors of that name and shape.
    ByShape,
}

/// The module with fresh random weights; the same seed gives the same bits on every machine.
///
/// - convolutions: He et al. 2015, normal with variance 2 / fan-out, as torchvision's ResNets
/// - matrices (linear layers): uniform in ±1/√fan-in, PyTorch's default
/// - vectors: 0 for a `bias` or `running_mean`, 1 for a normalisation's `weight` or `running_var`
/// - other tensors (a class token, position embeddings): normal with standard deviation 0.02
///
/// Each tensor draws from its own stream, named after the tensor, so layers can be added without moving the others'.
pub fn initialise<M: Named>(module: M, seed: u64) -> M {
    initialise_with(module, seed, |_, _| Rule::ByShape)
}

/// [`initialise`] where `rule(name, shape)` leaves it the choice.
pub fn initialise_with<M: Named>(module: M, seed: u64, rule: impl Fn(&str, &[usize]) -> Rule) -> M {
    replace(module, |name, shape| {
        let mut random = Random::new(name, seed);
        let count = shape.iter().product();
        let init = match rule(name, shape) {
            Rule::Set(init) => init,
            Rule::ByShape => by_shape(name, shape),
        };
        match init {
            Init::Constant(value) => vec![value; count],
            Init::Normal(deviation) => (0..count).map(|_| (random.normal() * deviation) as f32).collect(),
            Init::Uniform(bound) => (0..count).map(|_| ((2.0 * random.uniform() - 1.0) * bound) as f32).collect(),
        }
    })
}

fn by_shape(name: &str, shape: &[usize]) -> Init {
    match *shape {
        [_] if name.ends_with("bias") || name.ends_with("mean") => Init::Constant(0.0),
        [_] => Init::Constant(1.0),
        [_, inputs] => Init::Uniform(1.0 / (inputs as f64).sqrt()),
        [outputs, _, height, width] => Init::Normal((2.0 / (outputs * height * width) as f64).sqrt()),
        _ => Init::Normal(0.02),
    }
}

/// Random numbers of one tensor.
struct Random(ChaCha8Rng);

impl Random {
    fn new(name: &str, seed: u64) -> Self {
        let mut hasher = Hasher::default();
        hasher.field(&seed.to_le_bytes()).field(name.as_bytes());
        let digest = hasher.finish();
        let mut key = [0; 32];
        key.copy_from_slice(&digest.as_bytes()[..32]);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// In [0, 1), 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller's transform.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }
}
