//! Latent diffusion with Stable Diffusion 1.x's parts (Rombach et al. 2022, <https://arxiv.org/abs/2112.10752>): pipeline
//! folders as diffusers lays them out, and images drawn from contexts that need not be those of any prompt.
//!
//! ```no_run
//! # use std::ops::ControlFlow;
//! # use std::path::Path;
//! # use knownset_nn::diffusion::{Pipeline, Request};
//! # use ndarray::Array4;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::open(Path::new("stable-diffusion-v1-5"))?;
//! let context = pipeline.encode(&["a photo of a cat"])?;
//! let empty = pipeline.encode(&[""])?;
//! let noise = Array4::zeros((1, 4, 64, 64)); // unit noise of one's own
//! let request = Request::new(context.view(), empty.view(), noise.view());
//! let images = pipeline.sample(&request, |progress| {
//!     eprintln!("{} of {}", progress.step, progress.steps);
//!     ControlFlow::Continue(())
//! })?.images;
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
mod folder;
mod layouts;
mod sample;
mod sampler;
mod save;
mod schedule;
mod text;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::{Array3, Array4, ArrayView3};

use crate::checkpoint::{CheckpointError, digest};
use crate::network::{Autoencoder, UNet, weights_sha256};
use crate::precision::Precision;
use crate::tokenizer::TokenizerError;
pub use error::SampleError;
pub use sample::{Progress, Request, Sampled};
pub use sampler::{Method, Sampler};
pub use schedule::{Growth, Prediction, Schedule, Spacing};
pub use text::TextEncoder;

/// A diffusion model with what it takes to draw images.
///
/// An image has the same bits whatever else is drawn with it, and on any number of threads.
///
/// Memory on the processor with networks of Stable Diffusion 1.x's size, f32, for one guided image of 512 pixels: the
/// weights of UNet and autoencoder, 3.77 GB; 0.34 GB on top of them in the UNet, 1.12 GB in the decoder, however many
/// images are drawn. Its text encoder has 0.49 GB of weights. Opening takes the largest weights file in memory beside its
/// values in f32: 5.2 GB at most with files of f16 (measured by the example `stable_diffusion_size`).
pub struct Pipeline {
    text: Option<TextEncoder>,
    unet: UNet,
    autoencoder: Option<Autoencoder>,
    schedule: Schedule,
    method: Option<Method>,
    device: Device,
}

impl Pipeline {
    /// Opens the folder of a `StableDiffusionPipeline` on the processor, in f32:
    ///
    /// - `model_index.json`, which says what parts there are
    /// - `text_encoder/` and `tokenizer/`, or none of them: contexts then come from elsewhere
    /// - `unet/`
    /// - `vae/`; without one the UNet's samples are the images, in −1..1
    /// - `scheduler/scheduler_config.json`
    ///
    /// Weights are f32, f16 or bf16 `.safetensors`, in one file or several, or PyTorch's `.bin`. A safety checker, if there
    /// is one, is not run. As diffusers does, latents are never clipped and leading times are offset by 1, whatever the
    /// scheduler's file says; without a `vae/` it is taken at its word.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, parts that do not go together,
    /// a configuration that asks for what this program does not do.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        Self::open_on(folder, &Device::flex(), Precision::F32)
    }

    /// [`open`](Self::open) on a device; UNet and autoencoder compute in `precision`, text encoder and sampler stay as they are.
    pub fn open_on(folder: &Path, device: &Device, precision: Precision) -> Result<Self, CheckpointError> {
        folder::open(folder, device, precision)
    }

    /// A pipeline of networks made here, all on one device.
    ///
    /// # Panics
    /// If the parts do not go together: contexts of another length, or samples of another number of channels.
    pub fn new(text: Option<TextEncoder>, unet: UNet, autoencoder: Option<Autoencoder>, schedule: Schedule) -> Self {
        let device = unet.devices().into_iter().next().unwrap_or_default();
        let pipeline = Self { text, unet, autoencoder, schedule, method: None, device };
        assert_eq!(pipeline.contradiction(), None, "parts go together");
        pipeline
    }

    /// What the parts say of one another that cannot be.
    fn contradiction(&self) -> Option<String> {
        let unet = self.unet.spec();
        let context = self.text.as_ref().map(|text| text.spec().tower.width);
        if let Some(context) = context.filter(|&context| context != unet.context) {
            return Some(format!("the text encoder's states have length {context}, the UNet wants {}", unet.context));
        }
        if unet.inputs != unet.outputs {
            return Some(format!("the UNet answers {} channels to {}", unet.outputs, unet.inputs));
        }
        let latents = self.autoencoder.as_ref().map(|autoencoder| autoencoder.spec().latents);
        let latents = latents.filter(|&latents| latents != unet.inputs)?;
        Some(format!("the autoencoder's latents have {latents} channels, the UNet wants {}", unet.inputs))
    }

    /// Texts → contexts `[n, T, c]`; the empty text's is the usual unconditional one. Without a text encoder, an error.
    pub fn encode<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Array3<f32>, EncodeError> {
        Ok(self.text.as_ref().ok_or(EncodeError::NoTextEncoder)?.encode(texts)?)
    }

    /// Samples of the UNet `[n, l, h, w]` → images `[n, H, W, i]` in 0..1.
    ///
    /// # Panics
    /// If there are not as many channels as the UNet's samples have.
    pub fn decode(&self, latents: &Array4<f32>) -> Array4<f32> {
        let images: Vec<_> = latents.outer_iter().map(|latents| self.decode_one(latents)).collect();
        let views: Vec<_> = images.iter().map(|image| image.view()).collect();
        let (_, _, height, width) = latents.dim();
        let (factor, channels) = self.autoencoder.as_ref().map_or((1, self.unet.spec().outputs), |autoencoder| {
            (autoencoder.spec().factor(), autoencoder.spec().image)
        });
        if views.is_empty() {
            return Array4::zeros((0, factor * height, factor * width, channels));
        }
        ndarray::stack(ndarray::Axis(0), &views).expect("images of one size")
    }

    /// One sample `[l, h, w]` → its image `[H, W, i]`.
    fn decode_one(&self, latents: ArrayView3<'_, f32>) -> Array3<f32> {
        match &self.autoencoder {
            Some(autoencoder) => {
                let scale = autoencoder.spec().scale as f32;
                image(autoencoder.decode(tensor(&[latents.mapv(|value| value / scale).view()], &self.device)))
            }
            None => image(tensor(&[latents], &self.device)),
        }
    }

    /// An image `[H, W, i]` in 0..1 as the autoencoder gives it back, decoded from the means of its latents: the same image
    /// with the traces that everything drawn has. Without an autoencoder, as it is.
    ///
    /// # Panics
    /// If it has other channels, or a side that is no multiple of [`AutoencoderSpec::factor`](crate::network::AutoencoderSpec::factor).
    pub fn reconstruct(&self, pixels: ArrayView3<'_, f32>) -> Array3<f32> {
        let Some(autoencoder) = &self.autoencoder else { return pixels.to_owned() };
        let planes = pixels.permuted_axes([2, 0, 1]).mapv(|value| value * 2.0 - 1.0);
        let (means, _) = autoencoder.encode(tensor(&[planes.view()], &self.device));
        image(autoencoder.decode(means))
    }

    /// The UNet.
    pub fn unet(&self) -> &UNet {
        &self.unet
    }

    /// The autoencoder.
    pub fn autoencoder(&self) -> Option<&Autoencoder> {
        self.autoencoder.as_ref()
    }

    /// The text encoder.
    pub fn text_encoder(&self) -> Option<&TextEncoder> {
        self.text.as_ref()
    }

    /// How noise falls.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The method of the folder's own scheduler, where it is one of ours.
    pub fn method(&self) -> Option<Method> {
        self.method
    }

    /// Digest of all that decides what is drawn: weights as the networks have them, configurations, schedule, tokenizer.
    pub fn sha256(&self) -> String {
        let text = self.text.as_ref().map(|text| weights_sha256(text.network()));
        let autoencoder = self.autoencoder.as_ref().map(weights_sha256);
        let weights = [text, Some(weights_sha256(&self.unet)), autoencoder].map(Option::unwrap_or_default).join(" ");
        let text = self.text.as_ref().map(TextEncoder::spec);
        let read = (text, self.unet.spec(), self.autoencoder.as_ref().map(Autoencoder::spec), &self.schedule);
        let tokenizer = self.text.as_ref().map(|text| text.tokenizer().describe()).unwrap_or_default();
        digest(&weights, &read, &tokenizer)
    }
}

/// A text that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A pipeline without a text encoder.
    #[error("the pipeline has no text encoder")]
    NoTextEncoder,
    /// What the tokenizer says.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// The first image of a batch `[n, i, H, W]` about −1..1, as `[H, W, i]` in 0..1; NaN for a number that overflowed.
fn image(images: Tensor<4>) -> Array3<f32> {
    let [_, channels, height, width] = images.dims();
    let shown = |value: f32| if value.is_finite() { (value / 2.0 + 0.5).clamp(0.0, 1.0) } else { f32::NAN };
    let values = images.into_data().iter::<f32>().map(shown).collect();
    let image = Array3::from_shape_vec((channels, height, width), values).expect("a value for each pixel");
    image.permuted_axes([1, 2, 0]).as_standard_layout().into_owned()
}

/// Arrays `[c, h, w]` as a batch.
fn tensor(arrays: &[ArrayView3<'_, f32>], device: &Device) -> Tensor<4> {
    let (channels, height, width) = arrays[0].dim();
    let values: Vec<f32> = arrays.iter().flat_map(|array| array.iter().copied()).collect();
    Tensor::from_data(TensorData::new(values, [arrays.len(), channels, height, width]), device)
}
