//! Networks that turn images into features: weights files, backbones and their registry.

mod backbone;
pub mod backbones;
pub mod blip2;
mod bundled;
mod bundled_checkpoints;
mod checkpoint;
pub mod clip;
mod compute;
pub mod diffusion;
mod error;
pub mod extract;
pub mod generate;
pub mod grounding;
mod inference;
mod kernels;
pub mod network;
mod parts;
mod precision;
mod token_head;
pub mod tokenizer;
pub mod weights;

pub use backbone::{Backbone, LoadedBackbone, Output, frozen, load_backbone};
pub use backbones::{Architecture, BACKBONES, BackboneEntry, find};
pub use bundled::{is_bundled, load_bundled};
pub use bundled_checkpoints::{
    BundledCheckpoint, SPRITE_CAPTIONER, SPRITE_DETECTOR, SPRITE_DIFFUSION, bundled_checkpoint,
};
pub use checkpoint::CheckpointError;
pub use compute::{Compute, ComputeError};
pub use error::NnError;
pub use parts::{RECIPE_PREFIX, parts};
pub use precision::Precision;
pub use token_head::{token_head_facts, with_token_head};
pub use weights::{HostTensor, Weights, WeightsError};
