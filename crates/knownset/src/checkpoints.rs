//! Checkpoint folders as the command line names them.

use std::path::Path;

use anyhow::Context;
use knownset_nn::bundled_checkpoint;

/// Loads a checkpoint: `named` is one that ships with the program, by its name alone, or else a folder; a folder of such
/// a name is `./NAME`.
pub(crate) fn open<T, E>(what: &str, named: &Path, load: impl FnOnce(&Path) -> Result<T, E>) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let loaded = match named.to_str().and_then(bundled_checkpoint) {
        None => load(named),
        Some(checkpoint) => {
            let folder = tempfile::tempdir().context("there is no place for temporary files")?;
            let unpacked = checkpoint.unpack(folder.path());
            unpacked.with_context(|| format!("cannot unpack {}", named.display()))?;
            load(folder.path())
        }
    };
    loaded.with_context(|| format!("cannot load the {what} in {}", named.display()))
}
