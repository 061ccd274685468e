//! Frozen residual networks, one image at a time: what [`network`](crate::network) trains, run without a tensor library.

mod conv;
mod feature_map;
mod pooling;
mod resnet;

pub(crate) use feature_map::Scratch;
pub(crate) use resnet::FrozenResNet;
