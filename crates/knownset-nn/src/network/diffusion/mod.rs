//! The networks of latent diffusion (Rombach et al. 2022, <https://arxiv.org/abs/2112.10752>) as diffusers lays them out:
//! the UNet that tells noise from image, and the autoencoder between images and latents.
//!
//! Both compute in the precision of their weights, but for normalisations, which are f32 at least.

mod attention;
mod autoencoder;
mod init;
mod layout;
mod residual;
mod unet;

pub use autoencoder::{Autoencoder, AutoencoderSpec};
pub use init::{autoencoder_init, unet_init};
pub use unet::{UNet, UNetLevel, UNetSpec};

/// The checkpoints' name of a tensor: they number the layers of a perceptron, and have one name less for an attention
/// that stands alone.
fn name(path: &[String]) -> String {
    let parts = path.iter().filter(|part| *part != "attend").map(|part| match part.as_str() {
        "widen" => "net.0.proj",
        "narrow" => "net.2",
        other => other,
    });
    parts.collect::<Vec<_>>().join(".")
}
