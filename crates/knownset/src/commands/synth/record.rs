//! Records of what made something, so that a run goes on where the same one stopped, and where no other did.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::files;
use crate::hint::Hint;

/// Leaves the record of what is about to be made in `out`; an error if `out` is there already, but by other settings or
/// by something else.
pub(super) fn claim(record: &Path, settings: &Value, out: &Path, there: bool) -> anyhow::Result<()> {
    // Text is compared with text: numbers that are read need not be those that were written, to the last bit.
    let text = serde_json::to_string_pretty(settings)?;
    let made = fs_err::read_to_string(record).ok();
    if made.as_ref() == Some(&text) {
        return Ok(());
    }
    if there {
        let other = match made.and_then(|made| serde_json::from_str::<Value>(&made).ok()) {
            Some(made) => format!("with other settings ({})", different(&made, settings).join(", ")),
            None => "by something else".to_owned(),
        };
        let error = anyhow::anyhow!("{} was made {other}", out.display());
        return Err(error.context(Hint("choose another --out, or remove what is there".into())));
    }
    files::write(record, text.as_bytes())
}

/// Names of the settings that are not the same.
fn different(made: &Value, now: &Value) -> Vec<String> {
    match (made, now) {
        (Value::Object(made), Value::Object(now)) => {
            let names: BTreeSet<&String> = made.keys().chain(now.keys()).collect();
            names.into_iter().filter(|&name| made.get(name) != now.get(name)).map(|name| format!("`{name}`")).collect()
        }
        _ => Vec::new(),
    }
}

/// Rows of a share.
pub(super) fn share(rows: usize, shard: Option<(usize, usize)>) -> std::ops::Range<usize> {
    shard.map_or(0..rows, |(index, count)| rows * (index - 1) / count..rows * index / count)
}

/// Digest of a file's content.
pub(super) fn digest(path: &Path) -> anyhow::Result<String> {
    let mut hasher = knownset_core::digest::Hasher::default();
    hasher.field(&fs_err::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    Ok(hasher.finish())
}
