//! A dataset, whatever its format: rows with an id, a label and an image.

use image::RgbImage;

use crate::DataError;

/// What a dataset says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetInfo {
    /// The reference it was opened with.
    pub name: String,
    /// Names of the classes, in the order of the labels; empty where the format has none.
    pub class_names: Vec<String>,
}

/// One image as the dataset stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodedImage {
    /// The bytes of an image file, not looked at yet.
    Bytes(Vec<u8>),
    /// Pixels, from formats that store them bare.
    Pixels(RgbImage),
}

/// What is written about one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Sentences that describe it.
    pub captions: Vec<String>,
    /// Words and names that apply to it.
    pub tags: Vec<String>,
}

/// Something that an image shows, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// What it can be called, the kind it belongs to first.
    pub names: Vec<String>,
    /// Left, top, right and bottom in pixels of the image; right and bottom are those of the first pixel outside.
    pub corners: [f32; 4],
    /// Width and height of the image in pixels.
    pub image: (u32, u32),
}

/// A dataset opened for random access from any thread. Decoding happens elsewhere.
///
/// Rows are in byte order of their ids. Methods that take a row number panic, as slices do, when it is not below
/// [`len`](Self::len).
pub trait ImageSource: Send + Sync {
    /// Name and classes.
    fn info(&self) -> &DatasetInfo;

    /// Number of rows; never 0, since opening an empty dataset is an error.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of a row: the path of its file below the dataset's root, or split and number.
    fn id(&self, i: usize) -> &str;

    /// Index of the row's class, −1 where it has none.
    fn label(&self, i: usize) -> i64;

    /// Reads one image as it is stored; errors name its id. [`rgb`](crate::rgb) decodes it and [alters](Self::alter) it.
    fn get(&self, i: usize) -> Result<EncodedImage, DataError>;

    /// What is written about a row's image; nothing in formats without texts.
    fn texts(&self, i: usize) -> Texts {
        let _ = i;
        Texts::default()
    }

    /// What a row's image shows and where; nothing in formats without boxes.
    fn objects(&self, i: usize) -> Vec<Located> {
        let _ = i;
        Vec::new()
    }

    /// What becomes of a row's pixels once they are decoded: nothing, unless the dataset is seen through a
    /// [corruption](crate::corruptions).
    fn alter(&self, _i: usize, image: RgbImage) -> RgbImage {
        image
    }

    /// Text that changes when the dataset does; each format says what it looks at. May read the whole dataset.
    fn fingerprint(&self) -> String;
}
