//! PyTorch < 1.6: four pickles (magic number, protocol version, system, object), the list of storage keys, then each
//! storage as its number of elements (u64) and its raw little-endian elements.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::pickle::{self, StorageKey};
use super::{HostTensor, WeightsError};

/// The first pickle: protocol 2, the ten-byte integer 0x1950a86a20f9469cfc6c, stop.
const MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// Whether the file starts like one.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads all tensors of the network.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, HostTensor>, WeightsError> {
    let mut rest = &bytes[MAGIC.len()..];
    let mut next = || {
        let pickle = pickle::read(rest, path)?;
        rest = &rest[pickle.length..];
        Ok::<_, WeightsError>(pickle)
    };
    let (_protocol, _system, object, keys) = (next()?, next()?, next()?, next()?);
    let plans = pickle::state_dict(&object, path)?;
    let elements = pickle::storages(&object);

    let mut storages: HashMap<StorageKey, &[u8]> = HashMap::new();
    for key in pickle::texts(&keys) {
        let key = StorageKey(key.to_owned());
        let what = format!("storage {}", key.0);
        let size_error = |stated, held: usize| WeightsError::Size {
            path: path.into(),
            what: what.clone(),
            stated,
            held: held as u64,
        };
        let element = elements.get(&key).ok_or_else(|| size_error(0, rest.len()))?;
        let (count, values) = rest.split_first_chunk::<8>().ok_or_else(|| size_error(8, rest.len()))?;
        let stated = u64::from_le_bytes(*count).saturating_mul(element.size() as u64);
        let length = usize::try_from(stated).unwrap_or(usize::MAX);
        let storage = values.get(..length).ok_or_else(|| size_error(stated, values.len()))?;
        storages.insert(key, storage);
        rest = &values[length..];
    }
    pickle::materialise(plans, &storages, path)
}
