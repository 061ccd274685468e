//! What takes the time of a convolutional network, on the CPU, channels last: forward for frozen networks, forward and
//! gradients for training.

mod batch_norm;
mod conv;
mod feature_map;
mod gradients;
mod group_norm;
mod nearest;
mod pooling;

pub(crate) use batch_norm::{Norm, moments};
pub(crate) use conv::{Conv, Then};
pub(crate) use feature_map::{FeatureMap, Scratch, Shape};
pub(crate) use gradients::{Filter, bias_gradient, convolve, input_gradient, weight_gradient};
pub(crate) use group_norm::{GroupNorm, Moments};
pub(crate) use nearest::{nearest, nearest_gradient};
pub(crate) use pooling::{max_pool, mean};
