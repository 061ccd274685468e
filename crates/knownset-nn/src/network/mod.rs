//! Networks as burn modules: the same module is trained and saved under its checkpoint's names.
//!
//! Residual networks have an inference of their own; the others also run frozen as they are.

mod attention;
mod blip2;
mod clip;
mod conv_norm;
mod convnet;
mod diffusion;
mod grounding;
mod init;
mod maps;
mod mixed;
mod operations;
mod opt;
mod parameters;
mod resnet;
#[cfg(test)]
mod testing;
mod token_head;
mod trunk;
mod vit;

pub use blip2::{Blip2, Blip2Spec, QFormerSpec, VisionSpec};
pub use clip::{Clip, ClipSpec, ClipText, TextSpec, TowerSpec, clip_init};
pub use conv_norm::ConvNorm;
pub(crate) use conv_norm::Folded;
pub use convnet::ConvNet;
pub use diffusion::{Autoencoder, AutoencoderSpec, UNet, UNetLevel, UNetSpec, autoencoder_init, unet_init};
pub use grounding::{
    BertSpec, Cells, Decoded, Encoded, GROUPS, GroundingDino, GroundingSpec, Prompt, Said, StackSpec, StageSpec,
    SwinSpec,
};
pub use init::{Init, Rule, initialise, initialise_with};
pub(crate) use mixed::Rounded;
pub use opt::{Opt, OptSpec, Past};
pub use parameters::{Mismatch, Named, load, load_beside_parts, load_owned, shapes, to_weights, weights_sha256};
pub use resnet::{Block, BlockKind, ResNet, ResNetNames, ResNetSpec, Shortcut, Stem};
pub use token_head::{Factors, TokenHead, TokenHeadSpec, token_head_init};
pub use trunk::Trunk;
pub use vit::{Vit, VitSpec};
