//! A recipe for heads as a user names it, and its whole run.

use std::ops::ControlFlow;

use serde_json::Value;

use super::run::Run;
use super::set::TokenSet;
use crate::chosen::{ChooseError, Named};
use crate::error::TrainError;
use crate::recipes::tagood::{self, TagOod};
use crate::recipes::{Kind, RecipeEntry};
use crate::schedule::{Curve, Schedule};
use crate::trainer::{Event, Trained, Training};

/// What a head is trained on.
#[derive(Debug, Clone, Copy)]
pub struct TokenClassification<'a> {
    /// Number of known classes K.
    pub classes: usize,
    /// Training images.
    pub data: &'a TokenSet,
    /// Images whose accuracy is reported after every epoch; they decide which epoch is kept, if that is asked for.
    pub validation: Option<&'a TokenSet>,
    /// Digest of the network that gave the tokens, where it is known; the head's file keeps it.
    pub tower: Option<&'a str>,
}

/// A recipe for heads with parameters, ready to be followed.
#[derive(Debug)]
pub struct ChosenTokens {
    entry: &'static RecipeEntry,
    recipe: TagOod,
    params: Value,
    label: String,
}

impl ChosenTokens {
    /// Reads a choice.
    ///
    /// ```
    /// let chosen = knownset_train::ChosenTokens::parse("tagood:groups=2")?;
    /// assert_eq!(chosen.params()["groups"], 2);
    /// # Ok::<(), knownset_train::ChooseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        let bad = |source| ChooseError::Params { name: text.to_owned(), source };
        let Named { entry, params, label } = Named::read(text)?;
        let Kind::Tokens(parse) = entry.kind else {
            return Err(ChooseError::NoHead { name: entry.name });
        };
        let (recipe, params) = parse(params).map_err(bad)?;
        Ok(Self { entry, recipe, params, label })
    }

    /// The recipe.
    pub fn entry(&self) -> &'static RecipeEntry {
        self.entry
    }

    /// Every parameter, defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// The name and the parameters that were given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The run as the paper has it; folder, fingerprint, seed and all that it leaves open are those of `said`.
    pub fn usual<'a>(&self, said: &Training<'a>) -> Training<'a> {
        let (lr, least) = tagood::RATES;
        Training {
            epochs: tagood::EPOCHS,
            batch: tagood::BATCH,
            optimiser: tagood::ADAM,
            schedule: Schedule { lr, warmup: 0, curve: Curve::Cosine { least } },
            ..said.clone()
        }
    }

    /// Trains to the end, or as far as `watch` lets it. The weights file is a head that
    /// [`knownset_nn::with_token_head`] puts behind the network that gave the tokens.
    pub fn train(
        &self,
        task: &TokenClassification<'_>,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let [tokens, width] = task.data.token_shape();
        let all = [("training", Some(task.data)), ("validation", task.validation)];
        for (what, set) in all.into_iter().filter_map(|(what, set)| Some((what, set?))) {
            if set.token_shape() != [tokens, width] {
                let found = set.token_shape();
                return Err(TrainError::Tokens { what, found, expected: [tokens, width] });
            }
            let wrong = set.labels().iter().position(|&label| label >= task.classes);
            if let Some(image) = wrong {
                let label = set.labels()[image];
                return Err(TrainError::Label { what, image, label, classes: task.classes });
            }
        }
        let bad = |source| TrainError::Params { recipe: self.label.clone(), source };
        let spec = self.recipe.spec(tokens, width, task.classes).map_err(bad)?;
        let (seed, batch) = (training.seed, training.batch);
        let run = Run { task: *task, recipe: &self.recipe, label: &self.label, spec, seed, batch };
        training.run(&run, watch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_parameter_is_documented_and_wrong_ones_are_refused() {
        let chosen = ChosenTokens::parse("tagood").unwrap();
        let defaults: BTreeSet<&str> = chosen.params().as_object().unwrap().keys().map(String::as_str).collect();
        let documented: BTreeSet<&str> = chosen.entry().params.iter().map(|param| param.name).collect();
        assert_eq!(defaults, documented);
        assert_eq!(ChosenTokens::parse("tagood:momentum=0.9").unwrap().label(), "tagood:momentum=0.9");
        let wrong = |text: &str| ChosenTokens::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("tagod"), "there is no recipe `tagod`, did you mean `tagood`?");
        assert_eq!(wrong("coop"), "the recipe `coop` trains no head on tokens");
        for text in ["tagood:depth=0", "tagood:heads=0", "tagood:groups=0", "tagood:dropout=1", "tagood:momentum=1"] {
            assert!(matches!(ChosenTokens::parse(text), Err(ChooseError::Params { .. })), "{text}");
        }
        assert!(ChosenTokens::parse("tagood:weight=-1").is_err() && ChosenTokens::parse("tagood:x=1").is_err());
    }
}
