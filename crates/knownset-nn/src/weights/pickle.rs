//! What a PyTorch pickle means: names of tensors, and where in which storage each lies.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::elements::Element;
use super::pickle_machine::{self, Global, Id, Node, Pickle};
use super::{HostTensor, PickleError, WeightsError};

/// Keys under which training scripts put the weights in a checkpoint.
const WRAPPERS: [&str; 3] = ["state_dict", "model", "net"];

/// A storage as the pickle names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StorageKey(pub(super) String);

/// A tensor's place in its storage, in elements.
#[derive(Debug)]
pub(super) struct TensorPlan {
    pub(super) storage: StorageKey,
    pub(super) element: Element,
    /// Elements the pickle says the storage has.
    pub(super) storage_length: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Reads the pickle at the start of `bytes` and names `path` in errors.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<Pickle, WeightsError> {
    pickle_machine::read(bytes, global).map_err(|source| WeightsError::Pickle { path: path.into(), source })
}

/// The list of globals a weights file may name; anything else is refused by the machine.
fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("collections", "OrderedDict" | "defaultdict") => Global::Dictionary,
        ("torch", "FloatStorage") => Global::Storage(Element::F32),
        ("torch", "DoubleStorage") => Global::Storage(Element::F64),
        ("torch", "HalfStorage") => Global::Storage(Element::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Element::Bf16),
        ("torch", "LongStorage") => Global::Storage(Element::I64),
        ("torch", "IntStorage") => Global::Storage(Element::I32),
        ("torch", "ShortStorage") => Global::Storage(Element::I16),
        ("torch", "CharStorage") => Global::Storage(Element::I8),
        ("torch", "ByteStorage") => Global::Storage(Element::U8),
        ("torch", "BoolStorage") => Global::Storage(Element::Bool),
        ("argparse", "Namespace")
        | ("torch", "Size" | "device")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
        | ("numpy", "dtype")
        | ("_codecs", "encode")
        | ("__builtin__" | "builtins", "dict" | "set") => Global::Inert,
        _ => return None,
    })
}

/// The tensors of the network: of the wrapped dictionary if the checkpoint has one, else of the top one.
pub(super) fn state_dict(pickle: &Pickle, path: &Path) -> Result<BTreeMap<String, TensorPlan>, WeightsError> {
    let broken = |source| WeightsError::Pickle { path: path.into(), source };
    let wrapped = WRAPPERS.iter().find_map(|wrapper| {
        let inner = entry(pickle, pickle.root, wrapper)?;
        tensors(pickle, inner).transpose().map(|found| found.map(|tensors| (!tensors.is_empty()).then_some(tensors)))
    });
    let found = match wrapped {
        Some(Ok(Some(tensors))) => Some(tensors),
        Some(Err(error)) => return Err(broken(error)),
        Some(Ok(None)) | None => tensors(pickle, pickle.root).map_err(broken)?,
    };
    match found {
        Some(tensors) if !tensors.is_empty() => Ok(tensors),
        _ => Err(WeightsError::NoTensors { path: path.into() }),
    }
}

fn entry(pickle: &Pickle, dictionary: Id, key: &str) -> Option<Id> {
    let Node::Dict(entries) = &pickle.nodes[dictionary] else { return None };
    let is_key = |id: Id| matches!(&pickle.nodes[id], Node::Text(text) if text == key);
    entries.iter().find(|(id, _)| is_key(*id)).map(|(_, value)| *value)
}

/// The tensors of a dictionary; `None` if it is none. Entries that are not tensors (epoch, arguments) are passed over.
fn tensors(pickle: &Pickle, dictionary: Id) -> Result<Option<BTreeMap<String, TensorPlan>>, PickleError> {
    let Node::Dict(entries) = &pickle.nodes[dictionary] else { return Ok(None) };
    let mut tensors = BTreeMap::new();
    for &(key, value) in entries {
        if let (Node::Text(name), Some(plan)) = (&pickle.nodes[key], tensor(pickle, value)?) {
            tensors.insert(name.clone(), plan);
        }
    }
    Ok(Some(tensors))
}

/// A tensor or a parameter wrapped around one; `None` for anything else.
fn tensor(pickle: &Pickle, id: Id) -> Result<Option<TensorPlan>, PickleError> {
    let malformed = |why| PickleError::Malformed { at: pickle.length, why };
    let Node::Call(function, arguments) = pickle.nodes[id] else { return Ok(None) };
    let Node::Tuple(arguments) = &pickle.nodes[arguments] else { return Ok(None) };
    match (function, arguments.as_slice()) {
        (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
            let (storage, element, storage_length) =
                storage_of(pickle, storage).ok_or(malformed("a tensor without a storage"))?;
            let offset = size(pickle, offset).ok_or(malformed("a tensor's offset is no size"))?;
            let shape = sizes(pickle, shape).ok_or(malformed("a tensor's shape is no list of sizes"))?;
            let strides = sizes(pickle, strides).ok_or(malformed("a tensor's strides are no list of sizes"))?;
            if shape.len() != strides.len() {
                return Err(malformed("a tensor's shape and strides differ in length"));
            }
            Ok(Some(TensorPlan { storage, element, storage_length, offset, shape, strides }))
        }
        // A parameter's first argument is made before it, so its id is smaller: no endless recursion.
        (Global::RebuildParameter, &[data, ..]) if data < id => tensor(pickle, data),
        (Global::RebuildTensor | Global::RebuildParameter, _) => Err(malformed("a tensor with too few arguments")),
        _ => Ok(None),
    }
}

/// `('storage', type, key, location, length)`, in old files followed by `None` (no view).
fn storage_of(pickle: &Pickle, id: Id) -> Option<(StorageKey, Element, usize)> {
    let Node::Persistent(id) = pickle.nodes[id] else { return None };
    let Node::Tuple(parts) = &pickle.nodes[id] else { return None };
    let (&[tag, kind, key, _, length], view) = parts.split_first_chunk::<5>()?;
    let tagged = matches!(&pickle.nodes[tag], Node::Text(text) if text == "storage");
    let whole = view.iter().all(|&id| matches!(pickle.nodes[id], Node::Plain));
    match (&pickle.nodes[kind], &pickle.nodes[key]) {
        (Node::Global(Global::Storage(element)), Node::Text(key)) if tagged && whole => {
            Some((StorageKey(key.clone()), *element, size(pickle, length)?))
        }
        _ => None,
    }
}

fn size(pickle: &Pickle, id: Id) -> Option<usize> {
    match pickle.nodes[id] {
        Node::Int(value) => usize::try_from(value).ok(),
        _ => None,
    }
}

fn sizes(pickle: &Pickle, id: Id) -> Option<Vec<usize>> {
    match &pickle.nodes[id] {
        Node::Tuple(items) => items.iter().map(|&item| size(pickle, item)).collect(),
        // torch.Size((…))
        Node::Call(Global::Inert, arguments) if *arguments < id => match &pickle.nodes[*arguments] {
            Node::Tuple(items) if items.len() == 1 => sizes(pickle, items[0]),
            _ => None,
        },
        _ => None,
    }
}

/// The element type of every storage the pickle names, those of entries that are not the network's included.
pub(super) fn storages(pickle: &Pickle) -> HashMap<StorageKey, Element> {
    let named = (0..pickle.nodes.len()).filter_map(|id| storage_of(pickle, id));
    named.map(|(key, element, _)| (key, element)).collect()
}

/// Text items of the list of storage keys that follows an old pickle.
pub(super) fn texts(pickle: &Pickle) -> impl Iterator<Item = &str> {
    pickle.nodes.iter().filter_map(|node| match node {
        Node::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// Copies the planned tensors out of their storages into row-major order.
///
/// Nothing is allocated before the tensor is known to lie inside its storage and to have no more elements than it, and
/// all tensors together are bounded by one value per byte of storage, so sharing a storage cannot multiply a file.
pub(super) fn materialise(
    plans: BTreeMap<String, TensorPlan>,
    storages: &HashMap<StorageKey, &[u8]>,
    path: &Path,
) -> Result<BTreeMap<String, HostTensor>, WeightsError> {
    let mut budget = storages.values().map(|bytes| bytes.len()).sum::<usize>();
    let mut tensors = BTreeMap::new();
    for (name, plan) in plans {
        let bytes = storages.get(&plan.storage).copied().unwrap_or_default();
        let values = plan.values(bytes, &mut budget).ok_or_else(|| WeightsError::OutsideStorage {
            path: path.into(),
            name: name.clone(),
            shape: plan.shape.clone(),
            storage: bytes.len() / plan.element.size(),
        })?;
        tensors.insert(name, HostTensor { shape: plan.shape, values });
    }
    Ok(tensors)
}

impl TensorPlan {
    fn values(&self, storage: &[u8], budget: &mut usize) -> Option<Vec<f32>> {
        let size = self.element.size();
        let length = storage.len() / size;
        let count = self.shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis))?;
        if count == 0 {
            return Some(Vec::new());
        }
        *budget = budget.checked_sub(count)?;
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (&axis, &stride)| last.checked_add((axis - 1).checked_mul(stride)?))?;
        if count > length || last >= length {
            return None;
        }
        let at = |index: usize| &storage[index * size..];
        if last + 1 - self.offset == count && self.is_row_major() {
            return Some(self.element.decode(&at(self.offset)[..count * size]));
        }
        let mut values = Vec::with_capacity(count);
        let mut position = vec![0; self.shape.len()];
        for _ in 0..count {
            let index = self.offset + position.iter().zip(&self.strides).map(|(&p, &stride)| p * stride).sum::<usize>();
            values.extend(self.element.decode(&at(index)[..size]));
            for axis in (0..position.len()).rev() {
                position[axis] += 1;
                if position[axis] < self.shape[axis] {
                    break;
                }
                position[axis] = 0;
            }
        }
        Some(values)
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&axis, &stride)| {
            let fits = axis == 1 || stride == expected;
            expected *= axis;
            fits
        })
    }
}
