//! How weights begin that are to be trained.

use crate::network::{Init, Rule};

/// How an autoencoder's tensors begin: convolutions as PyTorch's, uniform in ±1/√fan-in.
pub fn autoencoder_init(_: &str, shape: &[usize]) -> Rule {
    match *shape {
        [_, inputs, height, width] => Rule::Set(Init::Uniform(1.0 / ((inputs * height * width) as f64).sqrt())),
        _ => Rule::ByShape,
    }
}

/// How a UNet's begin: the same, but that whatever is added to a sum gives nothing yet, nor does the network as a whole
/// (Dhariwal & Nichol 2021, <https://arxiv.org/abs/2105.05233>, and Rombach et al. after them).
pub fn unet_init(name: &str, shape: &[usize]) -> Rule {
    let closed = ["conv2.weight", "proj_out.weight", "conv_out.weight"];
    if closed.iter().any(|end| name.ends_with(end)) {
        return Rule::Set(Init::Constant(0.0));
    }
    autoencoder_init(name, shape)
}
