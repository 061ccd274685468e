//! What takes the time of a convolutional network, on the CPU, channels last: forward for frozen networks, forward and
//! gradients for training.

mod batch_norm;
mod conv;
mod feature_map;
mod gradients;
mod pooling;

pub(crate) use batch_norm::{Norm, moments};
pub(crate) use conv::{Conv, Then};
pub(crate) use feature_map::{FeatureMap, Scratch, Shape};
pub(crate) use gradients::{Filter, convolve, input_gradient, weight_gradient};
pub(crate) use pooling::{max_pool, mean};
