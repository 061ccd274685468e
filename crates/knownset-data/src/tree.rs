//! Class folders and the images under them, from a list of paths: what folders and archives have in common.

use std::collections::BTreeSet;

use knownset_core::UNKNOWN_LABEL;

/// File extensions that make a file a candidate; its content decides what it is.
const EXTENSIONS: &[&str] = &["jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "webp", "tif", "tiff"];

/// One image of a [`Tree`]; `at` finds it again.
#[derive(Debug)]
pub(crate) struct Row<At> {
    pub(crate) id: String,
    pub(crate) label: i64,
    pub(crate) at: At,
}

/// Images in byte order of their paths, with the classes their top folders make.
#[derive(Debug)]
pub(crate) struct Tree<At> {
    pub(crate) class_names: Vec<String>,
    pub(crate) rows: Vec<Row<At>>,
}

/// Collects paths (with `/` between the parts) and top folders, in any order.
#[derive(Debug)]
pub(crate) struct TreeBuilder<At> {
    classes: BTreeSet<String>,
    files: Vec<(String, At)>,
}

impl<At> TreeBuilder<At> {
    pub(crate) fn new() -> Self {
        Self { classes: BTreeSet::new(), files: Vec::new() }
    }

    /// A folder directly below the root.
    pub(crate) fn class(&mut self, name: &str) {
        if !is_hidden(name) {
            self.classes.insert(name.to_owned());
        }
    }

    /// A file anywhere below the root; ignored unless its name looks like an image's.
    pub(crate) fn file(&mut self, path: String, at: At) {
        if is_candidate(&path) {
            if let Some((class, _)) = path.split_once('/') {
                self.class(class);
            }
            self.files.push((path, at));
        }
    }

    /// Sorts and labels; fails with the name of a class that has no image.
    pub(crate) fn build(mut self) -> Result<Tree<At>, String> {
        self.files.sort_by(|left, right| left.0.cmp(&right.0));
        let class_names: Vec<String> = self.classes.into_iter().collect();
        let mut filled = vec![false; class_names.len()];
        let label = |path: &str| {
            let class = path.split_once('/').map(|(class, _)| class)?;
            class_names.binary_search_by(|name| name.as_str().cmp(class)).ok()
        };
        let mut rows = Vec::with_capacity(self.files.len());
        for (id, at) in self.files {
            let label = label(&id);
            if let Some(label) = label {
                filled[label] = true;
            }
            rows.push(Row { id, label: label.map_or(UNKNOWN_LABEL, |label| label as i64), at });
        }
        // A folder that holds nothing but emptiness is reported as such by the caller.
        if !rows.is_empty()
            && let Some(empty) = filled.iter().position(|filled| !filled)
        {
            return Err(class_names[empty].clone());
        }
        Ok(Tree { class_names, rows })
    }
}

/// Names that start with a dot, and the folder that macOS adds to archives, are no part of a dataset.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

fn is_candidate(path: &str) -> bool {
    if path.split('/').any(is_hidden) {
        return false;
    }
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// Whether a relative path stays below the folder it starts from: no root, drive, `..` or `\`.
pub(crate) fn is_contained(path: &str) -> bool {
    let plain = |part: &str| part != ".." && !part.contains(['\\', '\0']);
    let drive = path.as_bytes().get(1) == Some(&b':');
    !drive && !path.starts_with('/') && path.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_path_order_and_labels_in_class_order() {
        let mut tree = TreeBuilder::new();
        for path in ["a/2.png", "a-b/1.JPG", "a/x/1.webp", "loose.png", "a/notes.txt", ".git/x.png", "a/._1.png"] {
            tree.file(path.to_owned(), ());
        }
        let tree = tree.build().unwrap();
        assert_eq!(tree.class_names, ["a", "a-b"]);
        let rows: Vec<_> = tree.rows.iter().map(|row| (row.id.as_str(), row.label)).collect();
        assert_eq!(rows, [("a-b/1.JPG", 1), ("a/2.png", 0), ("a/x/1.webp", 0), ("loose.png", -1)]);
    }

    #[test]
    fn a_class_without_images_is_refused() {
        let mut tree = TreeBuilder::new();
        tree.class("empty");
        tree.file("full/1.png".to_owned(), ());
        assert_eq!(tree.build().unwrap_err(), "empty");
    }

    #[test]
    fn containment() {
        assert!(is_contained("a/b c/..d.png"));
        for path in ["/a", "../a", "a/../b", "a/..", "C:/a", "a\\..\\b"] {
            assert!(!is_contained(path), "{path}");
        }
    }
}
