//! How a user names a method and its parameters: `name:key=value:key=value`.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Parameters that a method refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// Something other than `key=value` behind the name.
    #[error("`{text}` in `{whole}` is not of the form key=value")]
    NotAPair {
        /// The piece.
        text: String,
        /// The whole.
        whole: String,
    },
    /// An unknown key or a value of the wrong type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A value outside its range.
    #[error("`{name}` must be {expected}, but is {value}")]
    Range {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values that are allowed.
        expected: &'static str,
    },
}

/// Refuses a parameter outside its range.
pub fn require(holds: bool, name: &'static str, value: f64, expected: &'static str) -> Result<(), ParamError> {
    if holds { Ok(()) } else { Err(ParamError::Range { name, value, expected }) }
}

/// The name and the parameters in `name:key=value:key=value`. Values are JSON; what is not, is a string.
pub fn split(text: &str) -> Result<(&str, Map<String, Value>), ParamError> {
    let mut pieces = text.split(':');
    let name = pieces.next().unwrap_or_default().trim();
    let mut params = Map::new();
    for piece in pieces {
        let Some((key, value)) = piece.split_once('=') else {
            return Err(ParamError::NotAPair { text: piece.into(), whole: text.into() });
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        params.insert(key.trim().into(), value);
    }
    Ok((name, params))
}

/// The type's values from parameters; what they leave out takes its default.
pub fn read<T: DeserializeOwned>(params: Map<String, Value>) -> Result<T, ParamError> {
    Ok(T::deserialize(Value::Object(params))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_words() {
        let (name, params) = split("knn:k=10: metric =cosine").unwrap();
        assert_eq!((name, &params["k"], &params["metric"]), ("knn", &10.into(), &"cosine".into()));
        assert_eq!(split("msp").unwrap(), ("msp", Map::new()));
        let error = split("knn:k").unwrap_err().to_string();
        assert_eq!(error, "`k` in `knn:k` is not of the form key=value");
    }
}
