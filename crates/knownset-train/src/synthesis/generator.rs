//! Networks that draw images: one small trait, so that what asks for images need not know which network answers.

use std::ops::ControlFlow;

use knownset_nn::diffusion::{Method, Pipeline, Request, SampleError};
use ndarray::{Array2, Array3, Array4, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tensors::normals;

/// An image to be drawn. What comes out depends on this alone, not on what else is drawn, by whom or when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<C> {
    /// What it is to be of.
    pub condition: C,
    /// The run's seed.
    pub seed: u64,
    /// Which of the seed's streams of random numbers is this image's.
    pub stream: u64,
}

impl<C> Wanted<C> {
    /// The image's own noise: numbers of mean 0 and variance 1.
    pub fn noise(&self, count: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(self.stream);
        normals(&mut random, count)
    }
}

/// Conditions → images.
pub trait Generator {
    /// What an image can be of: a context to attend to, an embedding, a class.
    type Condition;
    /// Why there is no image.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Images `[H, W, channels]` in 0..1, one for each that is wanted, in their order; nothing in the place of one whose
    /// numbers overflowed. `each` is called now and then and can stop the work; what was finished until then is returned.
    fn draw(
        &self,
        wanted: &[Wanted<Self::Condition>],
        each: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Option<Array3<f32>>>, Self::Error>;
}

/// Latent diffusion, and how it draws. A condition is a context `[T, c]`.
pub struct Diffusion<'a> {
    /// The networks.
    pub pipeline: &'a Pipeline,
    /// What they attend to where they are told nothing, `[T, c]`: the empty prompt's context.
    pub unconditional: Array2<f32>,
    /// Height and width of the latents.
    pub sides: [usize; 2],
    /// How samples are drawn; a method that takes no fresh noise.
    pub method: Method,
    /// Number of steps.
    pub steps: usize,
    /// How far answers go beyond the unconditional ones.
    pub guidance: f64,
}

impl Diffusion<'_> {
    /// Whether anything can be drawn this way.
    ///
    /// # Errors
    /// What [`Generator::draw`] would say of every image.
    pub fn check(&self) -> Result<(), SampleError> {
        let noise = Array4::zeros(self.shape());
        self.pipeline.check(&self.request(self.unconditional.view(), &noise))
    }

    /// Of one image's noise.
    fn shape(&self) -> (usize, usize, usize, usize) {
        (1, self.pipeline.unet().spec().inputs, self.sides[0], self.sides[1])
    }

    fn request<'a>(&'a self, context: ArrayView2<'a, f32>, noise: &'a Array4<f32>) -> Request<'a> {
        Request {
            method: self.method,
            steps: self.steps,
            guidance: self.guidance,
            ..Request::new(context.insert_axis(Axis(0)), self.unconditional.view().insert_axis(Axis(0)), noise.view())
        }
    }
}

impl Generator for Diffusion<'_> {
    type Condition = Array2<f32>;
    type Error = SampleError;

    fn draw(
        &self,
        wanted: &[Wanted<Array2<f32>>],
        each: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Vec<Option<Array3<f32>>>, SampleError> {
        let shape = self.shape();
        let mut images = Vec::with_capacity(wanted.len());
        for one in wanted {
            let noise = one.noise(shape.1 * shape.2 * shape.3);
            let noise = Array4::from_shape_vec(shape, noise).expect("a number for each place");
            match self.pipeline.sample(&self.request(one.condition.view(), &noise), |_| each()) {
                Ok(drawn) => match drawn.images.outer_iter().next() {
                    Some(image) => images.push(Some(image.to_owned())),
                    None => break,
                },
                Err(SampleError::NotFinite { .. }) => images.push(None),
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use knownset_nn::diffusion::{Growth, Prediction, Schedule};
    use knownset_nn::network::{UNet, UNetLevel, UNetSpec, initialise};

    use super::*;

    fn pipeline() -> Pipeline {
        let spec = UNetSpec {
            side: Some(4),
            inputs: 3,
            outputs: 3,
            levels: vec![UNetLevel { channels: 8, heads: 2, attends: true }],
            layers: 1,
            transformers: 1,
            context: 6,
            groups: 4,
            epsilon: 1e-5,
            cosines_first: true,
            frequency_shift: 0,
        };
        let unet = initialise(UNet::new(&spec, &burn::tensor::Device::flex()), 3);
        let schedule = Schedule {
            times: 1000,
            growth: Growth::Scaled(0.00085, 0.012),
            prediction: Prediction::Noise,
            offset: 1,
            spacing: None,
            ends_clean: None,
            skips_runge_kutta: true,
            clip: None,
        };
        Pipeline::new(None, unet, None, schedule)
    }

    fn wanted(stream: u64) -> Wanted<Array2<f32>> {
        let condition = Array2::from_shape_fn((5, 6), |(a, b)| (a * 6 + b) as f32 / 30.0);
        Wanted { condition, seed: 7, stream }
    }

    #[test]
    fn an_image_is_its_own_whatever_else_is_drawn() {
        let pipeline = pipeline();
        let unconditional = Array2::zeros((5, 6));
        let method = Method::Ddim { eta: 0.0 };
        let diffusion =
            Diffusion { pipeline: &pipeline, unconditional, sides: [4, 8], method, steps: 2, guidance: 2.0 };
        let mut go_on = || ControlFlow::Continue(());
        let both = diffusion.draw(&[wanted(1), wanted(2)], &mut go_on).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].as_ref().unwrap().dim(), (4, 8, 3));
        assert!(both[0] != both[1], "another stream, another image");
        assert_eq!(diffusion.draw(&[wanted(2)], &mut go_on).unwrap(), both[1..]);
        let other = Wanted { seed: 8, ..wanted(2) };
        assert!(diffusion.draw(&[other], &mut go_on).unwrap() != both[1..], "another seed, another image");

        // Stopped within the second image: two steps of each.
        let mut calls = 0;
        let mut stop = || {
            calls += 1;
            if calls < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        assert_eq!(diffusion.draw(&[wanted(1), wanted(2)], &mut stop).unwrap(), both[..1]);

        // Numbers that overflow spoil their own image alone.
        let mut odd = wanted(2);
        odd.condition.fill(f32::INFINITY);
        let drawn = diffusion.draw(&[odd, wanted(1)], &mut go_on).unwrap();
        assert!(drawn[0].is_none() && drawn[1] == both[0]);
    }
}
