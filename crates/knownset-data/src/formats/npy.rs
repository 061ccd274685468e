//! One array of a `.npz` archive: its header (NumPy's `.npy`, version 1.0), and values that are read where they lie or
//! held decompressed.

use std::io::{self, Read};

use zip::CompressionMethod;
use zip::read::ZipFile;

use super::shared_file::SharedFile;
use super::zip::is_bomb;

/// Magic and version 1.0, which NumPy writes for every header that fits.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";
/// No plain array has a longer header.
const MAX_HEADER: usize = 1024;

/// An array in C order. Nothing is made of its header before the archive agrees with it.
#[derive(Debug)]
pub(super) struct Npy {
    /// Lengths of its axes.
    pub(super) shape: Vec<u64>,
    /// Type of its elements, as NumPy writes it.
    pub(super) element: String,
    /// Length in bytes.
    length: u64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Stored as they are, from this offset of the file on.
    InPlace { file: SharedFile, offset: u64 },
    /// Decompressed.
    Held(Vec<u8>),
}

impl Npy {
    /// Reads the header, and decompresses the values if they are compressed; the error says what is wrong.
    pub(super) fn open(mut member: ZipFile<'_, SharedFile>, file: &SharedFile) -> Result<Self, String> {
        let (size, stored) = (member.size(), member.compressed_size());
        let (header, header_length) = read_header(&mut member)?;
        let (element, fortran, shape) = parse(&header).ok_or("not the header of a plain array")?;
        if fortran {
            return Err("in Fortran's order; numpy.ascontiguousarray turns it".to_owned());
        }
        let item = bytes_each(&element).ok_or_else(|| format!("elements of type {element} are not read"))?;
        let length = shape.iter().try_fold(item, |product, &axis| product.checked_mul(axis));
        let Some(length) = length.filter(|length| length.checked_add(header_length) == Some(size)) else {
            let found = size.saturating_sub(header_length);
            return Err(format!("shape {shape:?} of type {element} does not fill {found} bytes"));
        };
        let values = if member.compression() == CompressionMethod::Stored {
            let offset = member.data_start().and_then(|start| start.checked_add(header_length));
            let fits = |offset: &u64| offset.checked_add(length).is_some_and(|end| end <= file.length());
            let offset = offset.filter(fits).filter(|_| stored == size);
            Values::InPlace { file: file.clone(), offset: offset.ok_or("it reaches beyond the end of the file")? }
        } else if is_bomb(size, stored) {
            return Err(format!("{stored} bytes that become {size} look like a zip bomb"));
        } else {
            let mut values = Vec::new();
            // The checksum is compared when the end is reached, so one byte beyond the promised length is asked for.
            member.take(length + 1).read_to_end(&mut values).map_err(|error| error.to_string())?;
            if values.len() as u64 != length {
                return Err(format!("its length is not the {size} bytes promised"));
            }
            Values::Held(values)
        };
        Ok(Self { shape, element, length, values })
    }

    /// `count` bytes of the values from byte `start` on.
    pub(super) fn bytes(&self, start: u64, count: usize) -> io::Result<Vec<u8>> {
        match &self.values {
            Values::InPlace { file, offset } => {
                let mut bytes = vec![0; count];
                file.read_exact_at(&mut bytes, offset + start)?;
                Ok(bytes)
            }
            Values::Held(values) => {
                let start = start as usize;
                Ok(values[start..start + count].to_vec())
            }
        }
    }

    /// All values of an array of whole numbers.
    pub(super) fn integers(&self) -> Result<Vec<i64>, String> {
        let bytes = self.bytes(0, self.length as usize).map_err(|error| error.to_string())?;
        Ok(match self.element.as_str() {
            "|u1" => bytes.into_iter().map(i64::from).collect(),
            "|i1" => each(&bytes, |b| i64::from(i8::from_le_bytes(b))),
            "<u2" => each(&bytes, |b| i64::from(u16::from_le_bytes(b))),
            "<i2" => each(&bytes, |b| i64::from(i16::from_le_bytes(b))),
            "<u4" => each(&bytes, |b| i64::from(u32::from_le_bytes(b))),
            "<i4" => each(&bytes, |b| i64::from(i32::from_le_bytes(b))),
            "<i8" => each(&bytes, i64::from_le_bytes),
            other => return Err(format!("elements of type {other}; wanted whole numbers")),
        })
    }
}

fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| decode(*chunk)).collect()
}

/// Bytes of one element, of little-endian types whose size their name says.
fn bytes_each(element: &str) -> Option<u64> {
    let size = element.strip_prefix(['<', '|'])?.strip_prefix(['u', 'i', 'f', 'b'])?;
    size.parse().ok().filter(|size| (1..=8).contains(size))
}

/// The header's text at the start of `stream`, and how many bytes come before the values.
fn read_header(stream: &mut impl Read) -> Result<(String, u64), String> {
    let failed = |error: io::Error| error.to_string();
    let (mut magic, mut length) = ([0; MAGIC.len()], [0; 2]);
    stream.read_exact(&mut magic).map_err(failed)?;
    if magic != MAGIC {
        return Err("not a .npy of version 1.0".to_owned());
    }
    stream.read_exact(&mut length).map_err(failed)?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes; a plain array's has at most {MAX_HEADER}"));
    }
    let mut header = vec![0; length];
    stream.read_exact(&mut header).map_err(failed)?;
    let text = String::from_utf8(header).map_err(|error| error.to_string())?;
    Ok((text, (MAGIC.len() + 2 + length) as u64))
}

/// Element type, whether in Fortran's order, and shape of `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`.
fn parse(header: &str) -> Option<(String, bool, Vec<u64>)> {
    let value = |key: &str| header.split_once(key).map(|(_, value)| value.trim_start());
    let (element, _) = value("'descr':")?.strip_prefix('\'')?.split_once('\'')?;
    let order = value("'fortran_order':")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return None;
    }
    let (axes, _) = value("'shape':")?.strip_prefix('(')?.split_once(')')?;
    let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
    Some((element.to_owned(), fortran, axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bytes_each, parse, read_header};

    #[test]
    fn headers_as_numpy_writes_them() {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4, 3), }        \n";
        assert_eq!(parse(header), Some(("|u1".to_owned(), false, vec![2, 3, 4, 3])));
        let header = "{'descr': '<i8', 'fortran_order': True, 'shape': (7,), }\n";
        assert_eq!(parse(header), Some(("<i8".to_owned(), true, vec![7])));
        assert!(parse("{'descr': '|u1', 'fortran_order': False, 'shape': (), }").unwrap().2.is_empty());
        for header in [
            "",
            "{'descr': [('r', '|u1')], 'fortran_order': False, 'shape': (2,), }",
            "{'descr': '|u1', 'fortran_order': 0, 'shape': (2,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-2,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551616,), }",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2, }",
        ] {
            assert_eq!(parse(header), None, "{header}");
        }
        assert_eq!(["|u1", "<i8", "<f4", "|b1"].map(bytes_each), [1, 8, 4, 1].map(Some));
        assert_eq!([">i8", "|O", "<U5", "<i16", "<i0", "u1", ""].map(bytes_each), [None; 7]);
    }

    proptest! {
        #[test]
        fn a_header_of_any_bytes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic: bool) {
            let mut stream = if magic { super::MAGIC.to_vec() } else { Vec::new() };
            stream.extend(bytes);
            if let Ok((text, length)) = read_header(&mut stream.as_slice()) {
                prop_assert!(length as usize <= stream.len());
                let _ = parse(&text);
            }
        }
    }
}
