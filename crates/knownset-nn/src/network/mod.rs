//! Networks as burn modules: the same module is trained and saved under its checkpoint's names.
//!
//! Vision transformers also run frozen as they are; residual networks have an inference of their own.

mod clip;
mod conv_norm;
mod init;
mod parameters;
mod resnet;
mod trunk;
mod vit;

pub use clip::{Clip, ClipSpec, TowerSpec, clip_init};
pub use conv_norm::ConvNorm;
pub(crate) use conv_norm::Folded;
pub use init::{Init, Rule, initialise, initialise_with};
pub use parameters::{Mismatch, Named, load, load_beside_parts, shapes, to_weights};
pub use resnet::{Block, BlockKind, ResNet, ResNetNames, ResNetSpec, Shortcut, Stem};
pub use trunk::Trunk;
pub use vit::{Vit, VitSpec};
