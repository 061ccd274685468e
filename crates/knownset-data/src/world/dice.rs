//! The random numbers of one image.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::WORLD_VERSION;

/// The random stream of one image: ChaCha8 keyed by the SHA-256 of "world version / split / index".
///
/// Only the generator's 32-bit words are taken from the library; ranges and choices are made here, so that a new
/// version of the library cannot change an image.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(split: &str, index: usize) -> Self {
        let key = Sha256::digest(format!("knownset sprites {WORLD_VERSION}/{split}/{index}"));
        Self(ChaCha8Rng::from_seed(key.into()))
    }

    /// A whole number in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// A number in `[0, 1)`, a multiple of 2⁻²⁴.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
