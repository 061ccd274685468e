//! Named arrays in one file: `.safetensors`, and NumPy's `.npz` by way of [`numpy`].
//!
//! A header never decides how much memory is taken: every declared size is compared with the bytes that are
//! there first. Files are written beside their place and renamed, so a reader sees the old file or the new one.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use ndarray::{Array, ArrayD, Dimension, IxDyn};
use safetensors::Dtype;
use serde_json::json;

use crate::numpy;

/// Largest safetensors header accepted, as the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// An array of one of the element types this project stores.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// 32-bit floats.
    F32(ArrayD<f32>),
    /// 64-bit floats.
    F64(ArrayD<f64>),
    /// 64-bit signed integers.
    I64(ArrayD<i64>),
}

impl Tensor {
    /// Lengths of the dimensions.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
            Self::I64(array) => array.shape(),
        }
    }

    fn dtype(&self) -> (Dtype, &'static str, usize) {
        match self {
            Self::F32(_) => (Dtype::F32, "F32", 4),
            Self::F64(_) => (Dtype::F64, "F64", 8),
            Self::I64(_) => (Dtype::I64, "I64", 8),
        }
    }

    fn write_to(&self, out: &mut dyn Write) -> std::io::Result<()> {
        match self {
            Self::F32(array) => array.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
            Self::F64(array) => array.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
            Self::I64(array) => array.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())),
        }
    }
}

impl<D: Dimension> From<Array<f32, D>> for Tensor {
    fn from(array: Array<f32, D>) -> Self {
        Self::F32(array.into_dyn())
    }
}

impl<D: Dimension> From<Array<f64, D>> for Tensor {
    fn from(array: Array<f64, D>) -> Self {
        Self::F64(array.into_dyn())
    }
}

impl<D: Dimension> From<Array<i64, D>> for Tensor {
    fn from(array: Array<i64, D>) -> Self {
        Self::I64(array.into_dyn())
    }
}

/// Named arrays and named strings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorFile {
    /// The arrays.
    pub tensors: BTreeMap<String, Tensor>,
    /// The header's strings (safetensors' `__metadata__`); always empty for an npz.
    pub metadata: BTreeMap<String, String>,
}

/// A tensor file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFileError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Neither a safetensors file nor a zip archive.
    #[error("{path}: neither a .safetensors nor an .npz file")]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors header that is not one.
    #[error("{path}: bad safetensors header")]
    Header {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Fewer or more bytes than the header declares.
    #[error("{path}: the header declares {declared} bytes but the file has {found}; it is truncated or damaged")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes the header accounts for.
        declared: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A damaged archive.
    #[error("{path}: damaged .npz archive")]
    Zip {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: zip::result::ZipError,
    },
    /// A member whose compression ratio is that of a zip bomb.
    #[error("{path}: member {member} claims {size} bytes from {compressed} compressed ones; refused as a zip bomb")]
    Bomb {
        /// The file.
        path: PathBuf,
        /// The archive member.
        member: String,
        /// Declared size.
        size: u64,
        /// Compressed size.
        compressed: u64,
    },
    /// An array that cannot be read.
    #[error("{path}: array {name}: {why}")]
    Array {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl TensorFile {
    /// Reads a `.safetensors` or `.npz` file, told apart by content.
    ///
    /// Of the element types, f16, bf16, f32 become [`Tensor::F32`], f64 [`Tensor::F64`], integers and booleans
    /// [`Tensor::I64`]; any other type is an error that names the array.
    pub fn read(path: &Path) -> Result<Self, TensorFileError> {
        let mut file = BufReader::new(fs::File::open(path)?);
        let mut magic = [0; 9];
        let mut have = 0;
        while have < magic.len() {
            match file.read(&mut magic[have..])? {
                0 => break,
                n => have += n,
            }
        }
        file.rewind()?;
        if magic.starts_with(b"PK\x03\x04") || magic.starts_with(b"PK\x05\x06") {
            numpy::read_archive(path, file)
        } else if magic[8] == b'{' {
            read_safetensors(path, file)
        } else {
            Err(TensorFileError::Format { path: path.into() })
        }
    }

    /// Writes a `.safetensors` file; the same content gives the same bytes.
    pub fn write(&self, path: &Path) -> Result<(), TensorFileError> {
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by(|(left_name, left), (right_name, right)| {
            right.dtype().0.cmp(&left.dtype().0).then(left_name.cmp(right_name))
        });
        let mut header = serde_json::Map::new();
        if !self.metadata.is_empty() {
            header.insert("__metadata__".into(), json!(self.metadata));
        }
        let mut offset = 0;
        for (name, tensor) in &order {
            let (_, dtype, size) = tensor.dtype();
            let end = offset + tensor.shape().iter().product::<usize>() * size;
            header.insert(
                (*name).clone(),
                json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [offset, end]}),
            );
            offset = end;
        }
        let mut header = serde_json::Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        write_atomically(path, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(header.as_bytes())?;
            order.iter().try_for_each(|(_, tensor)| tensor.write_to(out))
        })?;
        Ok(())
    }

    /// Writes an `.npz` file, as `numpy.savez` does; it has no place for strings, so there must be none.
    ///
    /// # Panics
    /// If there is metadata.
    pub fn write_npz(&self, path: &Path) -> Result<(), TensorFileError> {
        assert!(self.metadata.is_empty(), "an .npz file has no place for {:?}", self.metadata);
        let arrays = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        Ok(write_atomically(path, |out| numpy::archive(out, arrays))?)
    }
}

/// Writes a file by way of a temporary one beside it, so that no half-written file is ever seen under `path`.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)
        .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
    let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut out = std::io::BufWriter::new(file.as_file_mut());
    fill(&mut out).and_then(|()| out.flush()).map_err(named)?;
    drop(out);
    make_readable(file.path())?;
    file.persist(path).map_err(|error| named(error.error))?;
    Ok(())
}

/// Temporary files are private to their owner; results get the usual permissions.
#[cfg(unix)]
fn make_readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

fn read_safetensors(path: &Path, mut file: BufReader<fs::File>) -> Result<TensorFile, TensorFileError> {
    let found = file.get_ref().metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length > found.saturating_sub(8) {
        return Err(TensorFileError::Length { path: path.into(), declared: length.saturating_add(8), found });
    }
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header)?;
    let parsed: safetensors::tensor::Metadata =
        serde_json::from_slice(&header).map_err(|source| TensorFileError::Header { path: path.into(), source })?;
    let declared = 8 + length + parsed.data_len() as u64;
    if declared != found {
        return Err(TensorFileError::Length { path: path.into(), declared, found });
    }
    let mut tensors = BTreeMap::new();
    for name in parsed.offset_keys() {
        let Some(info) = parsed.info(&name) else { continue };
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        file.read_exact(&mut bytes)?;
        let tensor = from_bytes(info.dtype, &info.shape, &bytes).map_err(|why| TensorFileError::Array {
            path: path.into(),
            name: name.clone(),
            why,
        })?;
        tensors.insert(name, tensor);
    }
    let metadata = parsed.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(TensorFile { tensors, metadata })
}

/// Little-endian `bytes` as an array; the error says what is unsupported.
fn from_bytes(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<Tensor, String> {
    let floats = |convert: fn(&[u8]) -> f32, size| array(shape, bytes.chunks_exact(size).map(convert).collect());
    let integers = |convert: fn(&[u8]) -> i64, size| array(shape, bytes.chunks_exact(size).map(convert).collect());
    Ok(match dtype {
        Dtype::F16 => Tensor::F32(floats(|b| half_to_f32(u16::from_le_bytes([b[0], b[1]])), 2)?),
        Dtype::BF16 => Tensor::F32(floats(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16), 2)?),
        Dtype::F32 => Tensor::F32(floats(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]), 4)?),
        Dtype::F64 => {
            let values = bytes.chunks_exact(8).map(|b| f64::from_bits(u64_le(b))).collect();
            Tensor::F64(array(shape, values)?)
        }
        Dtype::I64 => Tensor::I64(integers(|b| u64_le(b).cast_signed(), 8)?),
        Dtype::I32 => Tensor::I64(integers(|b| i64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])), 4)?),
        Dtype::U8 | Dtype::BOOL => Tensor::I64(integers(|b| i64::from(b[0]), 1)?),
        other => return Err(format!("element type {other:?} is not supported")),
    })
}

fn u64_le(b: &[u8]) -> u64 {
    u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}

/// IEEE half precision to single, exact.
pub fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    }
}

pub(crate) fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, String> {
    let found = values.len();
    ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|_| format!("shape {shape:?} does not hold {found} values"))
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> TensorFile {
        let mut file = TensorFile::default();
        file.tensors.insert("a".into(), array![[1.0_f32, -2.5], [0.0, f32::MIN]].into());
        file.tensors.insert("b".into(), array![1.0_f64 / 3.0].into());
        file.tensors.insert("labels".into(), array![-1_i64, 7].into());
        file.metadata.insert("ids".into(), r#"["x", "y"]"#.into());
        file.metadata.insert("other".into(), "text".into());
        file
    }

    #[test]
    fn what_is_written_is_read_back_and_the_reference_parser_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.safetensors");
        sample().write(&path).unwrap();
        assert_eq!(TensorFile::read(&path).unwrap(), sample());
        let bytes = fs::read(&path).unwrap();
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(reference.tensor("a").unwrap().shape(), [2, 2]);
        assert_eq!(reference.len(), 3);
    }

    #[test]
    fn a_truncated_file_is_refused_with_both_lengths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.safetensors");
        sample().write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let error = TensorFile::read(&path).unwrap_err();
        assert!(matches!(error, TensorFileError::Length { declared, found, .. } if declared == found + 3), "{error}");
    }

    #[test]
    fn a_npy_header_cannot_claim_more_than_there_is() {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000), }\n";
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        let error = crate::numpy::read_npy(&bytes[..], bytes.len() as u64).unwrap_err();
        assert!(error.contains("needs more bytes"), "{error}");
    }

    #[test]
    fn half_precision_matches_known_values() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8)] {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7c00).is_infinite() && half_to_f32(0x7e00).is_nan());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), zip: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut content = if zip { b"PK\x03\x04".to_vec() } else { vec![40, 0, 0, 0, 0, 0, 0, 0, b'{'] };
            content.extend(bytes);
            fs::write(&path, content).unwrap();
            prop_assert!(TensorFile::read(&path).is_err());
        }
    }
}
