//! What a diffusion model learns from: latents of images, and conditions made of texts.

mod conditions;
mod latents;

pub use conditions::{Conditions, GENERIC};
pub use latents::Latents;
