//! Records of what made something, so that a run goes on where the same one stopped, and where no other did.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::files;
use crate::hint::Hint;

/// Leaves the record of what is about to be made in `out`; an error if `out` is there already, but by other settings or
/// by something else.
pub(super) fn claim(record: &Path, settings: &Value, out: &Path, there: bool) -> anyhow::Result<()> {
    let made = fs_err::read_to_string(record).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if there && made.as_ref() != Some(settings) {
        let error = anyhow::anyhow!("{} was made with other settings, or by something else", out.display());
        return Err(error.context(Hint("choose another --out, or remove what is there".into())));
    }
    if made.as_ref() != Some(settings) {
        files::write(record, serde_json::to_string_pretty(settings)?.as_bytes())?;
    }
    Ok(())
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
