//! One file per recipe, and the list of them.

pub(crate) mod clip;
pub(crate) mod cross_entropy;

use serde::Serialize;

/// A recipe of the registry.
#[derive(Debug, Serialize)]
pub struct RecipeEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One sentence: the loss and what it is for.
    pub doc: &'static str,
    /// Where it was published.
    pub paper: &'static str,
}

/// Every recipe.
pub static RECIPES: &[&RecipeEntry] = &[&cross_entropy::ENTRY, &clip::ENTRY];

/// The recipe of that name.
pub fn find(name: &str) -> Option<&'static RecipeEntry> {
    RECIPES.iter().copied().find(|entry| entry.name == name)
}
