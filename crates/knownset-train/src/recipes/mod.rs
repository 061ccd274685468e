//! One file per recipe, and the list of them.

pub(crate) mod ascood;
pub(crate) mod cider;
pub(crate) mod clip;
pub(crate) mod coop;
pub(crate) mod cross_entropy;
pub(crate) mod energy_reg;
pub(crate) mod locoop;
pub(crate) mod lsn;
pub(crate) mod mcd;
pub(crate) mod mixoe;
pub(crate) mod negprompt;
pub(crate) mod npos;
pub(crate) mod oe;
pub(crate) mod vos;

use knownset_core::params::{ParamError, read};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::classifier::Teach;
use crate::prompts::PromptRecipe;
use crate::recipe::Recipe;

/// A recipe of the registry.
#[derive(Debug, Serialize)]
pub struct RecipeEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// Its name as people write it.
    pub title: &'static str,
    /// Year of the paper.
    pub year: u16,
    /// Where it was published.
    pub paper: &'static str,
    /// The loss in one line: z logits, p softmax, y label, f embedding, K classes; x' an outlier.
    pub loss: &'static str,
    /// What it learns from beside the known classes.
    pub outliers: Outliers,
    /// Its parameters.
    pub params: &'static [ParamDoc],
    /// What it trains.
    #[serde(rename = "trains", serialize_with = "trains")]
    pub(crate) kind: Kind,
}

/// Whether a recipe learns from images that belong to no known class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outliers {
    /// It does not.
    None,
    /// It cannot do without.
    Required,
}

/// One parameter.
#[derive(Debug, Serialize)]
pub struct ParamDoc {
    /// Its key.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// What a recipe trains.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A classifier.
    Classifier(fn(Map<String, Value>) -> Result<Parsed, ParamError>),
    /// An image and a text tower.
    Towers,
    /// Prompts for towers that stay as they are.
    Prompts(fn(Map<String, Value>) -> Result<ParsedPrompts, ParamError>),
}

/// Checked parameters, as a recipe and as JSON with every default filled in.
pub(crate) type Parsed = (Box<dyn Teach>, Value);

/// How a classifier's recipe reads its parameters.
pub(crate) const fn classifier<R: Recipe + Serialize + DeserializeOwned + 'static>() -> Kind {
    Kind::Classifier(|params| {
        let recipe: R = read(params)?;
        recipe.check()?;
        let params = serde_json::to_value(&recipe)?;
        Ok((Box::new(recipe), params))
    })
}

/// Checked parameters of a recipe for prompts.
pub(crate) type ParsedPrompts = (Box<dyn PromptRecipe>, Value);

/// How a recipe for prompts reads its parameters.
pub(crate) const fn prompts<R: PromptRecipe + Serialize + DeserializeOwned + 'static>() -> Kind {
    Kind::Prompts(|params| {
        let recipe: R = read(params)?;
        recipe.check()?;
        let params = serde_json::to_value(&recipe)?;
        Ok((Box::new(recipe), params))
    })
}

impl RecipeEntry {
    /// Whether it learns prompts, which [`ChosenPrompts`](crate::ChosenPrompts) does.
    pub fn learns_prompts(&self) -> bool {
        matches!(self.kind, Kind::Prompts(_))
    }
}

fn trains<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        Kind::Classifier(_) => "classifier",
        Kind::Towers => "towers",
        Kind::Prompts(_) => "prompts",
    })
}

/// Every recipe, in the order they are listed to the user.
pub static RECIPES: &[&RecipeEntry] = &[
    &cross_entropy::ENTRY,
    &oe::ENTRY,
    &energy_reg::ENTRY,
    &mixoe::ENTRY,
    &mcd::ENTRY,
    &vos::ENTRY,
    &npos::ENTRY,
    &cider::ENTRY,
    &ascood::ENTRY,
    &clip::ENTRY,
    &coop::ENTRY,
    &locoop::ENTRY,
    &negprompt::ENTRY,
    &lsn::ENTRY,
];
