//! The sampling loop.

use std::ops::ControlFlow;

use burn::tensor::{Tensor, TensorData};
use ndarray::{Array3, Array4, ArrayView2, ArrayView3, ArrayView4, ArrayView5, Axis};

use super::{Method, Pipeline, SampleError, Sampler, tensor};

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the UNet attends to, `[n, T, c]`: a text encoder's states, or anything of their size.
    pub context: ArrayView3<'a, f32>,
    /// What it attends to where it is told nothing, `[1, T, c]` for all images or `[n, T, c]`; unused where `guidance` is 1.
    pub unconditional: ArrayView3<'a, f32>,
    /// Unit noise, `[n, l, h, w]`, from which images come to be.
    pub noise: ArrayView4<'a, f32>,
    /// Fresh unit noise for the steps of a method that takes some, `[n, steps, l, h, w]`.
    pub fresh: Option<ArrayView5<'a, f32>>,
    /// How samples are drawn.
    pub method: Method,
    /// Number of steps.
    pub steps: usize,
    /// How far answers go beyond the unconditional ones towards the context's (Ho & Salimans 2022,
    /// <https://arxiv.org/abs/2207.12598>); 1 is the context's own. diffusers takes anything below 1 for 1.
    pub guidance: f64,
}

impl<'a> Request<'a> {
    /// Fifty steps of DDIM without fresh noise, guidance 7.5.
    pub fn new(context: ArrayView3<'a, f32>, unconditional: ArrayView3<'a, f32>, noise: ArrayView4<'a, f32>) -> Self {
        let method = Method::Ddim { eta: 0.0 };
        Self { context, unconditional, noise, fresh: None, method, steps: 50, guidance: 7.5 }
    }
}

/// Where sampling is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which image, from 0.
    pub image: usize,
    /// Number of images.
    pub images: usize,
    /// Calls of the network for this image so far.
    pub step: usize,
    /// Calls that an image takes: for PNDM some more than its steps.
    pub steps: usize,
}

/// What was drawn: n images, or the first of them if sampling was stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The samples at the end, `[n, l, h, w]`, as the UNet has them.
    pub latents: Array4<f32>,
    /// The images, `[n, H, W, i]` in 0..1.
    pub images: Array4<f32>,
}

impl Pipeline {
    /// Draws images one after the other. `each` is called after every call of the network and can stop it; the images
    /// finished until then are returned.
    ///
    /// # Errors
    /// Arrays whose shapes do not go together, steps that the schedule does not have, values that are not finite.
    pub fn sample(
        &self,
        request: &Request<'_>,
        mut each: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Sampled, SampleError> {
        let sampler = self.sampler(request)?;
        let images = request.noise.len_of(Axis(0));
        let mut latents = Array4::zeros(request.noise.dim());
        let mut finished = 0;
        while finished < images {
            let progress = |step| each(Progress { image: finished, images, step, steps: sampler.times().len() });
            let Some(sample) = self.draw(request, finished, sampler.clone(), progress)? else { break };
            latents.index_axis_mut(Axis(0), finished).iter_mut().zip(sample).for_each(|(to, from)| *to = from);
            finished += 1;
        }
        latents.slice_axis_inplace(Axis(0), (..finished).into());
        let images = self.decode(&latents);
        match images.outer_iter().position(|image| image.iter().any(|value| !value.is_finite())) {
            Some(image) => Err(SampleError::NotFinite { image, step: sampler.times().len() }),
            None => Ok(Sampled { latents, images }),
        }
    }

    /// Whether there is nothing wrong with a request, as far as that can be told before anything is drawn.
    ///
    /// # Errors
    /// Arrays whose shapes do not go together, steps that the schedule does not have.
    pub fn check(&self, request: &Request<'_>) -> Result<(), SampleError> {
        self.sampler(request).map(|_| ())
    }

    /// The sampler of a request that can be followed.
    fn sampler(&self, request: &Request<'_>) -> Result<Sampler, SampleError> {
        let sampler = Sampler::new(self.schedule(), request.method, request.steps)?;
        let shape = |array, shape: &[usize], good: bool, expected: String| {
            if good { Ok(()) } else { Err(SampleError::Shape { array, shape: shape.to_vec(), expected }) }
        };
        let spec = self.unet().spec();
        let (n, channels, height, width) = request.noise.dim();
        let good = channels == spec.inputs && height > 0 && width > 0;
        shape("noise", request.noise.shape(), good, format!("[n, {}, h, w]", spec.inputs))?;

        let (rows, tokens, length) = request.context.dim();
        let good = rows == n && tokens > 0 && length == spec.context;
        shape("context", request.context.shape(), good, format!("[{n}, T, {}]", spec.context))?;

        let (rows, own, length) = request.unconditional.dim();
        let good = request.guidance == 1.0 || ((rows == 1 || rows == n) && own == tokens && length == spec.context);
        let expected = format!("[1, {tokens}, {0}] or [{n}, {tokens}, {0}]", spec.context);
        shape("unconditional", request.unconditional.shape(), good, expected)?;

        if !sampler.is_random() {
            return Ok(sampler);
        }
        let expected = [n, sampler.times().len(), channels, height, width];
        let fresh = request.fresh.as_ref().map(ArrayView5::shape).unwrap_or_default();
        shape("fresh", fresh, fresh == expected, format!("{expected:?}"))?;
        Ok(sampler)
    }

    /// One image's sample; nothing if `each` stopped it.
    fn draw(
        &self,
        request: &Request<'_>,
        image: usize,
        mut sampler: Sampler,
        mut each: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<f32>>, SampleError> {
        let noise = request.noise.index_axis(Axis(0), image);
        let sides = noise.dim();
        let mut sample: Vec<f64> = noise.iter().map(|&value| f64::from(value) * sampler.first_scale()).collect();
        let finite = |sample: &[f64], step| {
            let all = sample.iter().all(|value| value.is_finite());
            if all { Ok(()) } else { Err(SampleError::NotFinite { image, step }) }
        };
        finite(&sample, 0)?;

        let context = request.context.index_axis(Axis(0), image);
        let contexts = if request.guidance == 1.0 {
            self.contexts(&[context])
        } else {
            let row = if request.unconditional.len_of(Axis(0)) == 1 { 0 } else { image };
            self.contexts(&[request.unconditional.index_axis(Axis(0), row), context])
        };
        let mut step = 0;
        while let Some(time) = sampler.time() {
            let scale = sampler.input_scale();
            let input: Vec<f32> = sample.iter().map(|value| (value * scale) as f32).collect();
            let input = Array3::from_shape_vec(sides, input).expect("the noise's shape");
            let answer = self.answer(&input, time, &contexts, request.guidance);
            let fresh = request.fresh.as_ref().filter(|_| sampler.is_random());
            let fresh: Option<Vec<f64>> = fresh.map(|fresh| {
                let fresh = fresh.index_axis(Axis(0), image);
                fresh.index_axis(Axis(0), step).iter().map(|&value| f64::from(value)).collect()
            });
            sampler.step(&mut sample, &answer, fresh.as_deref());
            step += 1;
            finite(&sample, step)?;
            if each(step).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(sample.into_iter().map(|value| value as f32).collect()))
    }

    fn contexts(&self, rows: &[ArrayView2<'_, f32>]) -> Tensor<3> {
        let (tokens, length) = rows[0].dim();
        let values: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied()).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), tokens, length]), &self.device)
    }

    /// The UNet's answer, guided if there is an unconditional context before that of the request.
    fn answer(&self, input: &Array3<f32>, time: f64, contexts: &Tensor<3>, guidance: f64) -> Vec<f64> {
        let [rows, ..] = contexts.dims();
        let inputs = tensor(&vec![input.view(); rows], &self.device);
        let answers = self.unet().forward(inputs, &vec![time; rows], contexts.clone());
        let answers: Vec<f64> = answers.into_data().iter::<f32>().map(f64::from).collect();
        let (unconditional, conditional) = answers.split_at(answers.len() - input.len());
        if unconditional.is_empty() {
            return answers;
        }
        let guided = unconditional.iter().zip(conditional);
        guided.map(|(unconditional, conditional)| unconditional + guidance * (conditional - unconditional)).collect()
    }
}
