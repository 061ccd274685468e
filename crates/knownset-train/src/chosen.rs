//! How a user names a recipe: `name:key=value…`, or `sio:key=value…+name:key=value…`.

use std::fmt;
use std::ops::ControlFlow;

use knownset_core::params::{ParamError, read, split};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::classifier::{Classification, Teach};
use crate::error::TrainError;
use crate::recipes::{Kind, RECIPES, RecipeEntry};
use crate::sio::Sio;
use crate::trainer::{Event, Trained, Training};

/// A classifier's recipe with parameters, ready to be followed.
#[derive(Debug)]
pub struct Chosen {
    entry: &'static RecipeEntry,
    recipe: Box<dyn Teach>,
    params: Value,
    sio: Option<Sio>,
    label: String,
}

/// A choice that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// No recipe has that name.
    #[error("there is no recipe `{name}`{}", nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// The name given.
        name: String,
        /// The name most like it, if one is.
        nearest: Option<&'static str>,
    },
    /// A wrapper without a recipe.
    #[error("`{name}` goes around another recipe; write {name}+cross-entropy")]
    Alone {
        /// The wrapper.
        name: &'static str,
    },
    /// A recipe that trains something else.
    #[error("the recipe `{name}` trains no classifier")]
    NoClassifier {
        /// The recipe.
        name: &'static str,
    },
    /// A recipe that learns something else.
    #[error("the recipe `{name}` learns no prompts")]
    NoPrompts {
        /// The recipe.
        name: &'static str,
    },
    /// A recipe that trains something else.
    #[error("the recipe `{name}` trains no head on tokens")]
    NoHead {
        /// The recipe.
        name: &'static str,
    },
    /// Another recipe than the one that is asked for.
    #[error("`{given}` is not the recipe {name}")]
    Other {
        /// What was given.
        given: String,
        /// The recipe.
        name: &'static str,
    },
    /// Parameters the recipe refuses.
    #[error("bad parameters for `{name}`")]
    Params {
        /// The recipe.
        name: String,
        /// What is wrong with them.
        source: ParamError,
    },
}

/// The recipe of that name; the error suggests the nearest name.
pub fn find(name: &str) -> Result<&'static RecipeEntry, ChooseError> {
    RECIPES.iter().copied().find(|entry| entry.name == name).ok_or_else(|| {
        let near = RECIPES.iter().map(|entry| (strsim::damerau_levenshtein(name, entry.name), entry.name)).min();
        let nearest = near.filter(|(distance, _)| *distance <= name.len().div_ceil(2)).map(|(_, near)| near);
        ChooseError::Unknown { name: name.to_owned(), nearest }
    })
}

impl Chosen {
    /// Reads a choice.
    ///
    /// ```
    /// let chosen = knownset_train::Chosen::parse("sio:alpha=0.9+cross-entropy")?;
    /// assert_eq!(chosen.entry().name, "cross-entropy");
    /// assert_eq!(chosen.sio().map(|sio| sio.alpha), Some(0.9));
    /// # Ok::<(), knownset_train::ChooseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        let bad = |name: &str| {
            let name = name.to_owned();
            move |source| ChooseError::Params { name, source }
        };
        let (wrapper, inner) = match text.split_once('+') {
            Some((wrapper, inner)) if wrapper.split(':').next() == Some("sio") => (Some(wrapper), inner),
            _ => (None, text),
        };
        let sio = wrapper.map(|wrapper| {
            let sio: Sio = split(wrapper).and_then(|(_, params)| read(params)).map_err(bad("sio"))?;
            sio.check().map_err(bad("sio"))?;
            Ok(sio)
        });
        let Named { entry, params, label } = Named::read(inner)?;
        let parse = match entry.kind {
            Kind::Classifier(parse) => parse,
            Kind::Wrapper => return Err(ChooseError::Alone { name: entry.name }),
            _ => return Err(ChooseError::NoClassifier { name: entry.name }),
        };
        let (recipe, params) = parse(params).map_err(bad(entry.name))?;
        let label = wrapper.map_or_else(|| label.clone(), |wrapper| format!("{}+{label}", wrapper.trim()));
        Ok(Self { entry, recipe, params, sio: sio.transpose()?, label })
    }

    /// The recipe.
    pub fn entry(&self) -> &'static RecipeEntry {
        self.entry
    }

    /// Every parameter, defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// How synthetic pictures are mixed in, if they are.
    pub fn sio(&self) -> Option<&Sio> {
        self.sio.as_ref()
    }

    /// Trains to the end, or as far as `watch` lets it.
    pub fn train(
        &self,
        task: &Classification<'_>,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        self.recipe.train(&self.label, task, self.sio.as_ref(), training, watch)
    }
}

/// The name and the parameters that were given.
impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// A recipe as it was named, its parameters not read yet.
pub(crate) struct Named {
    pub(crate) entry: &'static RecipeEntry,
    pub(crate) params: Map<String, Value>,
    /// The name and the parameters that were given.
    pub(crate) label: String,
}

impl Named {
    /// That recipe, with the parameters that `text` gives it.
    pub(crate) fn read_as<R: DeserializeOwned>(
        entry: &'static RecipeEntry,
        text: &str,
        check: impl FnOnce(&R) -> Result<(), ParamError>,
    ) -> Result<R, ChooseError> {
        let named = Self::read(text)?;
        if named.entry.name != entry.name {
            return Err(ChooseError::Other { given: text.to_owned(), name: entry.name });
        }
        let recipe = read(named.params).and_then(|recipe| check(&recipe).map(|()| recipe));
        recipe.map_err(|source| ChooseError::Params { name: entry.name.to_owned(), source })
    }

    /// Reads `name:key=value…`.
    pub(crate) fn read(text: &str) -> Result<Self, ChooseError> {
        let bad = |source| ChooseError::Params { name: text.to_owned(), source };
        let (name, params) = split(text).map_err(bad)?;
        let entry = find(name)?;
        let label = params.iter().fold(entry.name.to_owned(), |label, (key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{label}:{key}={value}")
        });
        Ok(Self { entry, params, label })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_registry_is_in_order() {
        for (index, entry) in RECIPES.iter().enumerate() {
            let name = entry.name;
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
            assert!(RECIPES[..index].iter().all(|other| other.name != name), "{name} twice");
            assert!(entry.paper.starts_with("https://") && (2015..2030).contains(&entry.year), "{name}");
            assert!(!entry.title.is_empty() && !entry.loss.is_empty(), "{name}");
            let params = entry.defaults().unwrap();
            let defaults: BTreeSet<&str> = params.keys().map(String::as_str).collect();
            let documented: BTreeSet<&str> = entry.params.iter().map(|param| param.name).collect();
            assert_eq!(defaults, documented, "{name}");
        }
    }

    #[test]
    fn defaults_are_what_a_choice_without_parameters_has() {
        for entry in RECIPES.iter().filter(|entry| matches!(entry.kind, Kind::Classifier(_))) {
            let chosen = Chosen::parse(entry.name).unwrap();
            assert_eq!(chosen.params(), &Value::Object(entry.defaults().unwrap()), "{}", entry.name);
        }
        assert_eq!(find("sio").unwrap().defaults().unwrap()["alpha"], 0.8);
        assert_eq!(find("mixup").unwrap().defaults().unwrap()["alpha"], 0.2);
        assert_eq!(find("cider").unwrap().defaults().unwrap()["views"], "contrastive");
        assert_eq!(find("autoencoder").unwrap().defaults().unwrap()["latents"], 4);
        assert_eq!(find("clip").unwrap().defaults().unwrap(), Map::new());
    }

    #[test]
    fn choices_are_read_and_written() {
        let chosen = Chosen::parse("sio:alpha=0.9:second=redrawn+cross-entropy:label-smoothing=0.1").unwrap();
        assert_eq!(chosen.to_string(), "sio:alpha=0.9:second=redrawn+cross-entropy:label-smoothing=0.1");
        assert_eq!(chosen.params()["label-smoothing"], 0.1);
        let wrong = |text: &str| Chosen::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("cross-entropi"), "there is no recipe `cross-entropi`, did you mean `cross-entropy`?");
        assert_eq!(wrong("sio:alpha=0.5"), "`sio` goes around another recipe; write sio+cross-entropy");
        assert_eq!(wrong("clip"), "the recipe `clip` trains no classifier");
        assert_eq!(wrong("cross-entropy:x=1"), "bad parameters for `cross-entropy`");
        assert_eq!(wrong("sio:alpha=2+cross-entropy"), "bad parameters for `sio`");
        assert_eq!(wrong("sio:second=redrawn:weighting=explicit+cross-entropy"), "bad parameters for `sio`");
        assert_eq!(wrong("cross-entropy:label-smoothing=1"), "bad parameters for `cross-entropy`");
    }
}
