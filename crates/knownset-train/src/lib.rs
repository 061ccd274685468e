//! Recipes: how to train a network that knows what it knows.

mod augment;
mod checkpoint;
mod classifier;
mod optimiser;
mod recipes;
pub mod tensorboard;
mod trainer;

pub use augment::Augment;
pub use classifier::{Classification, Labelled};
pub use optimiser::{Optimiser, Schedule};
pub use recipes::clip::{Captioned, Contrastive};
pub use recipes::{RECIPES, RecipeEntry, find};
pub use trainer::{Epoch, Event, TrainError, Trained, Training};
