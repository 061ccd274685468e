//! One file per recipe, and the list of them.

mod arpl;
mod ascood;
mod aug_mix;
pub(crate) mod autoencoder;
pub(crate) mod captioner;
mod cider;
pub(crate) mod clip;
mod conf_branch;
pub(crate) mod coop;
pub(crate) mod cross_entropy;
mod cut_mix;
pub(crate) mod detector;
pub(crate) mod diffusion;
mod energy_reg;
mod fodfom;
mod g_odin;
mod ish;
pub(crate) mod locoop;
mod logit_norm;
pub(crate) mod lsn;
mod mcd;
mod mixoe;
mod mixup;
pub(crate) mod negprompt;
mod npos;
mod oe;
mod pix_mix;
mod rand_augment;
mod reg_mixup;
mod rot_pred;
mod rts;
mod t2fnorm;
pub(crate) mod tagood;
mod vos;

use knownset_core::params::{ParamError, read};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::classifier::Teach;
use crate::prompts::PromptRecipe;
use crate::recipe::Recipe;
use crate::sio::Sio;
use tagood::TagOod;

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
    /// Whatever the recipe behind the `+` trains.
    Wrapper,
    /// An image and a text tower.
    Towers,
    /// A network that writes about images.
    Captioner(fn() -> serde_json::Result<Value>),
    /// A network that finds what is named.
    Detector,
    /// A part of what draws images.
    Generator(fn() -> serde_json::Result<Value>),
    /// Prompts for towers that stay as they are.
    Prompts(fn(Map<String, Value>) -> Result<ParsedPrompts, ParamError>),
    /// A head on the patches of a network that stays as it is.
    Tokens(fn(Map<String, Value>) -> Result<ParsedTokens, ParamError>),
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

/// The parameters of a recipe when none is given.
pub(crate) fn defaults<R: Default + Serialize>() -> serde_json::Result<Value> {
    serde_json::to_value(R::default())
}

/// Checked parameters of a recipe for prompts.
pub(crate) type ParsedPrompts = (Box<dyn PromptRecipe>, Value);

/// Checked parameters of the recipe for heads on tokens.
pub(crate) type ParsedTokens = (TagOod, Value);

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
    /// The values of its parameters when none is given.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn defaults(&self) -> Result<Map<String, Value>, ParamError> {
        let params = match self.kind {
            Kind::Classifier(parse) => parse(Map::new())?.1,
            Kind::Prompts(parse) => parse(Map::new())?.1,
            Kind::Tokens(parse) => parse(Map::new())?.1,
            Kind::Wrapper => defaults::<Sio>()?,
            Kind::Captioner(defaults) | Kind::Generator(defaults) => defaults()?,
            Kind::Towers | Kind::Detector => return Ok(Map::new()),
        };
        Ok(serde_json::from_value(params)?)
    }

    /// Whether it learns prompts, which [`ChosenPrompts`](crate::ChosenPrompts) does.
    pub fn learns_prompts(&self) -> bool {
        matches!(self.kind, Kind::Prompts(_))
    }

    /// Whether it goes around another recipe.
    pub fn wraps(&self) -> bool {
        matches!(self.kind, Kind::Wrapper)
    }

    /// Whether it trains a head on tokens, which [`ChosenTokens`](crate::ChosenTokens) does.
    pub fn reads_tokens(&self) -> bool {
        matches!(self.kind, Kind::Tokens(_))
    }
}

fn trains<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        Kind::Classifier(_) => "classifier",
        Kind::Wrapper => "wrapper",
        Kind::Towers => "towers",
        Kind::Captioner(_) => "captioner",
        Kind::Detector => "detector",
        Kind::Generator(_) => "generator",
        Kind::Prompts(_) => "prompts",
        Kind::Tokens(_) => "head",
    })
}

/// Every recipe, in the order they are listed to the user.
pub static RECIPES: &[&RecipeEntry] = &[
    &cross_entropy::ENTRY,
    &logit_norm::ENTRY,
    &t2fnorm::ENTRY,
    &conf_branch::ENTRY,
    &g_odin::ENTRY,
    &arpl::ENTRY,
    &rot_pred::ENTRY,
    &ish::ENTRY,
    &rts::ENTRY,
    &cider::ENTRY,
    &npos::ENTRY,
    &vos::ENTRY,
    &mixup::ENTRY,
    &reg_mixup::ENTRY,
    &cut_mix::ENTRY,
    &aug_mix::ENTRY,
    &pix_mix::ENTRY,
    &rand_augment::ENTRY,
    &ascood::ENTRY,
    &oe::ENTRY,
    &energy_reg::ENTRY,
    &mixoe::ENTRY,
    &mcd::ENTRY,
    &fodfom::ENTRY,
    &crate::sio::ENTRY,
    &clip::ENTRY,
    &captioner::ENTRY,
    &detector::ENTRY,
    &autoencoder::ENTRY,
    &diffusion::ENTRY,
    &coop::ENTRY,
    &locoop::ENTRY,
    &negprompt::ENTRY,
    &lsn::ENTRY,
    &tagood::ENTRY,
];
