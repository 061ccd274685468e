//! JSON configurations, read with errors that name the file and the key.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CheckpointError;

/// A configuration file, or an object inside one.
pub(crate) struct Section {
    path: PathBuf,
    value: Value,
}

impl Section {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::parse(&fs_err::read(path)?, path)
    }

    pub(crate) fn parse(content: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        let value: Value = serde_json::from_slice(content)
            .map_err(|error| CheckpointError::Config { path: path.into(), what: error.to_string() })?;
        Self::of(value, path)
    }

    /// A configuration that was read before; `path` is what errors call it.
    pub(crate) fn of(value: Value, path: &Path) -> Result<Self, CheckpointError> {
        let section = Self { path: path.into(), value };
        if section.value.is_object() { Ok(section) } else { Err(section.wrong("not an object")) }
    }

    /// The first of these objects that is there; an empty one if none is.
    pub(crate) fn object(&self, keys: &[&str]) -> Self {
        let value = keys.iter().map(|key| &self.value[key]).find(|value| value.is_object());
        Self { path: self.path.clone(), value: value.cloned().unwrap_or_default() }
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn get(&self, key: &str) -> &Value {
        &self.value[key]
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> CheckpointError {
        CheckpointError::Config { path: self.path.clone(), what: what.into() }
    }

    /// A whole number; `default` where the key is absent or null.
    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize, CheckpointError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => {
                let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
                size.ok_or_else(|| self.wrong(format!("{key} is {value}, expected a whole number from 1 up")))
            }
        }
    }

    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, CheckpointError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => value.as_f64().ok_or_else(|| self.wrong(format!("{key} is {value}, expected a number"))),
        }
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, CheckpointError> {
        match &self.value[key] {
            Value::Null => Ok(default),
            value => value.as_bool().ok_or_else(|| self.wrong(format!("{key} is {value}, expected true or false"))),
        }
    }

    /// A whole number of this range; `default` where the key is absent or null.
    pub(crate) fn within(
        &self,
        key: &str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, CheckpointError> {
        match self.get(key) {
            Value::Null => Ok(default),
            value => self.whole(key, value, &range),
        }
    }

    /// Whole numbers of this range.
    pub(crate) fn list(&self, key: &str, range: RangeInclusive<usize>) -> Result<Vec<usize>, CheckpointError> {
        match self.get(key) {
            Value::Array(values) => values.iter().map(|value| self.whole(key, value, &range)).collect(),
            other => Err(self.wrong(format!("{key} is {other}, expected a list"))),
        }
    }

    fn whole(&self, key: &str, value: &Value, range: &RangeInclusive<usize>) -> Result<usize, CheckpointError> {
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| range.contains(size));
        size.ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            self.wrong(format!("{key} has {value}, expected a whole number from {from} to {to}"))
        })
    }

    /// What has no name here and has to be as it nearly always is; absent or null is.
    pub(crate) fn only<'a>(&self, allowed: impl IntoIterator<Item = (&'a str, Value)>) -> Result<(), CheckpointError> {
        for (key, allowed) in allowed {
            let value = self.get(key);
            let same = value == &allowed || value.as_f64().is_some_and(|number| Some(number) == allowed.as_f64());
            if !value.is_null() && !same {
                return Err(self.wrong(format!("{key} is {value}, only {allowed} is supported")));
            }
        }
        Ok(())
    }
}
