//! The cache as Python's `huggingface_hub` lays it out:
//!
//! ```text
//! models--ORGANISATION--NAME/blobs/ETAG              contents
//!                            refs/REVISION           the commit it stands for
//!                            snapshots/COMMIT/FILE   → ../../blobs/ETAG
//! .locks/models--ORGANISATION--NAME/ETAG.lock
//! ```

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::reference::{is_commit, is_safe};
use super::{Hub, HubError, HubRef};

/// One model's part of the cache.
pub(super) struct Cache {
    folder: PathBuf,
    locks: PathBuf,
    links: bool,
}

impl Cache {
    pub(super) fn new(hub: &Hub, model: &HubRef) -> Self {
        let name = format!("models--{}", model.model.replace('/', "--"));
        Self { folder: hub.cache.join(&name), locks: hub.cache.join(".locks").join(&name), links: hub.links }
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit a revision stood for when it was last looked up.
    pub(super) fn commit(&self, revision: &str) -> Result<Option<String>, HubError> {
        if is_commit(revision) {
            return Ok(self.snapshot(revision).is_dir().then(|| revision.to_owned()));
        }
        let file = self.folder.join("refs").join(revision);
        if !file.is_file() {
            return Ok(None);
        }
        let commit = fs::read_to_string(file)?.trim().to_owned();
        Ok((is_commit(&commit) && self.snapshot(&commit).is_dir()).then_some(commit))
    }

    /// Writes down what a revision stands for.
    pub(super) fn remember(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || self.commit(revision)?.as_deref() == Some(commit) {
            return Ok(());
        }
        let file = self.folder.join("refs").join(revision);
        Ok(knownset_core::write_atomically(&file, |out| out.write_all(commit.as_bytes()))?)
    }

    /// Names of the files of a snapshot whose contents are there, in order.
    pub(super) fn files(&self, commit: &str) -> Result<Vec<String>, HubError> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.snapshot(commit).join(&folder))? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = format!("{folder}{name}");
                if entry.file_type()?.is_dir() {
                    folders.push(format!("{name}/"));
                } else if entry.path().is_file() && is_safe(&name) {
                    files.push(name);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Puts a file into a snapshot; where no process has put it yet, `fill` completes the beginning it is given.
    pub(super) fn add(
        &self,
        commit: &str,
        file: &str,
        etag: &str,
        fill: impl FnOnce(&Path) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        let blob = self.folder.join("blobs").join(etag);
        fs::create_dir_all(self.folder.join("blobs"))?;
        fs::create_dir_all(pointer.parent().unwrap_or(&self.folder))?;
        fs::create_dir_all(&self.locks)?;
        let lock = self.locks.join(format!("{etag}.lock"));
        let lock = fs::OpenOptions::new().create(true).append(true).open(lock)?;
        lock.file().lock()?;

        if !pointer.exists() {
            if !blob.exists() {
                let incomplete = self.folder.join("blobs").join(format!("{etag}.incomplete"));
                fill(&incomplete)?;
                check(&incomplete, file, etag)?;
                fs::rename(&incomplete, &blob)?;
            }
            self.point(&pointer, &blob, file)?;
        }
        Ok(())
    }

    /// A link from the snapshot to the blob, or a copy on systems without links.
    fn point(&self, pointer: &Path, blob: &Path, file: &str) -> Result<(), HubError> {
        let up = "../".repeat(2 + file.matches('/').count());
        let target = format!("{up}blobs/{}", blob.file_name().unwrap_or_default().display());
        if pointer.is_symlink() {
            fs::remove_file(pointer)?;
        }
        if self.links && link(&target, pointer).is_ok() {
            return Ok(());
        }
        let copy = knownset_core::write_atomically(pointer, |out| {
            std::io::copy(&mut fs::File::open(blob)?, out)?;
            Ok(())
        });
        Ok(copy?)
    }
}

#[cfg(unix)]
fn link(target: &str, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(windows)]
fn link(target: &str, pointer: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), pointer)
}

#[cfg(not(any(unix, windows)))]
fn link(_target: &str, _pointer: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Compares a large file with the SHA-256 that is its ETag; a wrong one is removed. Small files have a git hash, which
/// is not compared: only their length is.
fn check(path: &Path, file: &str, etag: &str) -> Result<(), HubError> {
    if etag.len() != 64 {
        return Ok(());
    }
    let mut hasher = Sha256::new();
    let mut content = fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let found = hasher.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    if found == etag.to_ascii_lowercase() {
        return Ok(());
    }
    fs::remove_file(path)?;
    Err(HubError::Digest { file: file.to_owned(), stated: etag.to_owned(), found })
}
