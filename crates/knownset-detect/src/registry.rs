//! The one list of detectors, and how a user names them.

use std::fmt;

use knownset_core::Features;
use serde_json::{Map, Value};

use crate::detectors as d;
use crate::spec::{Entry, ParamError, Spec};

/// Every detector, in the order tables show them.
pub static DETECTORS: &[&Entry] = &[
    &d::msp::ENTRY,
    &d::temp_scale::ENTRY,
    &d::mls::ENTRY,
    &d::ebo::ENTRY,
    &d::generalized_entropy::ENTRY,
    &d::entropy::ENTRY,
    &d::klm::ENTRY,
    &d::openmax::ENTRY,
    &d::mds::ENTRY,
    &d::rmds::ENTRY,
    &d::knn::ENTRY,
    &d::vim::ENTRY,
    &d::residual::ENTRY,
    &d::she::ENTRY,
    &d::fdbd::ENTRY,
    &d::grad_norm::ENTRY,
    &d::react::ENTRY,
    &d::ash_s::ENTRY,
    &d::scale::ENTRY,
    &d::dice::ENTRY,
    &d::conf_branch::ENTRY,
    &d::mcd::ENTRY,
    &d::g_odin::ENTRY,
    &d::weighted_ebo::ENTRY,
    &d::cider::CIDER,
    &d::cider::NPOS,
    &d::rot_pred::ENTRY,
    &d::rts::ENTRY,
    &d::t2fnorm::ENTRY,
    &d::kplus1::ENTRY,
    &d::tagood::ENTRY,
    &d::mcm::ENTRY,
    &d::gl_mcm::ENTRY,
    &d::neglabel::ENTRY,
    &d::csp::ENTRY,
    &d::cma::ENTRY,
    &d::tag::ENTRY,
    &d::eoe::ENTRY,
    &d::clipn::ENTRY,
    &d::candidate_words::ENTRY,
    &d::negprompt::ENTRY,
    &d::lsn::ENTRY,
    &d::adaneg::ENTRY,
    &d::oodd::ENTRY,
];

/// A detector with parameters, ready to be fitted.
#[derive(Debug)]
pub struct Chosen {
    entry: &'static Entry,
    spec: Box<dyn Spec>,
    params: Value,
    label: String,
    /// Whether it may be left out where what it reads of a recipe is not there.
    optional: bool,
}

/// A choice of detectors that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// No detector has that name.
    #[error("there is no detector `{name}`{}", nearest.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default())]
    Unknown {
        /// The name given.
        name: String,
        /// The name most like it, if one is.
        nearest: Option<&'static str>,
    },
    /// Something other than `key=value` behind the name.
    #[error("`{text}` in `{chosen}` is not of the form key=value")]
    NotAPair {
        /// The piece.
        text: String,
        /// The whole.
        chosen: String,
    },
    /// Parameters the detector refuses.
    #[error("bad parameters for `{name}`")]
    Params {
        /// The detector.
        name: &'static str,
        /// What is wrong with them.
        source: ParamError,
    },
    /// No detector at all.
    #[error("no detector was named")]
    Nothing,
}

/// The detector of that name or alias; the error suggests the nearest name.
pub fn find(name: &str) -> Result<&'static Entry, SelectError> {
    let plain = normal(name);
    let mut names = DETECTORS.iter().flat_map(|entry| {
        std::iter::once(entry.info.name).chain(entry.info.aliases.iter().copied()).map(move |name| (*entry, name))
    });
    if let Some((entry, _)) = names.clone().find(|(_, name)| normal(name) == plain) {
        return Ok(entry);
    }
    let nearest = names
        .by_ref()
        .map(|(entry, name)| (strsim::jaro_winkler(&normal(name), &plain), entry.info.name))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Err(SelectError::Unknown { name: name.into(), nearest: nearest.map(|(_, name)| name) })
}

/// Names are compared without case, hyphens, underscores and spaces.
fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The detectors in a comma-separated list, each `name` or `name:key=value:key=value…`; `all` stands for every
/// detector that reads only what a backbone says about images, `zero-shot` for every one that also reads words
/// ([`Needs::prompts`](crate::Needs::prompts)). Values are JSON; what is not, is a string.
///
/// Detectors of a recipe are in `all` where their network can be told by what it says: [`Chosen::applies`] is false for
/// them on features of another. `cider` and `npos`, which are `knn` on any network, have to be named.
///
/// ```
/// let chosen = knownset_detect::select("msp,knn:k=10")?;
/// assert_eq!(chosen[1].to_string(), "knn:k=10");
/// assert_eq!(chosen[1].params()["k"], 10);
/// # Ok::<(), knownset_detect::SelectError>(())
/// ```
pub fn select(text: &str) -> Result<Vec<Chosen>, SelectError> {
    let mut chosen = Vec::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        let in_words = match piece {
            "all" => false,
            "zero-shot" => true,
            _ => {
                chosen.push(Chosen::parse(piece)?);
                continue;
            }
        };
        let needs = |entry: &Entry| entry.info.needs;
        let told = |entry: &Entry| needs(entry).recipe.is_none() || needs(entry).reads_recipe();
        for &entry in DETECTORS.iter().filter(|entry| needs(entry).prompts.is_empty() != in_words && told(entry)) {
            chosen.push(Chosen { optional: true, ..Chosen::new(entry, &Value::Null)? });
        }
    }
    if chosen.is_empty() { Err(SelectError::Nothing) } else { Ok(chosen) }
}

impl Chosen {
    /// A detector with a JSON object of parameters; what it leaves out, and all of `null`, takes the default.
    pub fn new(entry: &'static Entry, params: &Value) -> Result<Self, SelectError> {
        let label = match params.as_object() {
            Some(given) => given.iter().fold(entry.info.name.to_owned(), |label, (key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{label}:{key}={value}")
            }),
            None => entry.info.name.to_owned(),
        };
        let (spec, params) =
            (entry.spec)(params).map_err(|source| SelectError::Params { name: entry.info.name, source })?;
        Ok(Self { entry, spec, params, label, optional: false })
    }

    fn parse(text: &str) -> Result<Self, SelectError> {
        let mut pieces = text.split(':');
        let entry = find(pieces.next().unwrap_or_default().trim())?;
        let mut params = Map::new();
        for piece in pieces {
            let Some((key, value)) = piece.split_once('=') else {
                return Err(SelectError::NotAPair { text: piece.into(), chosen: text.into() });
            };
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
            params.insert(key.trim().into(), value);
        }
        Self::new(entry, &Value::Object(params))
    }

    /// The detector.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Whether it should be fitted on these features: not where it is one of `all`, but its recipe's network did not make
    /// them. One that was named applies always, and then names what it misses.
    pub fn applies(&self, train: &Features) -> bool {
        !self.optional || self.entry.info.needs.absent(train).is_none()
    }

    /// Every parameter, defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    pub(crate) fn spec(&self) -> &dyn Spec {
        &*self.spec
    }
}

/// The name and the parameters that were given, as [`select`] reads them.
impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ndarray::array;

    use super::*;
    use crate::spec::Information;

    #[test]
    fn names_and_aliases_are_unique_and_names_are_kebab_case() {
        let mut seen = BTreeSet::new();
        for entry in DETECTORS {
            let info = &entry.info;
            assert!(
                info.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                "{}",
                info.name
            );
            for name in std::iter::once(&info.name).chain(info.aliases) {
                assert!(seen.insert(normal(name)), "{name} stands for two detectors");
                assert_eq!(find(name).unwrap().info.name, info.name);
            }
        }
    }

    #[test]
    fn every_entry_has_a_paper_a_formula_and_defaults_that_its_documentation_lists() {
        for entry in DETECTORS {
            let info = &entry.info;
            assert!(info.paper.starts_with("https://") && (2015..2030).contains(&info.year), "{}", info.name);
            assert!(!info.formula.is_empty() && !info.title.is_empty(), "{}", info.name);
            assert!(info.needs.logits || info.needs.embedding, "{} reads nothing", info.name);
            let chosen = Chosen::new(entry, &Value::Null).unwrap();
            let defaults: BTreeSet<&str> = chosen.params().as_object().unwrap().keys().map(String::as_str).collect();
            let documented: BTreeSet<&str> = info.params.iter().map(|param| param.name).collect();
            assert_eq!(defaults, documented, "{}", info.name);
        }
    }

    #[test]
    fn what_a_detector_was_told_is_stated() {
        let told = |name: &str| serde_json::to_value(find(name).unwrap().info.information).unwrap();
        for (name, expected) in [
            ("knn", "training-images"),
            ("neglabel", "static"),
            ("adaneg", "test-stream"),
            ("oodd", "test-stream"),
            ("eoe", "ood-hint"),
            ("clipn", "other-weights"),
            ("negprompt", "few-shot"),
            ("lsn", "few-shot"),
        ] {
            assert_eq!(told(name), expected, "{name}");
        }
        for entry in DETECTORS {
            let of_images = entry.info.information == Information::TrainingImages;
            assert_eq!(of_images, entry.info.needs.prompts.is_empty(), "{}", entry.info.name);
        }
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let error = find("mahalanobi").unwrap_err().to_string();
        assert_eq!(error, "there is no detector `mahalanobi`, did you mean `mds`?");
        assert_eq!(find("qqq").unwrap_err().to_string(), "there is no detector `qqq`");
    }

    #[test]
    fn choices_are_parsed_and_wrong_ones_are_refused() {
        let (all, zero_shot) = (select("all").unwrap(), select("zero-shot").unwrap());
        assert_eq!((all.len(), zero_shot.len()), (20 + 9, DETECTORS.len() - 20 - 11));
        let plain = Features { logits: Some(array![[1.0, 2.0]]), ..Features::default() };
        assert_eq!(all.iter().filter(|chosen| chosen.applies(&plain)).count(), 20);
        assert!(select("conf-branch").unwrap()[0].applies(&plain));
        let parts = [("rts.weight", array![[1.0]]), ("rts.bias", array![[1.0]])];
        let rts = Features { parts: parts.map(|(name, part)| (name.into(), part)).into(), ..plain };
        let names: Vec<_> =
            all.iter().filter(|chosen| chosen.applies(&rts)).skip(20).map(ToString::to_string).collect();
        assert_eq!(names, ["rts"]);
        assert!(all.iter().all(|chosen| chosen.entry().info.needs.prompts.is_empty()));
        assert!(zero_shot.iter().all(|chosen| chosen.entry().info.needs.prompts.contains(&"classes")));
        assert!(matches!(select(" , "), Err(SelectError::Nothing)));
        assert!(matches!(select("knn:k"), Err(SelectError::NotAPair { .. })));
        for wrong in ["knn:k=0", "knn:k=ten", "knn:q=1", "ebo:temperature=-1"] {
            assert!(matches!(select(wrong), Err(SelectError::Params { .. })), "{wrong}");
        }
    }
}
