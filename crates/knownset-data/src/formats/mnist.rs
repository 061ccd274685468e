//! `mnist:PATH[#train|test]`: MNIST and its kin (Fashion-MNIST, KMNIST) in idx files, plain or gzip.
//!
//! An idx file is four bytes of magic (0, 0, type 8 = unsigned byte, number of dimensions), a big-endian u32 a
//! dimension, then the values (<http://yann.lecun.com/exdb/mnist/>).

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::RgbImage;
use knownset_core::digest::Hasher;

use super::read_bounded;
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Split};

/// No idx file is longer than this once decompressed; MNIST's longest has 47 MB, EMNIST's 547 MB.
const MAX_IDX_BYTES: u64 = 1 << 30;

/// Grey images as RGB. A folder holds `*train-images-idx3-ubyte[.gz]` and `*t10k-images-idx3-ubyte[.gz]`; the labels lie
/// beside them in the file whose name says `labels-idx1` instead. All pixels are held in memory.
#[derive(Debug)]
pub(crate) struct Mnist {
    info: DatasetInfo,
    rows: Vec<(String, i64)>,
    parts: Vec<Part>,
}

/// One images file.
#[derive(Debug)]
struct Part {
    first_row: usize,
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Mnist {
    pub(crate) fn open(name: String, path: &Path, split: Option<Split>) -> Result<Self, DataError> {
        let mut files = Vec::new();
        if path.is_dir() {
            for half in [Split::Test, Split::Train] {
                if split.is_none_or(|wanted| wanted == half) {
                    files.extend(find(path, half)?.map(|file| (half.name(), file)));
                }
            }
            if files.is_empty() {
                let prefix = split.map_or("train- or t10k", |split| prefix(split).trim_end_matches('-'));
                let what = format!("{prefix}-images-idx3-ubyte[.gz]");
                return Err(DataError::Missing { path: path.to_owned(), what });
            }
        } else {
            let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let half = [Split::Test, Split::Train].into_iter().find(|&half| file_name.contains(prefix(half)));
            if split.is_some() && split != half {
                let what = "the split asked for is not in the file's name; name the file alone".to_owned();
                return Err(DataError::Malformed { path: path.to_owned(), what });
            }
            files.push((half.map_or("images", Split::name), path.to_owned()));
        }

        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        for (split, file) in files {
            let first_row = rows.len();
            let (shape, pixels) = read_idx(&file, 3)?;
            let labels_file = labels_beside(&file)?;
            let (label_shape, labels) = read_idx(&labels_file, 1)?;
            if label_shape[0] != shape[0] {
                let what = format!("{} labels for {} images", label_shape[0], shape[0]);
                return Err(DataError::Malformed { path: labels_file, what });
            }
            rows.extend(labels.iter().enumerate().map(|(i, &label)| (format!("{split}/{i:06}"), i64::from(label))));
            parts.push(Part { first_row, height: shape[1], width: shape[2], pixels });
        }
        if rows.is_empty() {
            return Err(DataError::Empty { path: path.to_owned(), folder: None });
        }
        let classes = rows.iter().map(|(_, label)| *label).max().unwrap_or(0);
        let class_names = (0..=classes).map(|class| class.to_string()).collect();
        Ok(Self { info: DatasetInfo { name, class_names }, rows, parts })
    }
}

impl ImageSource for Mnist {
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
        let part = &self.parts[self.parts.partition_point(|part| part.first_row <= i) - 1];
        let bytes = part.width as usize * part.height as usize;
        let pixels = &part.pixels[(i - part.first_row) * bytes..][..bytes];
        let grey = |x: u32, y: u32| image::Rgb([pixels[(y * part.width + x) as usize]; 3]);
        Ok(EncodedImage::Pixels(RgbImage::from_fn(part.width, part.height, grey)))
    }

    /// Over all pixels and labels.
    fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        hasher.field(b"mnist");
        for part in &self.parts {
            hasher.field(&part.width.to_le_bytes()).field(&part.pixels);
        }
        for (id, label) in &self.rows {
            hasher.field(id.as_bytes()).field(&label.to_le_bytes());
        }
        hasher.finish()
    }
}

fn prefix(split: Split) -> &'static str {
    match split {
        Split::Train => "train-",
        Split::Test => "t10k-",
    }
}

/// The images file of one half. Plain and compressed twins are the same file; anything else twice is ambiguous.
fn find(folder: &Path, split: Split) -> Result<Option<PathBuf>, DataError> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(folder).map_err(DataError::Io)? {
        let path = entry.map_err(DataError::Io)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let wanted = [format!("{}images-idx3-ubyte", prefix(split)), format!("{}images.idx3-ubyte", prefix(split))];
        if wanted.iter().any(|wanted| plain.ends_with(wanted.as_str())) {
            found.push(path);
        }
    }
    found.sort();
    found.dedup_by(|later, earlier| later.with_extension("") == *earlier && later.extension() == Some("gz".as_ref()));
    match found.as_slice() {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        [first, second, ..] => {
            let what = format!("both {} and {} fit; name one of them", first.display(), second.display());
            Err(DataError::Malformed { path: folder.to_owned(), what })
        }
    }
}

/// The labels file next to an images file, compressed or not.
fn labels_beside(images: &Path) -> Result<PathBuf, DataError> {
    let name = images.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let labels = name.replacen("images", "labels", 1).replacen("idx3", "idx1", 1);
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels).to_owned();
    let candidates = [labels.clone(), plain.clone(), format!("{plain}.gz")].map(|name| images.with_file_name(name));
    let beside = candidates.into_iter().find(|file| file != images && file.is_file());
    beside.ok_or_else(|| DataError::Missing { path: images.to_owned(), what: format!("its labels file {labels}") })
}

/// Dimensions and values.
fn read_idx(path: &Path, dimensions: usize) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let malformed = |what: String| DataError::Malformed { path: path.to_owned(), what };
    let mut bytes = read_bounded(path, MAX_IDX_BYTES)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let mut gzip = GzDecoder::new(bytes.as_slice()).take(MAX_IDX_BYTES + 1);
        gzip.read_to_end(&mut plain).map_err(|error| malformed(format!("bad gzip data: {error}")))?;
        if plain.len() as u64 > MAX_IDX_BYTES {
            return Err(malformed(format!("longer than {MAX_IDX_BYTES} bytes when decompressed")));
        }
        bytes = plain;
    }
    let header = 4 + 4 * dimensions;
    if bytes.len() < header || bytes[..4] != [0, 0, 8, dimensions as u8] {
        return Err(malformed(format!("not an idx file of unsigned bytes in {dimensions} dimensions")));
    }
    let shape: Vec<u32> =
        bytes[4..header].chunks_exact(4).map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]])).collect();
    let expected = shape.iter().try_fold(1_u64, |product, &d| product.checked_mul(u64::from(d)));
    let values = bytes.split_off(header);
    if expected != Some(values.len() as u64) {
        return Err(malformed(format!("its header says {shape:?} values but {} follow", values.len())));
    }
    if shape.iter().skip(1).any(|&side| side == 0) {
        return Err(malformed(format!("images of {shape:?} have no pixels")));
    }
    Ok((shape, values))
}
