//! Dataset references: text on a command line, parsed once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::corruptions::{self, Corrupted, Corruption, Severity};
use crate::formats::{arrays, cifar, folder, imglist, mnist, world, zip};
use crate::{DataError, ImageSource};

/// One dataset format as users see it.
#[derive(Debug, Clone, Copy)]
pub struct DatasetEntry {
    /// The scheme, without the colon.
    pub name: &'static str,
    /// The form of a reference.
    pub syntax: &'static str,
    /// One line of documentation.
    pub doc: &'static str,
    /// What follows `name:`, understood; `None` where it is not of the form `syntax`, an error where a part of it is bad.
    parse: fn(&str) -> Option<Result<DatasetRef, DataError>>,
}

/// Every dataset format.
pub const DATASETS: &[DatasetEntry] = &[
    DatasetEntry {
        name: "folder",
        syntax: "folder:PATH",
        doc: "images in class folders, or loose in one folder (no labels)",
        parse: |rest| Some(Ok(DatasetRef::Folder { path: path(rest)? })),
    },
    DatasetEntry {
        name: "zip",
        syntax: "zip:FILE[#FOLDER]",
        doc: "the same inside a zip archive, read in place",
        parse: |rest| {
            let (file, folder) = fragment(rest);
            let folder = folder.map(|folder| folder.trim_matches('/'));
            if folder.is_some_and(|folder| folder.is_empty() || !crate::tree::is_contained(folder)) {
                return None;
            }
            Some(Ok(DatasetRef::Zip { file: path(file)?, folder: folder.map(str::to_owned) }))
        },
    },
    DatasetEntry {
        name: "cifar10",
        syntax: "cifar10:PATH[#train|test]",
        doc: "CIFAR-10: folder with the binary or python batches, or the tar(.gz) of either",
        parse: |rest| with_split(rest).map(|(path, split)| Ok(DatasetRef::Cifar10 { path, split })),
    },
    DatasetEntry {
        name: "cifar100",
        syntax: "cifar100:PATH[#train|test]",
        doc: "CIFAR-100 with its fine labels, stored like CIFAR-10",
        parse: |rest| with_split(rest).map(|(path, split)| Ok(DatasetRef::Cifar100 { path, split })),
    },
    DatasetEntry {
        name: "imglist",
        syntax: "imglist:FILE@ROOT",
        doc: "a text file with `path label` lines (OpenOOD), paths below ROOT",
        parse: |rest| {
            let (file, root) = rest.rsplit_once('@')?;
            Some(Ok(DatasetRef::ImgList { file: path(file)?, root: path(root)? }))
        },
    },
    DatasetEntry {
        name: "mnist",
        syntax: "mnist:PATH[#train|test]",
        doc: "MNIST and its kin in idx files, plain or .gz: a folder, or one images file",
        parse: |rest| with_split(rest).map(|(path, split)| Ok(DatasetRef::Mnist { path, split })),
    },
    DatasetEntry {
        name: "arrays",
        syntax: "arrays:FILE.npz",
        doc: "u8 images [n, h, w, 3] or [n, h, w] and, if any, labels [n] of a generator's samples, by NumPy",
        parse: |rest| Some(Ok(DatasetRef::Arrays { file: path(rest)? })),
    },
    DatasetEntry {
        name: "world",
        syntax: "world:NAME#SPLIT",
        doc: "the bundled Sprite World, drawn on demand",
        parse: |rest| {
            let (name, split) = fragment(rest);
            let known = !name.is_empty() && split.is_none_or(|split| !split.is_empty());
            known.then(|| Ok(DatasetRef::World { name: name.to_owned(), split: split.map(str::to_owned) }))
        },
    },
    DatasetEntry {
        name: "corrupt",
        syntax: "corrupt:KIND:SEVERITY[:SEED]@REF",
        doc: "any dataset above through a corruption of ImageNet-C, severity 1 to 5",
        parse: |rest| {
            let (how, of) = rest.split_once('@')?;
            let (kind, how) = how.split_once(':')?;
            let (severity, seed) = how.split_once(':').unwrap_or((how, "0"));
            let seed = seed.parse().ok()?;
            if of.starts_with("corrupt:") {
                return None;
            }
            Some(corrupt(kind, severity, seed, of))
        },
    },
];

/// The two halves of a benchmark dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// For training.
    Train,
    /// For testing.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// A dataset and where it lies. Without its optional part a reference means everything that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatasetRef {
    /// Images in a folder.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Images in a folder inside a zip archive.
    Zip {
        /// The archive.
        file: PathBuf,
        /// The folder inside it, without slashes around it; `None` is the archive's root.
        folder: Option<String>,
    },
    /// CIFAR-10.
    Cifar10 {
        /// Folder or archive of the batches.
        path: PathBuf,
        /// Which half; `None` is both, test first.
        split: Option<Split>,
    },
    /// CIFAR-100.
    Cifar100 {
        /// Folder or archive of the batches.
        path: PathBuf,
        /// Which half; `None` is both, test first.
        split: Option<Split>,
    },
    /// A list of paths and labels.
    ImgList {
        /// The list.
        file: PathBuf,
        /// The folder its paths start from.
        root: PathBuf,
    },
    /// MNIST.
    Mnist {
        /// Folder of the idx files, or one images file.
        path: PathBuf,
        /// Which half; `None` is both, test first.
        split: Option<Split>,
    },
    /// Images and labels in a NumPy archive.
    Arrays {
        /// The archive.
        file: PathBuf,
    },
    /// A bundled world.
    World {
        /// Its name.
        name: String,
        /// Which part of it.
        split: Option<String>,
    },
    /// Another dataset, corrupted.
    Corrupt {
        /// The kind of corruption.
        corruption: &'static Corruption,
        /// How strong.
        severity: Severity,
        /// Decides, with an image's id, the random numbers of its corruption.
        seed: u64,
        /// The clean dataset.
        of: Box<DatasetRef>,
    },
}

impl DatasetRef {
    /// Opens the dataset: finds its rows, reads no pixels of image files.
    pub fn open(&self) -> Result<Box<dyn ImageSource>, DataError> {
        let name = self.to_string();
        Ok(match self {
            Self::Folder { path } => Box::new(folder::ImageFolder::open(name, path)?),
            Self::Zip { file, folder } => Box::new(zip::ZipFolder::open(name, file, folder.as_deref())?),
            Self::Cifar10 { path, split } => Box::new(cifar::Cifar::open(name, cifar::Kind::Cifar10, path, *split)?),
            Self::Cifar100 { path, split } => Box::new(cifar::Cifar::open(name, cifar::Kind::Cifar100, path, *split)?),
            Self::ImgList { file, root } => Box::new(imglist::ImgList::open(name, file, root)?),
            Self::Mnist { path, split } => Box::new(mnist::Mnist::open(name, path, *split)?),
            Self::Arrays { file } => Box::new(arrays::Arrays::open(name, file)?),
            Self::World { name: world, split } => {
                Box::new(world::WorldImages::open(name, world, split.as_deref().unwrap_or_default())?)
            }
            Self::Corrupt { corruption, severity, seed, of } => {
                Box::new(Corrupted::new(of.open()?, corruption, *severity, *seed))
            }
        })
    }
}

impl FromStr for DatasetRef {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let reference = || text.to_owned();
        let known = text.split_once(':').map(|(scheme, rest)| (scheme, rest, entry(scheme)));
        match known {
            Some((_, rest, Some(entry))) => {
                let bad_form = || Err(DataError::Syntax { reference: reference(), syntax: entry.syntax });
                (entry.parse)(rest).unwrap_or_else(bad_form)
            }
            _ if Path::new(text).is_dir() => Ok(Self::Folder { path: PathBuf::from(text) }),
            Some((scheme, _, None)) => Err(DataError::UnknownScheme {
                reference: reference(),
                scheme: scheme.to_owned(),
                nearest: nearest(scheme),
            }),
            None => Err(DataError::NotAReference { reference: reference() }),
        }
    }
}

impl fmt::Display for DatasetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = |part: Option<&str>| part.map(|part| format!("#{part}")).unwrap_or_default();
        let split = |split: Option<Split>| suffix(split.map(Split::name));
        match self {
            Self::Folder { path } => write!(f, "folder:{}", path.display()),
            Self::Zip { file, folder } => write!(f, "zip:{}{}", file.display(), suffix(folder.as_deref())),
            Self::Cifar10 { path, split: half } => write!(f, "cifar10:{}{}", path.display(), split(*half)),
            Self::Cifar100 { path, split: half } => write!(f, "cifar100:{}{}", path.display(), split(*half)),
            Self::ImgList { file, root } => write!(f, "imglist:{}@{}", file.display(), root.display()),
            Self::Mnist { path, split: half } => write!(f, "mnist:{}{}", path.display(), split(*half)),
            Self::Arrays { file } => write!(f, "arrays:{}", file.display()),
            Self::World { name, split } => write!(f, "world:{name}{}", suffix(split.as_deref())),
            Self::Corrupt { corruption, severity, seed, of } => {
                f.write_str(&corruptions::reference(corruption, *severity, *seed, of))
            }
        }
    }
}

fn entry(scheme: &str) -> Option<&'static DatasetEntry> {
    DATASETS.iter().find(|entry| entry.name == scheme)
}

fn nearest(scheme: &str) -> &'static str {
    let distance = |entry: &&DatasetEntry| strsim::damerau_levenshtein(entry.name, scheme);
    DATASETS.iter().min_by_key(distance).map_or("folder:PATH", |entry| entry.syntax)
}

fn corrupt(kind: &str, severity: &str, seed: u64, of: &str) -> Result<DatasetRef, DataError> {
    Ok(DatasetRef::Corrupt {
        corruption: corruptions::find(kind)?,
        severity: severity.parse()?,
        seed,
        of: Box::new(of.parse()?),
    })
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// Text before and after the last `#`.
fn fragment(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('#') {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn with_split(text: &str) -> Option<(PathBuf, Option<Split>)> {
    let (file, split) = fragment(text);
    let split = match split {
        None => None,
        Some("train") => Some(Split::Train),
        Some("test") => Some(Split::Test),
        Some(_) => return None,
    };
    Some((path(file)?, split))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_a_round_trip() {
        for text in [
            "folder:/data/a:b#c@d",
            "zip:a.zip",
            "zip:a#b.zip#train/x",
            "cifar10:d",
            "cifar10:d#train",
            "cifar100:d.tar.gz#test",
            "imglist:a@b.txt@/root",
            "mnist:m#test",
            "arrays:a#b.npz",
            "world:sprites",
            "world:sprites#near",
            "corrupt:fog:3@world:sprites#test",
            "corrupt:shot-noise:5:17@imglist:a@b.txt@/root",
        ] {
            assert_eq!(text.parse::<DatasetRef>().unwrap().to_string(), text);
        }
        let trimmed: DatasetRef = "zip:a.zip#/train/".parse().unwrap();
        assert_eq!(trimmed, DatasetRef::Zip { file: "a.zip".into(), folder: Some("train".into()) });
    }

    #[test]
    fn table_is_sound() {
        for entry in DATASETS {
            assert!(entry.syntax.starts_with(&format!("{}:", entry.name)), "{}", entry.name);
            assert_eq!(DATASETS.iter().filter(|other| other.name == entry.name).count(), 1);
            assert!((entry.parse)("").is_none(), "{} accepts nothing", entry.name);
        }
    }

    #[test]
    fn an_unknown_scheme_suggests_the_nearest() {
        let error = "cifra10:x".parse::<DatasetRef>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown dataset scheme `cifra10:` in `cifra10:x`; the nearest is `cifar10:PATH[#train|test]`"
        );
        assert!(matches!("svhn:x".parse::<DatasetRef>(), Err(DataError::UnknownScheme { .. })));
    }

    #[test]
    fn a_corrupted_dataset_says_which_part_is_bad() {
        let message = |text: &str| text.parse::<DatasetRef>().unwrap_err().to_string();
        assert_eq!(message("corrupt:frog:3@folder:d"), "unknown corruption `frog`; the nearest is `fog`");
        assert_eq!(message("corrupt:fog:6@folder:d"), "severity `6` is not a whole number from 1 to 5");
        assert!(message("corrupt:fog:3@cifra10:d").starts_with("unknown dataset scheme `cifra10:`"));
        assert_eq!(
            "corrupt:fog:3:0@folder:d".parse::<DatasetRef>().unwrap(),
            "corrupt:fog:3@folder:d".parse().unwrap()
        );
        for text in [
            "corrupt:fog:3",
            "corrupt:fog@folder:d",
            "corrupt:fog:3:x@folder:d",
            "corrupt:fog:3:-1@folder:d",
            "corrupt:fog:3@corrupt:fog:3@folder:d",
        ] {
            assert!(message(text).ends_with("is not of the form `corrupt:KIND:SEVERITY[:SEED]@REF`"), "{text}");
        }
    }

    #[test]
    fn bad_forms_name_the_good_one() {
        for text in
            ["folder:", "zip:a.zip#", "zip:a.zip#../b", "cifar10:d#val", "imglist:a.txt", "mnist:#test", "world:"]
        {
            assert!(matches!(text.parse::<DatasetRef>(), Err(DataError::Syntax { .. })), "{text}");
        }
        assert!(matches!("no-such-folder".parse::<DatasetRef>(), Err(DataError::NotAReference { .. })));
    }

    #[test]
    fn a_bare_folder_is_a_reference() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().to_str().unwrap();
        assert_eq!(text.parse::<DatasetRef>().unwrap(), DatasetRef::Folder { path: folder.path().into() });
    }
}
