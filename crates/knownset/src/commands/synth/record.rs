//! Records of what made something, so that a run goes on where the same one stopped, and where no other did.

use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::Context;
use fs_err::{File, OpenOptions};
use serde_json::Value;

use crate::hint::Hint;

/// How the names of records end.
const ENDING: &str = "made.json";

/// A record that is held: as long as it is, no other run makes the same.
#[must_use]
pub(super) struct Claim {
    record: File,
}

impl Claim {
    /// Takes the record away again, where nothing could be made.
    pub(super) fn withdraw(self) {
        let _ = fs_err::remove_file(self.record.path());
    }
}

/// Leaves the record of what is about to be made in `out`, and holds it; an error if `out` is `there` already, but by other
/// settings or by something else, and while another run holds the record.
pub(super) fn claim(
    record: &Path,
    settings: &Value,
    out: &Path,
    there: impl FnOnce() -> bool,
) -> anyhow::Result<Claim> {
    if let Some(folder) = record.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(record)?;
    if matches!(file.file().try_lock(), Err(TryLockError::WouldBlock)) {
        anyhow::bail!("another run is making {}", out.display());
    }
    let mut made = Vec::new();
    file.read_to_end(&mut made)?;
    // Text is compared with text: numbers that are read need not be those that were written, to the last bit.
    let text = serde_json::to_string_pretty(settings)?;
    if made == text.as_bytes() {
        return Ok(Claim { record: file });
    }
    if there() {
        let other = match serde_json::from_slice::<Value>(&made) {
            Ok(made) => format!("with other settings ({})", different(&made, settings).join(", ")),
            Err(_) => "by something else".to_owned(),
        };
        if made.is_empty() {
            // Nobody's but ours, from just now.
            let _ = fs_err::remove_file(record);
        }
        let error = anyhow::anyhow!("{} was made {other}", out.display());
        return Err(error.context(Hint("choose another --out, or remove what is there".into())));
    }
    file.set_len(0)?;
    let written = file.rewind().and_then(|()| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", record.display()))?;
    Ok(Claim { record: file })
}

/// Whether there is something in a file.
pub(super) fn holds(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Refuses a folder where another share's images were made by other settings than these; `rows` are the share.
pub(super) fn agree(folder: &Path, settings: &Value) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        // `manifest-1-of-2.made.json` → `manifest-1-of-2.jsonl`.
        if !path.to_string_lossy().ends_with(ENDING) || !holds(&path.with_extension("").with_extension("jsonl")) {
            continue;
        }
        let Ok(made) = serde_json::from_slice::<Value>(&fs_err::read(&path)?) else { continue };
        let mut names = different(&made, settings);
        names.retain(|name| name != "`rows`");
        if !names.is_empty() {
            let error = anyhow::anyhow!("{} tells of other settings ({})", path.display(), names.join(", "));
            return Err(error.context(Hint("choose another --out, or remove what is there".into())));
        }
    }
    Ok(())
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

/// Digest of a file's content.
pub(super) fn digest(path: &Path) -> anyhow::Result<String> {
    let mut hasher = knownset_core::digest::Hasher::default();
    hasher.field(&fs_err::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    Ok(hasher.finish())
}
