//! Recipes: how to train a network that knows what it knows.

mod augment;
mod checkpoint;
mod recipes;
mod trainer;

pub use augment::Augment;
pub use recipes::{RECIPES, RecipeEntry, find};
pub use trainer::{Epoch, Event, Labelled, Sgd, TrainError, Trained, Training};
