//! A JSON file of a checkpoint folder, read key by key.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::FolderError;

/// A configuration file, or an object inside one.
pub(crate) struct Section {
    path: PathBuf,
    value: Value,
}

impl Section {
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        Self::parse(&fs_err::read(path)?, path)
    }

    pub(crate) fn parse(content: &[u8], path: &Path) -> Result<Self, FolderError> {
        let value: Value = serde_json::from_slice(content)
            .map_err(|error| FolderError::Config { path: path.into(), what: error.to_string() })?;
        let section = Self { path: path.into(), value };
        if section.value.is_object() { Ok(section) } else { Err(section.wrong("not an object")) }
    }

    /// The first of these objects that is there; an empty one if none is.
    pub(crate) fn object(&self, keys: &[&str]) -> Self {
        let value = keys.iter().map(|key| &self.value[key]).find(|value| value.is_object());
        Self { path: self.path.clone(), value: value.cloned().unwrap_or_default() }
    }

    pub(crate) fn get(&self, key: &str) -> &Value {
        &self.value[key]
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> FolderError {
        FolderError::Config { path: self.path.clone(), what: what.into() }
    }

    /// A whole number; `default` where the key is absent or null.
    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize, FolderError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => {
                let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
                size.ok_or_else(|| self.wrong(format!("{key} is {value}, expected a whole number from 1 up")))
            }
        }
    }

    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, FolderError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => value.as_f64().ok_or_else(|| self.wrong(format!("{key} is {value}, expected a number"))),
        }
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, FolderError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => value.as_bool().ok_or_else(|| self.wrong(format!("{key} is {value}, expected true or false"))),
        }
    }
}
