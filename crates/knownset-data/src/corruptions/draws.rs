//! The random numbers of one corrupted image.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{CORRUPTIONS_VERSION, Severity};

/// ChaCha8 keyed by the SHA-256 of "version/kind/severity/seed".
///
/// Only the generator's 32-bit words are taken from the library, and logarithm and cosine are `libm`'s, so that neither a
/// new version nor another machine changes an image.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn new(kind: &str, severity: Severity, seed: u64) -> Self {
        let key = Sha256::digest(format!("knownset corruptions {CORRUPTIONS_VERSION}/{kind}/{severity}/{seed}"));
        Self(ChaCha8Rng::from_seed(key.into()))
    }

    /// A number in `[0, 1)`, a multiple of 2⁻⁵³.
    pub(super) fn unit(&mut self) -> f64 {
        let low = u64::from(self.0.next_u32());
        let high = u64::from(self.0.next_u32());
        ((high << 32 | low) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// A number from the standard normal distribution: Box and Muller's first, of two units.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}
