//! `folder:PATH`: images in class folders, or loose in one folder.

use std::path::{Path, PathBuf};

use knownset_core::digest::Hasher;

use super::{read_image, stamp};
use crate::tree::{Tree, TreeBuilder, is_hidden};
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource};

/// Folders directly below the root are the classes, in byte order of their names; images may lie deeper, as in
/// torchvision's `ImageFolder`. Images directly in the root have no label. Links are followed.
#[derive(Debug)]
pub(crate) struct ImageFolder {
    info: DatasetInfo,
    root: PathBuf,
    tree: Tree<()>,
}

impl ImageFolder {
    pub(crate) fn open(name: String, root: &Path) -> Result<Self, DataError> {
        let mut tree = TreeBuilder::new();
        walk(root, "", &mut Vec::new(), &mut tree)?;
        let tree = tree.build().map_err(|class| DataError::EmptyClass { path: root.to_owned(), class })?;
        if tree.rows.is_empty() {
            return Err(DataError::Empty { path: root.to_owned(), folder: None });
        }
        let info = DatasetInfo { name, class_names: tree.class_names.clone() };
        Ok(Self { info, root: root.to_owned(), tree })
    }
}

/// Adds everything below `folder`; `prefix` is its path below the root, with a `/` at the end unless it is the root.
fn walk(
    folder: &Path,
    prefix: &str,
    ancestors: &mut Vec<PathBuf>,
    tree: &mut TreeBuilder<()>,
) -> Result<(), DataError> {
    let real = fs_err::canonicalize(folder).map_err(DataError::Io)?;
    if ancestors.contains(&real) {
        let what = "a link leads back to a folder above it".to_owned();
        return Err(DataError::Malformed { path: folder.to_owned(), what });
    }
    ancestors.push(real);
    for entry in fs_err::read_dir(folder).map_err(DataError::Io)? {
        let path = entry.map_err(DataError::Io)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(DataError::Malformed { path, what: "its name is not UTF-8".to_owned() });
        };
        if is_hidden(name) {
            continue;
        }
        let below = format!("{prefix}{name}");
        if !path.is_dir() {
            tree.file(below, ());
            continue;
        }
        if prefix.is_empty() {
            tree.class(name);
        }
        walk(&path, &format!("{below}/"), ancestors, tree)?;
    }
    ancestors.pop();
    Ok(())
}

impl ImageSource for ImageFolder {
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
        let id = self.id(i);
        read_image(id, &self.root.join(id)).map(EncodedImage::Bytes)
    }

    /// Over relative paths, sizes and times of last change.
    fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        hasher.field(b"folder");
        for row in &self.tree.rows {
            hasher.field(row.id.as_bytes()).field(stamp(&self.root.join(&row.id)).as_bytes());
        }
        hasher.finish()
    }
}
