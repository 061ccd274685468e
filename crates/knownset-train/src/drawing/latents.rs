//! Latents of images, computed once.

use std::ops::{ControlFlow, Range};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::Preprocess;
use knownset_nn::network::Autoencoder;
use rayon::prelude::*;

use crate::error::TrainError;
use crate::pictures::{Pictures, normalised};

/// Images per call of the autoencoder, always as many but for the last.
const BATCH: usize = 16;

/// What an autoencoder says of a set of images: of every latent its mean and deviation, not scaled.
pub struct Latents {
    /// Channels, height and width of an image's.
    shape: [usize; 3],
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Latents {
    /// Encodes all images. `watch` is told how many are done and can stop it.
    ///
    /// # Errors
    /// No image at all, one that cannot be read, or the wish to stop.
    ///
    /// # Panics
    /// If the images' side is no multiple of the autoencoder's factor.
    pub fn encode(
        autoencoder: &Autoencoder,
        data: &dyn Pictures,
        preprocess: &Preprocess,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Self, TrainError> {
        if data.is_empty() {
            return Err(TrainError::NoPictures);
        }
        let device = autoencoder.devices().into_iter().next().unwrap_or_else(Device::flex);
        let side = preprocess.size as usize;
        let small = side / autoencoder.spec().factor();
        let shape = [autoencoder.spec().latents, small, small];
        let count = data.len() * shape.iter().product::<usize>();
        let (mut mean, mut deviation) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for first in (0..data.len()).step_by(BATCH) {
            let batch = first..(first + BATCH).min(data.len());
            let n = batch.len();
            let load = |index| Ok(normalised(data.picture(index)?, preprocess));
            let pictures: Result<Vec<Vec<f32>>, String> = batch.into_par_iter().map(load).collect();
            let pictures = TensorData::new(pictures.map_err(TrainError::Image)?.concat(), [n, 3, side, side]);
            let (means, log_variances) = autoencoder.encode(Tensor::from_data(pictures, &device));
            mean.extend(means.into_data().iter::<f32>());
            deviation.extend((log_variances * 0.5).exp().into_data().iter::<f32>());
            if watch(n).is_break() {
                return Err(TrainError::StoppedEarly);
            }
        }
        Ok(Self { shape, mean, deviation })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.mean.len() / self.size()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels, height and width of an image's latents.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// One over the deviation of all latents, drawn as their distributions say: times this, they are as large as unit
    /// noise (Rombach et al. 2022, appendix G, who take one batch).
    pub fn scale(&self) -> f64 {
        let count = self.mean.len() as f64;
        let mean = self.mean.iter().map(|&mean| f64::from(mean)).sum::<f64>() / count;
        let apart = self.mean.iter().map(|&own| (f64::from(own) - mean).powi(2)).sum::<f64>();
        let own = self.deviation.iter().map(|&deviation| f64::from(deviation).powi(2)).sum::<f64>();
        ((apart + own) / count).sqrt().recip()
    }

    /// Numbers of an image's latents.
    pub(crate) fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Means and deviations of an image's latents.
    pub(crate) fn of(&self, image: usize) -> (&[f32], &[f32]) {
        let here: Range<usize> = image * self.size()..(image + 1) * self.size();
        (&self.mean[here.clone()], &self.deviation[here])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means −1 and 3 have deviation 2; with deviations 1 and 3 of their own, the mean variance is 4 + 5.
    #[test]
    fn the_scale_by_hand() {
        let latents = Latents { shape: [1, 1, 1], mean: vec![-1.0, 3.0], deviation: vec![1.0, 3.0] };
        assert!((latents.scale() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((latents.len(), latents.of(1)), (2, (&[3.0_f32][..], &[3.0_f32][..])));
    }
}
