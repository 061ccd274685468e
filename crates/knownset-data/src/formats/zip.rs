//! `zip:FILE[#FOLDER]`: class folders inside a zip archive, read in place.

use std::io::Read;
use std::path::{Path, PathBuf};

use knownset_core::digest::Hasher;
use zip::ZipArchive;

use super::shared_file::SharedFile;
use crate::tree::{Tree, TreeBuilder, is_contained};
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Limits};

/// Entries of one archive; the largest image sets packed this way have a few million.
const MAX_ENTRIES: usize = 5_000_000;
/// An entry of more than [`SMALL`] bytes may not be this many times longer than what is stored of it.
const MAX_RATIO: u64 = 200;
const SMALL: u64 = 1 << 20;

/// The same rules as for a folder. The archive is opened once; every thread reads through its own position, and nothing
/// is held decompressed. Archives with names that leave it, links, two entries of one name, encryption, too many
/// entries, or entries of a bomb's proportions are refused.
pub(crate) struct ZipFolder {
    info: DatasetInfo,
    path: PathBuf,
    archive: ZipArchive<SharedFile>,
    tree: Tree<Entry>,
}

/// Where an image lies in the archive, and what the central directory says about it.
struct Entry {
    index: usize,
    bytes: u64,
    crc32: u32,
}

impl ZipFolder {
    pub(crate) fn open(name: String, path: &Path, folder: Option<&str>) -> Result<Self, DataError> {
        let malformed = |what: String| DataError::Malformed { path: path.to_owned(), what };
        let file = SharedFile::open(path).map_err(DataError::Io)?;
        let archive = ZipArchive::new(file).map_err(|error| malformed(format!("not a zip archive: {error}")))?;
        if archive.len() > MAX_ENTRIES {
            return Err(malformed(format!("{} entries, above the limit of {MAX_ENTRIES}", archive.len())));
        }
        if archive.has_duplicate_names() {
            return Err(malformed("two entries have the same name".to_owned()));
        }
        let prefix = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let mut tree = TreeBuilder::new();
        for index in 0..archive.len() {
            let entry = archive.by_index_data(index).map_err(|error| malformed(error.to_string()))?;
            let entry_name = entry.name().map_err(|error| malformed(error.to_string()))?.into_owned();
            let refused = |why: &str| {
                Err(DataError::Archive { path: path.to_owned(), entry: entry_name.clone(), why: why.to_owned() })
            };
            if !is_contained(&entry_name) {
                return refused("its name leaves the archive");
            }
            if entry.is_symlink() {
                return refused("it is a link");
            }
            let Some(below) = entry_name.strip_prefix(&prefix) else { continue };
            if entry.is_dir() {
                if let Some(class) = below.split('/').next().filter(|class| !class.is_empty()) {
                    tree.class(class);
                }
                continue;
            }
            if entry.encrypted() {
                return refused("it is encrypted");
            }
            let (bytes, stored) = (entry.size(), entry.compressed_size());
            if bytes > Limits::MAX_FILE_BYTES {
                return refused(&format!("{bytes} bytes, above the limit of {}", Limits::MAX_FILE_BYTES));
            }
            if is_bomb(bytes, stored) {
                return refused(&format!("{stored} bytes that become {bytes} look like a zip bomb"));
            }
            tree.file(below.to_owned(), Entry { index, bytes, crc32: entry.crc32() });
        }
        let tree = tree.build().map_err(|class| DataError::EmptyClass { path: path.to_owned(), class })?;
        if tree.rows.is_empty() {
            return Err(DataError::Empty { path: path.to_owned(), folder: folder.map(str::to_owned) });
        }
        let info = DatasetInfo { name, class_names: tree.class_names.clone() };
        Ok(Self { info, path: path.to_owned(), archive, tree })
    }
}

/// Whether an entry of so many bytes has a bomb's proportions.
pub(super) fn is_bomb(bytes: u64, stored: u64) -> bool {
    bytes > SMALL && bytes / MAX_RATIO > stored
}

impl ImageSource for ZipFolder {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.tree.rows.len()
    }

    fn id(&self, i: usize) -> &str {
        &self.tree.rows[i].id
    }

    fn label(&self, i: usize) -> i64 {
        self.tree.rows[i].label
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        let row = &self.tree.rows[i];
        let failed = |what: String| DataError::Read {
            id: row.id.clone(),
            what: format!("cannot be read from {}: {what}", self.path.display()),
        };
        let mut archive = self.archive.clone();
        let file = archive.by_index(row.at.index).map_err(|error| failed(error.to_string()))?;
        let mut bytes = Vec::new();
        // The checksum is compared when the end is reached, so one byte beyond the promised length is asked for.
        file.take(row.at.bytes + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
        if bytes.len() as u64 != row.at.bytes {
            return Err(failed(format!("its length is not the {} bytes promised", row.at.bytes)));
        }
        Ok(EncodedImage::Bytes(bytes))
    }

    /// Over names, sizes and CRC-32 sums in the central directory: the content, wherever the archive lies.
    fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        hasher.field(b"zip");
        for row in &self.tree.rows {
            hasher.field(row.id.as_bytes()).field(&row.at.bytes.to_le_bytes()).field(&row.at.crc32.to_le_bytes());
        }
        hasher.finish()
    }
}
