//! `.safetensors` files.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::elements::Element;
use super::{HostTensor, WeightsError};

/// Reads all tensors. The parser checks offsets, lengths and overlaps against `bytes`.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, HostTensor>, WeightsError> {
    let broken = |source| WeightsError::Safetensors { path: path.into(), source };
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let element = element(view.dtype()).ok_or_else(|| WeightsError::ElementType {
            path: path.into(),
            name: name.to_owned(),
            dtype: format!("{:?}", view.dtype()),
        })?;
        let tensor = HostTensor { shape: view.shape().to_vec(), values: element.decode(view.data()) };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// Writes f32 tensors.
pub(super) fn write(tensors: &BTreeMap<String, HostTensor>, path: &Path) -> Result<(), WeightsError> {
    write_as(Dtype::F32, |value| value.to_le_bytes().to_vec(), tensors, path)
}

/// Writes f16 tensors.
pub(super) fn write_half(tensors: &BTreeMap<String, HostTensor>, path: &Path) -> Result<(), WeightsError> {
    write_as(Dtype::F16, |value| f16::from_f32(value).to_le_bytes().to_vec(), tensors, path)
}

fn write_as(
    dtype: Dtype,
    encode: impl Fn(f32) -> Vec<u8>,
    tensors: &BTreeMap<String, HostTensor>,
    path: &Path,
) -> Result<(), WeightsError> {
    let broken = |source| WeightsError::Safetensors { path: path.into(), source };
    let bytes: Vec<(&String, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor.values.iter().flat_map(|&value| encode(value)).collect()))
        .collect();
    let views = bytes.iter().zip(tensors.values()).map(|((name, bytes), tensor)| {
        TensorView::new(dtype, tensor.shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    let content = safetensors::serialize(views, None).map_err(broken)?;
    Ok(knownset_core::write_atomically(path, |out| out.write_all(&content))?)
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}
