//! The running mean of a network's weights.

use std::collections::BTreeMap;

use knownset_nn::{HostTensor, Weights};

/// mean ← d · mean + (1 − d) · weights after every step, running statistics of normalisations included
/// (Polyak & Juditsky 1992; as timm's `ModelEma`). The first weights begin it.
pub(crate) struct Ema {
    decay: f64,
    mean: BTreeMap<String, HostTensor>,
}

impl Ema {
    pub(crate) fn new(decay: f64, first: Weights) -> Self {
        Self { decay, mean: first.into_tensors() }
    }

    pub(crate) fn update(&mut self, weights: &Weights) {
        let (keep, take) = (self.decay, 1.0 - self.decay);
        for (name, tensor) in weights.iter() {
            let Some(mean) = self.mean.get_mut(name) else { continue };
            for (mean, value) in mean.values.iter_mut().zip(&tensor.values) {
                *mean = (keep * f64::from(*mean) + take * f64::from(*value)) as f32;
            }
        }
    }

    pub(crate) fn weights(&self) -> Weights {
        Weights::from_tensors(self.mean.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let weights = |value| {
            let tensor = HostTensor { shape: vec![1], values: vec![value] };
            Weights::from_tensors(BTreeMap::from([("w".to_owned(), tensor)]))
        };
        let mut ema = Ema::new(0.75, weights(4.0));
        ema.update(&weights(8.0));
        ema.update(&weights(1.0));
        assert_eq!(ema.weights(), weights(0.75 * 5.0 + 0.25));
    }
}
