//! NumPy's files: `.npy`, one array, and `.npz`, a zip archive of them.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use fs_err as fs;
use ndarray::ArrayD;
use npyz::WriterBuilder;

use crate::tensor_file::{Tensor, TensorFile, TensorFileError, array, write_atomically};

/// A member larger than this must not have been compressed by more than [`MAX_RATIO`].
const FREE_MEMBER: u64 = 64 << 20;
/// See [`FREE_MEMBER`].
const MAX_RATIO: u64 = 100;

/// Reads an `.npy` file. Element types become those of [`TensorFile::read`].
pub fn read_array(path: &Path) -> Result<Tensor, TensorFileError> {
    let file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    let wrong = |why| TensorFileError::Array { path: path.into(), name: "of the file".into(), why };
    read_npy(BufReader::new(file), size).map_err(wrong)
}

/// Writes an `.npy` file of rows of one shape, `[n, …]`, only one of which need be in memory; whole or not at all.
///
/// # Errors
/// A file that cannot be written, or rows that are not `n` or not of that shape.
pub fn write_rows(
    path: &Path,
    n: usize,
    row: &[usize],
    rows: impl IntoIterator<Item = ArrayD<f32>>,
) -> std::io::Result<()> {
    let shape: Vec<usize> = std::iter::once(n).chain(row.iter().copied()).collect();
    let rows = rows.into_iter().map(|array| {
        let wrong = || format!("a row of shape {:?}, expected {row:?}", array.shape());
        if array.shape() == row {
            Ok(array)
        } else {
            Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, wrong()))
        }
    });
    write_atomically(path, |out| npy(out, &shape, rows))
}

/// An array of an `.npz` file, `[n, …]`, that need not be in memory.
pub struct Rows<'a, I> {
    /// Its name.
    pub name: &'a str,
    /// Shape of the whole.
    pub shape: &'a [usize],
    /// The values, a part after the other; as many in all as the shape has.
    pub parts: I,
}

/// Writes an `.npz` file of arrays that come in parts, one of which is in memory at a time; whole or not at all, not
/// compressed.
///
/// # Errors
/// A file that cannot be written, a part that there is not, or values that are not as many as the shape has.
pub fn write_archive<'a, I>(path: &Path, arrays: impl IntoIterator<Item = Rows<'a, I>>) -> std::io::Result<()>
where
    I: Iterator<Item = std::io::Result<Vec<f32>>>,
{
    write_atomically(path, |out| {
        let mut archive = zip::ZipWriter::new_stream(out);
        for Rows { name, shape, parts } in arrays {
            let bytes = (size_of::<f32>() * shape.iter().product::<usize>()) as u64;
            archive.start_file(format!("{name}.npy"), member(bytes, zip::CompressionMethod::Stored))?;
            npy(&mut archive, shape, parts)?;
        }
        archive.finish()?;
        Ok(())
    })
}

/// Writes arrays as an `.npz` file.
pub(crate) fn archive<'a>(
    out: &mut dyn Write,
    arrays: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> std::io::Result<()> {
    let mut archive = zip::ZipWriter::new_stream(out);
    for (name, tensor) in arrays {
        let bytes = (size_of::<f64>() * tensor.shape().iter().product::<usize>()) as u64;
        archive.start_file(format!("{name}.npy"), member(bytes, zip::CompressionMethod::Deflated))?;
        match tensor {
            Tensor::F32(array) => npy(&mut archive, array.shape(), std::iter::once(Ok(array.iter().copied()))),
            Tensor::F64(array) => npy(&mut archive, array.shape(), std::iter::once(Ok(array.iter().copied()))),
            Tensor::I64(array) => npy(&mut archive, array.shape(), std::iter::once(Ok(array.iter().copied()))),
        }?;
    }
    archive.finish()?;
    Ok(())
}

/// How a member of at most so many bytes is kept.
fn member(bytes: u64, method: zip::CompressionMethod) -> zip::write::SimpleFileOptions {
    // Headers of the usual kind count to four billion; a little of that is the array's own header.
    let large = bytes > u64::from(u32::MAX) - (1 << 20);
    zip::write::SimpleFileOptions::default().compression_method(method).large_file(large)
}

/// Writes an `.npy` file.
fn npy<T: npyz::AutoSerialize, V: IntoIterator<Item = T>>(
    out: impl Write,
    shape: &[usize],
    parts: impl Iterator<Item = std::io::Result<V>>,
) -> std::io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
    for part in parts {
        writer.extend(part?)?;
    }
    writer.finish()
}

/// All arrays of an `.npz` file.
pub(crate) fn read_archive(path: &Path, file: BufReader<fs::File>) -> Result<TensorFile, TensorFileError> {
    let zip_error = |source| TensorFileError::Zip { path: path.into(), source };
    let mut archive = zip::ZipArchive::new(file).map_err(zip_error)?;
    let mut tensors = BTreeMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(zip_error)?;
        let (size, compressed) = (member.size(), member.compressed_size());
        let name = member.name().map_err(zip_error)?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        if size > FREE_MEMBER && size / compressed.max(1) > MAX_RATIO {
            return Err(TensorFileError::Bomb { path: path.into(), member: name, size, compressed });
        }
        let tensor = read_npy(member, size);
        let tensor = tensor.map_err(|why| TensorFileError::Array { path: path.into(), name: name.clone(), why })?;
        tensors.insert(name, tensor);
    }
    Ok(TensorFile { tensors, metadata: BTreeMap::new() })
}

/// One `.npy` stream of at most `size` bytes. Object arrays (pickles) are refused, never read.
pub(crate) fn read_npy(stream: impl Read, size: u64) -> Result<Tensor, String> {
    let npy = npyz::NpyFile::new(stream.take(size)).map_err(|error| error.to_string())?;
    let shape: Vec<usize> =
        npy.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let npyz::DType::Plain(dtype) = npy.dtype() else {
        return Err("structured arrays are not supported".into());
    };
    let item = u64::try_from(dtype.num_bytes().unwrap_or(usize::MAX)).unwrap_or(u64::MAX);
    let needed = npy.shape().iter().try_fold(item, |product, &n| product.checked_mul(n));
    if needed.is_none_or(|needed| needed > size) {
        return Err(format!("shape {shape:?} needs more bytes than the {size} there are"));
    }
    let fortran = npy.order() == npyz::Order::Fortran;
    let read = |error: std::io::Error| error.to_string();
    macro_rules! values {
        ($source:ty, $target:ty, $variant:ident) => {{
            #[expect(clippy::allow_attributes, reason = "one arm is an identity, the others are conversions")]
            #[allow(clippy::useless_conversion, clippy::cast_lossless)]
            let values = npy.into_vec::<$source>().map_err(read)?.into_iter().map(|v| v as $target).collect();
            Tensor::$variant(ordered(&shape, fortran, values)?)
        }};
    }
    Ok(match (dtype.type_char(), item) {
        (npyz::TypeChar::Float, 4) => values!(f32, f32, F32),
        (npyz::TypeChar::Float, 8) => values!(f64, f64, F64),
        (npyz::TypeChar::Int, 8) => values!(i64, i64, I64),
        (npyz::TypeChar::Int, 4) => values!(i32, i64, I64),
        (npyz::TypeChar::Int, 2) => values!(i16, i64, I64),
        (npyz::TypeChar::Uint, 1) => values!(u8, i64, I64),
        (npyz::TypeChar::Uint, 4) => values!(u32, i64, I64),
        (npyz::TypeChar::Bool, 1) => values!(bool, i64, I64),
        _ => return Err(format!("element type {dtype} is not supported")),
    })
}

fn ordered<T: Clone>(shape: &[usize], fortran: bool, values: Vec<T>) -> Result<ArrayD<T>, String> {
    if !fortran {
        return array(shape, values);
    }
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    Ok(array(&reversed, values)?.reversed_axes().as_standard_layout().into_owned())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array3};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let images = Array3::from_shape_fn((2, 3, 4), |(a, b, c)| (a * 100 + b * 10 + c) as f32);
        let file = TensorFile {
            tensors: [
                ("images".to_owned(), Tensor::from(images.clone())),
                ("labels".to_owned(), Tensor::from(Array1::from(vec![3_i64, -1]))),
            ]
            .into(),
            metadata: BTreeMap::new(),
        };
        let path = folder.path().join("a.npz");
        file.write_npz(&path).unwrap();
        assert_eq!(TensorFile::read(&path).unwrap(), file);

        let path = folder.path().join("a.npy");
        let rows = || images.outer_iter().map(|row| row.to_owned().into_dyn());
        write_rows(&path, 2, &[3, 4], rows()).unwrap();
        assert_eq!(read_array(&path).unwrap(), Tensor::from(images.clone()));
        for (n, row) in [(1, [3, 4]), (3, [3, 4]), (2, [4, 3])] {
            write_rows(&path, n, &row, rows()).unwrap_err();
        }
        assert_eq!(read_array(&path).unwrap(), Tensor::from(images.clone()), "half a file takes no file's place");
        fs::write(&path, b"no array").unwrap();
        assert!(read_array(&path).unwrap_err().to_string().contains("a.npy"));
    }

    #[test]
    fn an_archive_of_rows_is_one_of_arrays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let part = |first: u8| Ok(vec![f32::from(first), f32::from(first) + 1.0]);
        let array = |name, shape: &'static [usize], firsts: &'static [u8]| Rows {
            name,
            shape,
            parts: firsts.iter().map(move |&first| part(first)),
        };
        write_archive(&path, [array("a", &[2, 2], &[0, 2]), array("b", &[1, 2, 1], &[5])]).unwrap();
        let found = TensorFile::read(&path).unwrap().tensors;
        assert_eq!(found["a"], Tensor::from(ndarray::array![[0.0_f32, 1.0], [2.0, 3.0]]));
        assert_eq!(found["b"], Tensor::from(ndarray::array![[[5.0_f32], [6.0]]]));
        write_archive(&path, [array("a", &[3, 2], &[0, 2])]).unwrap_err();
        let broken = Rows { name: "a", shape: &[1], parts: std::iter::once(Err(std::io::Error::other("gone"))) };
        assert!(write_archive(&path, [broken]).unwrap_err().to_string().contains("gone"));
        assert_eq!(TensorFile::read(&path).unwrap().tensors, found, "half a file takes no file's place");
    }
}
