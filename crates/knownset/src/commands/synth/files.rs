//! Files that a stage leaves for the next.

use std::path::Path;

use anyhow::Context;
use image::imageops::{FilterType, resize};
use image::{ImageFormat, RgbImage};
use knownset_core::{Tensor, TensorFile, write_atomically};
use ndarray::{Array1, Array2, Array3};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hint::Hint;

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = write_atomically(path, |out| out.write_all(bytes));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes an object a line.
pub(super) fn write_lines<T: Serialize>(path: &Path, lines: &[T]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    write(path, &text)
}

/// Reads an object a line.
pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs_err::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(index, line)| {
        serde_json::from_str(line).with_context(|| format!("{}: line {} is damaged", path.display(), index + 1))
    };
    text.lines().enumerate().map(read).collect()
}

/// Arrays by name, written as `.npz`.
pub(super) fn write_arrays<const N: usize>(path: &Path, arrays: [(&str, Tensor); N]) -> anyhow::Result<()> {
    let tensors = arrays.map(|(name, array)| (name.to_owned(), array)).into();
    let written = TensorFile { tensors, ..TensorFile::default() }.write_npz(path);
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Arrays of an `.npz` file, taken out by name.
pub(super) struct Arrays<'a> {
    path: &'a Path,
    file: TensorFile,
}

impl<'a> Arrays<'a> {
    pub(super) fn read(path: &'a Path) -> anyhow::Result<Self> {
        let file = TensorFile::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Numbers, row by row; `width` of them in a row.
    pub(super) fn rows(&mut self, name: &str, width: usize) -> anyhow::Result<Array2<f32>> {
        let rows = match self.file.tensors.remove(name) {
            Some(Tensor::F32(array)) => {
                array.into_dimensionality().ok().filter(|rows: &Array2<f32>| rows.ncols() == width)
            }
            _ => None,
        };
        rows.with_context(|| format!("{} has no array `{name}` of {width} floats a row", self.path.display()))
    }

    /// Whole numbers, each below `limit`.
    pub(super) fn numbers(&mut self, name: &str, limit: usize) -> anyhow::Result<Vec<usize>> {
        let numbers = match self.file.tensors.remove(name) {
            Some(Tensor::I64(array)) => array.into_dimensionality().ok().and_then(|numbers: Array1<i64>| {
                let number = |&number: &i64| usize::try_from(number).ok().filter(|&number| number < limit);
                numbers.iter().map(number).collect::<Option<Vec<usize>>>()
            }),
            _ => None,
        };
        numbers.with_context(|| format!("{} has no array `{name}` of whole numbers below {limit}", self.path.display()))
    }
}

/// Whole numbers as an array.
pub(super) fn numbers(numbers: impl IntoIterator<Item = usize>) -> Tensor {
    numbers.into_iter().map(|number| number as i64).collect::<Array1<i64>>().into()
}

/// Refuses a folder for classes that holds something, but no file whose name begins as one of ours: images that are there
/// could be written over.
pub(super) fn check_own(folder: &Path, ours: &[&str]) -> anyhow::Result<()> {
    let names: Vec<String> = fs_err::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    let known = names.iter().any(|name| ours.iter().any(|own| name.starts_with(own)));
    if known || names.is_empty() {
        return Ok(());
    }
    let error = anyhow::anyhow!("{} is not empty, and was not made by this command", folder.display());
    Err(error.context(Hint("choose another --out".into())))
}

/// Writes a picture as PNG.
pub(super) fn write_picture(path: &Path, picture: &RgbImage) -> anyhow::Result<()> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    write(path, &bytes.into_inner())
}

/// A picture of red, green and blue `[H, W, 3]` in 0..1; nothing if there are other colours.
pub(super) fn picture(drawn: &Array3<f32>) -> Option<RgbImage> {
    let (height, width, channels) = drawn.dim();
    let bytes = drawn.iter().map(|value| (value * 255.0).round() as u8).collect();
    if channels == 3 { RgbImage::from_raw(width as u32, height as u32, bytes) } else { None }
}

/// The picture as a square of that side, 0 for as it is. Bilinear; pixels are averaged where it gets smaller, which
/// FodFoM's resize does not do.
pub(super) fn sized(picture: RgbImage, side: u32) -> RgbImage {
    if side == 0 || picture.dimensions() == (side, side) {
        return picture;
    }
    resize(&picture, side, side, FilterType::Triangle)
}
