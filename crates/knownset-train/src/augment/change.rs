//! What an augmentation consists of: a change, its parameters, and how a user names it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use knownset_core::params::{self, ParamError};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::CHANGES;
use super::picture::Picture;

/// A kind of change of the registry.
#[derive(Debug, Serialize)]
pub struct ChangeEntry {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Its parameters, each with what it means and its range, in the order they are written.
    pub params: &'static [(&'static str, &'static str)],
    /// Reads its parameters: [`read`] of the change's own type.
    #[serde(skip)]
    pub(super) read: fn(Map<String, Value>) -> Result<Read, ParamError>,
}

/// A change with checked parameters, and those as JSON, every default filled in.
pub(super) type Read = (Arc<dyn Effect>, Value);

/// A change of pictures; the parameters are its fields.
pub(super) trait Effect: fmt::Debug + Send + Sync {
    /// Whether the parameters are in range.
    fn check(&self) -> Result<(), ParamError> {
        Ok(())
    }

    /// The changed picture, of the same side, with values in 0..1 where those of `picture` are. `rng` alone decides
    /// what is random.
    fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture;
}

/// Reads and checks the parameters of a change; what is left out takes its default.
pub(super) fn read<E: Effect + Serialize + DeserializeOwned + 'static>(
    params: Map<String, Value>,
) -> Result<Read, ParamError> {
    let effect: E = params::read(params)?;
    effect.check()?;
    let params = serde_json::to_value(&effect)?;
    Ok((Arc::new(effect), params))
}

/// A change with its parameters, read from and shown as `name:key=value:key=value`.
#[derive(Clone)]
pub struct Change {
    entry: &'static ChangeEntry,
    params: Value,
    effect: Arc<dyn Effect>,
}

/// An augmentation that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// No change has that name.
    #[error("there is no augmentation `{name}`; the nearest is `{nearest}`")]
    Unknown {
        /// The name given.
        name: String,
        /// The most similar name there is.
        nearest: &'static str,
    },
    /// Parameters that cannot be read or are out of range.
    #[error("augmentation `{text}`: {why}")]
    Params {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: ParamError,
    },
}

impl Change {
    /// A change whose parameters, `params` as JSON, are known to be in range.
    pub(super) fn new(entry: &'static ChangeEntry, effect: impl Effect + 'static, params: Value) -> Self {
        Self { entry, params, effect: Arc::new(effect) }
    }

    /// Its kind.
    pub fn entry(&self) -> &'static ChangeEntry {
        self.entry
    }

    /// Every parameter, defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    pub(super) fn apply(&self, picture: Picture, rng: &mut ChaCha8Rng) -> Picture {
        self.effect.apply(picture, rng)
    }
}

fn find(name: &str) -> Result<&'static ChangeEntry, AugmentError> {
    CHANGES.iter().find(|entry| entry.name == name).copied().ok_or_else(|| {
        let distance = |entry: &&&ChangeEntry| strsim::damerau_levenshtein(entry.name, name);
        let nearest = CHANGES.iter().min_by_key(distance).map_or("", |entry| entry.name);
        AugmentError::Unknown { name: name.to_owned(), nearest }
    })
}

impl FromStr for Change {
    type Err = AugmentError;

    fn from_str(text: &str) -> Result<Self, AugmentError> {
        let bad = |why| AugmentError::Params { text: text.to_owned(), why };
        let (name, params) = params::split(text).map_err(bad)?;
        let entry = find(name)?;
        let (effect, params) = (entry.read)(params).map_err(bad)?;
        Ok(Self { entry, params, effect })
    }
}

/// The name and every parameter that has a value: the text means the same when a default changes.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        let values = self.entry.params.iter().map(|(key, _)| (key, &self.params[*key]));
        values.filter(|(_, value)| !value.is_null()).try_for_each(|(key, value)| write!(f, ":{key}={value}"))
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.effect.fmt(f)
    }
}

impl PartialEq for Change {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name && self.params == other.params
    }
}
