//! Networks as burn modules: the same module is trained and saved under its checkpoint's names.
//!
//! Residual networks have an inference of their own; the others also run frozen as they are.

mod clip;
mod conv_norm;
mod convnet;
mod grounding;
mod init;
mod parameters;
mod resnet;
mod token_head;
mod trunk;
mod vit;

pub use clip::{Clip, ClipSpec, TowerSpec, clip_init};
pub use conv_norm::ConvNorm;
pub(crate) use conv_norm::Folded;
pub use convnet::ConvNet;
pub use grounding::{
    BertSpec, Cells, Decoded, Encoded, GROUPS, GroundingDino, GroundingSpec, Prompt, StackSpec, StageSpec, SwinSpec,
};
pub use init::{Init, Rule, initialise, initialise_with};
pub use parameters::{Mismatch, Named, load, load_beside_parts, shapes, to_weights};
pub use resnet::{Block, BlockKind, ResNet, ResNetNames, ResNetSpec, Shortcut, Stem};
pub use token_head::{Factors, TokenHead, TokenHeadSpec, token_head_init};
pub use trunk::Trunk;
pub use vit::{Vit, VitSpec};
