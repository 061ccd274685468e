//! Networks as burn modules: the same module is trained, saved under its checkpoint's names, and run.

mod conv_norm;
mod init;
mod parameters;
mod resnet;
mod vit;

pub use conv_norm::ConvNorm;
pub use init::initialise;
pub use parameters::{Mismatch, Named, load, shapes, to_weights};
pub use resnet::{Block, BlockKind, ResNet, ResNetNames, ResNetSpec, Shortcut, Stem};
pub use vit::{Vit, VitSpec};
