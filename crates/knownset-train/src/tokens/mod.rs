//! Training a head on the tokens that a frozen network gives of images.

mod chosen;
mod run;
mod set;

pub use chosen::{ChosenTokens, TokenClassification};
pub use set::{TokenSet, TokenSetError};
