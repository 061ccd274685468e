//! Recipes: how to train a network that knows what it knows.

mod augment;
mod checkpoint;
mod chosen;
mod classifier;
mod drawing;
mod ema;
mod error;
mod gradients;
mod memory;
pub mod mix;
mod network;
mod optimiser;
mod pictures;
mod prompts;
mod queue;
mod recipe;
mod recipes;
mod sampler;
mod schedule;
mod sio;
pub mod synthesis;
pub mod tensorboard;
mod tensors;
#[cfg(test)]
mod testing;
mod tokens;
mod trainer;

pub use augment::{Augment, AugmentError, CHANGES, Change, ChangeEntry};
pub use chosen::{ChooseError, Chosen, find};
pub use classifier::Classification;
pub use drawing::{Conditions, GENERIC, Latents, unit_noise};
pub use error::TrainError;
pub use memory::keep_freed_memory;
pub use optimiser::{Decays, Optimiser};
pub use pictures::{Labelled, Pictures};
pub use prompts::{ChosenPrompts, Learned, Prompting, Stage};
pub use recipes::autoencoder::{AutoencoderRecipe, Autoencoding};
pub use recipes::clip::{Captioned, Contrastive};
pub use recipes::diffusion::{Described, Diffusing, DiffusionRecipe};
pub use recipes::{Outliers, ParamDoc, RECIPES, RecipeEntry};
pub use schedule::{Curve, Schedule};
pub use sio::{Exhaust, Second, Sio, Weighting};
pub use tokens::{ChosenTokens, TokenClassification, TokenSet, TokenSetError};
pub use trainer::{Epoch, Event, Keep, Trained, Training};
