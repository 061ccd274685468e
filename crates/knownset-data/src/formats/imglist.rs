//! `imglist:FILE@ROOT`: a text file with one `path label` a line, as OpenOOD's.

use std::path::{Path, PathBuf};

use knownset_core::digest::Hasher;

use super::{read_bounded, read_image, stamp};
use crate::error::ListProblem;
use crate::tree::is_contained;
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource};

/// No list is longer than this; the ImageNet train list has 60 MB.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// The label is what follows the last space, or a dict from its `{` on, of which `class_label` is taken. Paths may hold
/// spaces, are below the root, and are not looked up before they are read. Class names are not known.
#[derive(Debug)]
pub(crate) struct ImgList {
    info: DatasetInfo,
    root: PathBuf,
    rows: Vec<(String, i64)>,
}

impl ImgList {
    pub(crate) fn open(name: String, file: &Path, root: &Path) -> Result<Self, DataError> {
        let text = read_bounded(file, MAX_LIST_BYTES)?;
        let mut rows =
            parse(&text).map_err(|(line, problem)| DataError::List { path: file.to_owned(), line, problem })?;
        if rows.is_empty() {
            return Err(DataError::Empty { path: file.to_owned(), folder: None });
        }
        if !root.is_dir() {
            return Err(DataError::Missing { path: root.to_owned(), what: "the list's root folder".to_owned() });
        }
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        let info = DatasetInfo { name, class_names: Vec::new() };
        Ok(Self { info, root: root.to_owned(), rows })
    }
}

impl ImageSource for ImgList {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, i: usize) -> &str {
        &self.rows[i].0
    }

    fn label(&self, i: usize) -> i64 {
        self.rows[i].1
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        let id = self.id(i);
        read_image(id, &self.root.join(id)).map(EncodedImage::Bytes)
    }

    /// Over the list's rows, and size and time of last change of each image.
    fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        hasher.field(b"imglist");
        for (id, label) in &self.rows {
            let stamp = stamp(&self.root.join(id));
            hasher.field(id.as_bytes()).field(&label.to_le_bytes()).field(stamp.as_bytes());
        }
        hasher.finish()
    }
}

/// Paths and labels, or the number of the first bad line (from 1) and what is wrong with it. Empty lines are skipped.
fn parse(text: &[u8]) -> Result<Vec<(String, i64)>, (usize, ListProblem)> {
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let rows = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    rows.map(|(number, line)| {
        let row = std::str::from_utf8(line).map_err(|_| ListProblem::NotText).and_then(parse_line);
        row.map_err(|problem| (number + 1, problem))
    })
    .collect()
}

fn parse_line(line: &str) -> Result<(String, i64), ListProblem> {
    let line = line.trim();
    let cut = if line.ends_with('}') { line.rfind('{') } else { line.rfind(' ') };
    let (image, label) = line.split_at(cut.ok_or(ListProblem::NoLabel)?);
    let (image, label) = (image.trim_end(), label.trim_start());
    if image.is_empty() {
        return Err(ListProblem::NoPath);
    }
    if !is_contained(image) {
        return Err(ListProblem::EscapesRoot { image: image.to_owned() });
    }
    let number = if label.starts_with('{') {
        class_label(label)?.ok_or_else(|| ListProblem::NoClassLabel { label: label.to_owned() })?
    } else {
        whole(label).ok_or_else(|| bad(label))?
    };
    Ok((image.to_owned(), number))
}

fn bad(label: &str) -> ListProblem {
    ListProblem::BadLabel { label: label.to_owned() }
}

fn whole(text: &str) -> Option<i64> {
    text.parse().ok().filter(|&label| label >= -1)
}

/// The value of `class_label` in a dict of quoted names and whole numbers, the last where it is repeated.
fn class_label(dict: &str) -> Result<Option<i64>, ListProblem> {
    let inner = dict.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(|| bad(dict))?;
    let inner = inner.trim();
    let inner = inner.strip_suffix(',').unwrap_or(inner);
    let mut found = None;
    for item in inner.split(',') {
        let (key, value) = item.split_once(':').ok_or_else(|| bad(dict))?;
        let key = unquote(key.trim()).ok_or_else(|| bad(dict))?;
        let value: i64 = value.trim().parse().map_err(|_| bad(dict))?;
        if key == "class_label" {
            found = Some(value).filter(|&label| label >= -1);
            if found.is_none() {
                return Err(bad(dict));
            }
        }
    }
    Ok(found)
}

fn unquote(text: &str) -> Option<&str> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).filter(|name| !name.contains(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Result<(String, i64), ListProblem> {
        parse(line.as_bytes()).map(|mut rows| rows.remove(0)).map_err(|(_, problem)| problem)
    }

    #[test]
    fn labels_follow_the_last_space() {
        let rows = parse(b"a/b.png 3\r\nmy dog.png 0\n\n  c.png -1  \n").unwrap();
        let rows: Vec<_> = rows.iter().map(|(image, label)| (image.as_str(), *label)).collect();
        assert_eq!(rows, [("a/b.png", 3), ("my dog.png", 0), ("c.png", -1)]);
    }

    #[test]
    fn dicts_are_read_as_data() {
        for dict in
            [r#"{ "group_label": 0 ,"class_label": 7 }"#, "{'class_label': 7, 'group_label': 0}", "{'class_label':7,}"]
        {
            assert_eq!(one(&format!("x y.png {dict}")).unwrap(), ("x y.png".to_owned(), 7), "{dict}");
        }
        for dict in ["{'class_label': __import__('os').system('id')}", "{class_label: 1}", "{}", "{'class_label': -2}"]
        {
            assert!(matches!(one(&format!("x.png {dict}")), Err(ListProblem::BadLabel { .. })), "{dict}");
        }
        assert!(matches!(one("x.png {'group_label': 1}"), Err(ListProblem::NoClassLabel { .. })));
    }

    #[test]
    fn bad_lines_are_named_by_number() {
        assert_eq!(parse(b"a.png 1\n\nb.png\n").unwrap_err(), (3, ListProblem::NoLabel));
        assert!(matches!(parse(b"a.png 1\nb.png 1.5\n"), Err((2, ListProblem::BadLabel { .. }))));
        assert!(matches!(one("{'class_label': 1}"), Err(ListProblem::NoPath)));
        for image in ["../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png"] {
            assert!(matches!(one(&format!("{image} 1")), Err(ListProblem::EscapesRoot { .. })), "{image}");
        }
        assert_eq!(parse(b"\xff\xfe 1").unwrap_err(), (1, ListProblem::NotText));
    }

    proptest! {
        #[test]
        fn any_bytes_give_rows_or_an_error(bytes: Vec<u8>) {
            if let Ok(rows) = parse(&bytes) {
                prop_assert!(rows.iter().all(|(image, label)| is_contained(image) && *label >= -1));
            }
        }

        #[test]
        fn any_line_like_text_gives_rows_or_an_error(line in r#"[a/. ]{0,6} ?[{}"':, class_label0-9-]{0,24}"#) {
            let _ = parse(line.as_bytes());
        }
    }
}
