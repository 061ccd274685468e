//! `arrays:FILE.npz`: images in one array, as samplers of image generators save them.
//!
//! The archive holds `images`, u8 `[n, h, w, 3]` or, grey, `[n, h, w]`, and may hold `labels`, whole numbers `[n]`: the
//! class, or −1 for none. An array of another name is refused: it could be labels by a name that is not read.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use image::RgbImage;
use knownset_core::digest::Hasher;
use zip::ZipArchive;

use super::npy::Npy;
use super::shared_file::SharedFile;
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Limits};

/// Images of one file.
const MAX_IMAGES: u64 = 10_000_000;
/// Classes of one file; a label is an index, so a large one would stand for as many names.
const MAX_CLASSES: i64 = 100_000;

/// Uncompressed arrays (`numpy.savez`) are read image by image where they lie, so a file larger than memory is no
/// trouble; their checksums are not compared. Compressed ones are held in memory. Classes are named by their numbers, ids
/// are the images' places.
pub(crate) struct Arrays {
    info: DatasetInfo,
    path: PathBuf,
    images: Npy,
    labels: Vec<i64>,
    size: Size,
    /// All ids, one after the other, each of `digits` digits.
    ids: String,
    digits: usize,
    fingerprint: String,
}

/// What the array's shape says.
#[derive(Clone, Copy)]
struct Size {
    images: usize,
    height: u32,
    width: u32,
    channels: usize,
}

impl Arrays {
    pub(crate) fn open(name: String, path: &Path) -> Result<Self, DataError> {
        let malformed = |what: String| DataError::Malformed { path: path.to_owned(), what };
        let file = SharedFile::open(path).map_err(DataError::Io)?;
        let archive = ZipArchive::new(file.clone());
        let mut archive = archive.map_err(|error| malformed(format!("not an .npz archive: {error}")))?;
        let (mut images, mut labels) = (None, None);
        let mut contents = Vec::new();
        for index in 0..archive.len() {
            let member = archive.by_index(index).map_err(|error| malformed(error.to_string()))?;
            let entry = member.name().map_err(|error| malformed(error.to_string()))?.into_owned();
            let place = match entry.as_str() {
                "images.npy" => &mut images,
                "labels.npy" => &mut labels,
                _ => return Err(malformed(format!("holds `{entry}`; wanted are images.npy and, if any, labels.npy"))),
            };
            contents.push((entry.clone(), member.size(), member.crc32()));
            let array = Npy::open(member, &file).map_err(|why| malformed(format!("{entry}: {why}")))?;
            if place.replace(array).is_some() {
                return Err(malformed(format!("two entries have the name {entry}")));
            }
        }
        let images =
            images.ok_or_else(|| DataError::Missing { path: path.to_owned(), what: "images.npy".to_owned() })?;
        let size = size(&images).map_err(|why| malformed(format!("images.npy: {why}")))?;
        if size.images == 0 {
            return Err(DataError::Empty { path: path.to_owned(), folder: None });
        }
        let (labels, classes) = match labels {
            Some(array) => label_values(&array, size.images).map_err(|why| malformed(format!("labels.npy: {why}")))?,
            None => (vec![-1; size.images], 0),
        };
        let class_names = (0..classes).map(|class| class.to_string()).collect();
        let digits = (size.images - 1).to_string().len().max(6);
        Ok(Self {
            info: DatasetInfo { name, class_names },
            path: path.to_owned(),
            images,
            labels,
            size,
            ids: joined_ids(size.images, digits),
            digits,
            fingerprint: fingerprint(contents),
        })
    }
}

/// The numbers below `n`, each of so many digits, one after the other.
fn joined_ids(n: usize, digits: usize) -> String {
    (0..n).fold(String::with_capacity(n * digits), |mut ids, i| {
        let _ = write!(ids, "{i:0digits$}");
        ids
    })
}

/// The shape of `images`, which is that of a stack of images within limits.
fn size(images: &Npy) -> Result<Size, String> {
    let shape = &images.shape;
    let (n, height, width, channels) = match *shape.as_slice() {
        [n, height, width] => (n, height, width, 1),
        [n, height, width, 3] => (n, height, width, 3),
        _ => return Err(format!("shape {shape:?}, wanted [n, h, w, 3] or [n, h, w]")),
    };
    if images.element != "|u1" {
        return Err(format!("elements of type {}, wanted |u1 (uint8)", images.element));
    }
    if n > MAX_IMAGES {
        return Err(format!("{n} images, above the limit of {MAX_IMAGES}"));
    }
    let limits = Limits::default();
    let side = |side: u64| u32::try_from(side).ok().filter(|&side| (1..=limits.side).contains(&side));
    let (Some(height), Some(width)) = (side(height), side(width)) else {
        return Err(format!("images of {width}x{height} pixels; sides are from 1 to {}", limits.side));
    };
    if u64::from(height) * u64::from(width) > limits.pixels {
        return Err(format!("images of {width}x{height} pixels, above the limit of {} in all", limits.pixels));
    }
    Ok(Size { images: n as usize, height, width, channels })
}

/// A label for each of `n` images, and the number of classes they make.
fn label_values(labels: &Npy, n: usize) -> Result<(Vec<i64>, i64), String> {
    if labels.shape != [n as u64] {
        return Err(format!("shape {:?} for {n} images", labels.shape));
    }
    let values = labels.integers()?;
    let bad = values.iter().find(|&&label| !(-1..MAX_CLASSES).contains(&label));
    if let Some(label) = bad {
        return Err(format!("label {label} is outside -1..{MAX_CLASSES}"));
    }
    let classes = values.iter().max().map_or(0, |&largest| largest + 1);
    Ok((values, classes))
}

/// Over names, lengths and CRC-32 sums of the arrays: the same whether they are compressed or not.
fn fingerprint(mut contents: Vec<(String, u64, u32)>) -> String {
    contents.sort();
    let mut hasher = Hasher::default();
    hasher.field(b"arrays");
    for (name, bytes, crc32) in contents {
        hasher.field(name.as_bytes()).field(&bytes.to_le_bytes()).field(&crc32.to_le_bytes());
    }
    hasher.finish()
}

impl ImageSource for Arrays {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.size.images
    }

    fn id(&self, i: usize) -> &str {
        &self.ids[i * self.digits..][..self.digits]
    }

    fn label(&self, i: usize) -> i64 {
        self.labels[i]
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        let Size { height, width, channels, .. } = self.size;
        let count = height as usize * width as usize * channels;
        let failed = |what: String| DataError::Read {
            id: self.id(i).to_owned(),
            what: format!("cannot be read from {}: {what}", self.path.display()),
        };
        let bytes = self.images.bytes(i as u64 * count as u64, count).map_err(|error| failed(error.to_string()))?;
        let pixels = if channels == 1 { bytes.into_iter().flat_map(|grey| [grey; 3]).collect() } else { bytes };
        let image = RgbImage::from_raw(width, height, pixels);
        image.map(EncodedImage::Pixels).ok_or_else(|| failed("fewer pixels than its shape says".to_owned()))
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}
