//! Little-endian elements of any stored type → f32.

use knownset_core::half_to_f32;

/// Element types of PyTorch storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// All elements of `bytes` as f32; a rest shorter than one element is left out.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::F16 => each(bytes, |b| half_to_f32(u16::from_le_bytes(b))),
            Self::Bf16 => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Self::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::U8 => each(bytes, |b: [u8; 1]| f32::from(b[0])),
            Self::Bool => each(bytes, |b: [u8; 1]| f32::from(u8::from(b[0] != 0))),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], decode: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| decode(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_decode_exactly() {
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f32.powi(-24)), (0x7c00, f32::INFINITY)];
        for (bits, value) in cases {
            assert_eq!(half_to_f32(bits).to_bits(), f32::to_bits(value), "{bits:#x}");
        }
        assert!(half_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn every_type_decodes_its_one() {
        let ones: [(Element, &[u8]); 10] = [
            (Element::F32, &[0, 0, 0x80, 0x3f]),
            (Element::F64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
            (Element::F16, &[0, 0x3c]),
            (Element::Bf16, &[0x80, 0x3f]),
            (Element::I64, &[1, 0, 0, 0, 0, 0, 0, 0]),
            (Element::I32, &[1, 0, 0, 0]),
            (Element::I16, &[1, 0]),
            (Element::I8, &[1]),
            (Element::U8, &[1]),
            (Element::Bool, &[7]),
        ];
        for (element, bytes) in ones {
            assert_eq!(bytes.len(), element.size());
            assert_eq!(element.decode(bytes), [1.0], "{element:?}");
        }
    }
}
