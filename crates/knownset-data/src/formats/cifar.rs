//! `cifar10:PATH[#train|test]` and `cifar100:…`: the binary or python batches, in a folder or a tar(.gz) archive.
//!
//! A binary record is the label (CIFAR-100: coarse, then fine) and 1024 red, 1024 green, 1024 blue values of a 32x32
//! image, row by row (<https://www.cs.toronto.edu/~kriz/cifar.html>). A python batch is a pickled dict of the same.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use image::{Rgb, RgbImage};
use knownset_core::digest::Hasher;

use super::read_bounded;
use crate::pickle::{Batch, read_batch};
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Split};

/// Values of one image.
const PIXELS: usize = 3 * 32 * 32;
/// No batch file is longer than this; CIFAR-100's train batch has 155 MB.
const MAX_BATCH_BYTES: u64 = 256 << 20;
/// Nor an archive, decompressed.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;
/// Nor has an archive more entries.
const MAX_ENTRIES: usize = 1000;

/// Which of the two datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cifar10,
    Cifar100,
}

/// How its batches are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Binary,
    Python,
}

/// Ids are the split and the number of the image in it, the same for either coding. All pixels are held in memory.
#[derive(Debug)]
pub(crate) struct Cifar {
    info: DatasetInfo,
    ids: Vec<String>,
    batch: Batch,
}

impl Cifar {
    pub(crate) fn open(name: String, kind: Kind, path: &Path, split: Option<Split>) -> Result<Self, DataError> {
        let splits: Vec<Split> =
            [Split::Test, Split::Train].into_iter().filter(|half| split.is_none_or(|wanted| wanted == *half)).collect();
        let (coding, files) =
            if path.is_dir() { from_folder(kind, path, &splits)? } else { from_tar(kind, path, &splits)? };
        let class_names: Vec<String> = kind.class_names().iter().map(|&name| name.to_owned()).collect();
        let mut ids = Vec::new();
        let mut all = Batch { data: Vec::new(), labels: Vec::new() };
        for split in splits {
            let mut rows = 0;
            for file in kind.files(coding, split) {
                let malformed = |what: String| DataError::Malformed { path: path.join(file), what };
                let bytes = files.get(*file).ok_or_else(|| missing(path, file))?;
                let batch = match coding {
                    Coding::Binary => kind.read_binary(bytes).map_err(malformed)?,
                    Coding::Python => read_batch(bytes, kind.labels_key())
                        .map_err(|problem| DataError::Pickle { path: path.join(file), problem })?,
                };
                if let Some(label) = batch.labels.iter().find(|&&label| label < 0 || label >= class_names.len() as i64)
                {
                    return Err(malformed(format!("label {label} is outside 0..{}", class_names.len())));
                }
                ids.extend((rows..rows + batch.labels.len()).map(|row| format!("{}/{row:06}", split.name())));
                rows += batch.labels.len();
                all.data.extend(batch.data);
                all.labels.extend(batch.labels);
            }
        }
        if ids.is_empty() {
            return Err(DataError::Empty { path: path.to_owned(), folder: None });
        }
        Ok(Self { info: DatasetInfo { name, class_names }, ids, batch: all })
    }
}

impl ImageSource for Cifar {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, i: usize) -> &str {
        &self.ids[i]
    }

    fn label(&self, i: usize) -> i64 {
        self.batch.labels[i]
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        let planes = &self.batch.data[i * PIXELS..][..PIXELS];
        let pixel = |x: u32, y: u32| {
            let at = (y * 32 + x) as usize;
            Rgb([planes[at], planes[1024 + at], planes[2048 + at]])
        };
        Ok(EncodedImage::Pixels(RgbImage::from_fn(32, 32, pixel)))
    }

    /// Over all pixels and labels: the same for either coding.
    fn fingerprint(&self) -> String {
        let mut hasher = Hasher::default();
        hasher.field(b"cifar").field(&self.batch.data);
        for (id, label) in self.ids.iter().zip(&self.batch.labels) {
            hasher.field(id.as_bytes()).field(&label.to_le_bytes());
        }
        hasher.finish()
    }
}

fn missing(path: &Path, what: &str) -> DataError {
    DataError::Missing { path: path.to_owned(), what: what.to_owned() }
}

type Files = BTreeMap<&'static str, Vec<u8>>;

/// Batches in a folder, or in the folder of the released archives inside it.
fn from_folder(kind: Kind, folder: &Path, splits: &[Split]) -> Result<(Coding, Files), DataError> {
    for coding in [Coding::Binary, Coding::Python] {
        let wanted = || splits.iter().flat_map(|&split| kind.files(coding, split));
        for folder in [folder.to_owned(), folder.join(kind.released_folder(coding))] {
            if !wanted().any(|file| folder.join(file).is_file()) {
                continue;
            }
            let read = |file: &&'static str| Ok((*file, read_bounded(&folder.join(file), MAX_BATCH_BYTES)?));
            return Ok((coding, wanted().map(read).collect::<Result<_, DataError>>()?));
        }
    }
    Err(missing(folder, &kind.hint(splits)))
}

/// Batches in a tar archive, gzipped or not, whatever folder they lie in. Only regular files are looked at.
fn from_tar(kind: Kind, path: &Path, splits: &[Split]) -> Result<(Coding, Files), DataError> {
    let malformed = |what: String| DataError::Malformed { path: path.to_owned(), what };
    let broken = |error: std::io::Error| malformed(format!("not a tar archive: {error}"));
    let mut file = BufReader::new(fs_err::File::open(path).map_err(DataError::Io)?);
    let gzip = std::io::BufRead::fill_buf(&mut file).map_err(DataError::Io)?.starts_with(&[0x1f, 0x8b]);
    let stream: Box<dyn Read> = if gzip { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = tar::Archive::new(stream.take(MAX_ARCHIVE_BYTES));

    let wanted = |coding| splits.iter().flat_map(move |&split| kind.files(coding, split));
    let mut found: [Files; 2] = [Files::new(), Files::new()];
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        let entry = entry.map_err(broken)?;
        if count >= MAX_ENTRIES {
            return Err(malformed(format!("more than {MAX_ENTRIES} entries")));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(broken)?.file_name().map(|name| name.to_string_lossy().into_owned());
        for (coding, files) in [Coding::Binary, Coding::Python].into_iter().zip(&mut found) {
            let Some(file) = wanted(coding).find(|&&file| Some(file) == name.as_deref()) else { continue };
            let size = entry.size();
            if size > MAX_BATCH_BYTES {
                let (entry, why) = ((*file).to_owned(), format!("{size} bytes, above the limit of {MAX_BATCH_BYTES}"));
                return Err(DataError::Archive { path: path.to_owned(), entry, why });
            }
            let mut bytes = Vec::new();
            entry.take(size).read_to_end(&mut bytes).map_err(broken)?;
            files.insert(file, bytes);
            break;
        }
    }
    let [binary, python] = found;
    match (binary.is_empty(), python.is_empty()) {
        (false, _) => Ok((Coding::Binary, binary)),
        (true, false) => Ok((Coding::Python, python)),
        (true, true) => Err(missing(path, &kind.hint(splits))),
    }
}

impl Kind {
    fn files(self, coding: Coding, split: Split) -> &'static [&'static str] {
        match (self, coding, split) {
            (Self::Cifar10, Coding::Binary, Split::Test) => &["test_batch.bin"],
            (Self::Cifar10, Coding::Python, Split::Test) => &["test_batch"],
            (Self::Cifar10, Coding::Binary, Split::Train) => {
                &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
            }
            (Self::Cifar10, Coding::Python, Split::Train) => {
                &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
            }
            (Self::Cifar100, Coding::Binary, Split::Test) => &["test.bin"],
            (Self::Cifar100, Coding::Python, Split::Test) => &["test"],
            (Self::Cifar100, Coding::Binary, Split::Train) => &["train.bin"],
            (Self::Cifar100, Coding::Python, Split::Train) => &["train"],
        }
    }

    fn released_folder(self, coding: Coding) -> &'static str {
        match (self, coding) {
            (Self::Cifar10, Coding::Binary) => "cifar-10-batches-bin",
            (Self::Cifar10, Coding::Python) => "cifar-10-batches-py",
            (Self::Cifar100, Coding::Binary) => "cifar-100-binary",
            (Self::Cifar100, Coding::Python) => "cifar-100-python",
        }
    }

    fn hint(self, splits: &[Split]) -> String {
        let first =
            |coding| splits.first().and_then(|&split| self.files(coding, split).first()).copied().unwrap_or_default();
        format!("batch {} or {}", first(Coding::Binary), first(Coding::Python))
    }

    fn labels_key(self) -> &'static str {
        match self {
            Self::Cifar10 => "labels",
            Self::Cifar100 => "fine_labels",
        }
    }

    fn read_binary(self, bytes: &[u8]) -> Result<Batch, String> {
        let labels = match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        };
        let record = labels + PIXELS;
        if !bytes.len().is_multiple_of(record) {
            return Err(format!("{} bytes are no whole number of {record}-byte records", bytes.len()));
        }
        let records = || bytes.chunks_exact(record);
        Ok(Batch {
            labels: records().map(|record| i64::from(record[labels - 1])).collect(),
            data: records().flat_map(|record| &record[labels..]).copied().collect(),
        })
    }

    fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &CIFAR10_CLASSES,
            Self::Cifar100 => &CIFAR100_CLASSES,
        }
    }
}

const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
const CIFAR100_CLASSES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];
