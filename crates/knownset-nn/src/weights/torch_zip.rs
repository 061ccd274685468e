//! PyTorch ≥ 1.6: a zip of uncompressed members `NAME/data.pkl`, `NAME/data/KEY` and `NAME/byteorder`.

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, StorageKey};
use super::{HostTensor, WeightsError};

/// Reads all tensors of the network.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, HostTensor>, WeightsError> {
    let broken = |source| WeightsError::Zip { path: path.into(), source };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let found = archive.file_names().find_map(|name| {
        let name = name.ok()?;
        let folder = name.strip_suffix("data.pkl")?;
        (folder.is_empty() || folder.ends_with('/')).then(|| folder.to_owned())
    });
    let missing = || WeightsError::EntryMissing { path: path.into(), entry: "data.pkl".into() };
    let folder = found.ok_or_else(missing)?;
    let byte_order = format!("{folder}byteorder");
    if archive.index_for_name(&byte_order).is_some() && member(&mut archive, &byte_order, path)? != b"little" {
        return Err(WeightsError::BigEndian { path: path.into() });
    }

    let object = member(&mut archive, &format!("{folder}data.pkl"), path)?;
    let plans = pickle::state_dict(&pickle::read(&object, path)?, path)?;
    let mut storages: HashMap<StorageKey, Vec<u8>> = HashMap::new();
    for plan in plans.values() {
        let stated = (plan.storage_length as u64).saturating_mul(plan.element.size() as u64);
        let entry = format!("{folder}data/{}", plan.storage.0);
        if !storages.contains_key(&plan.storage) {
            storages.insert(plan.storage.clone(), member(&mut archive, &entry, path)?);
        }
        let held = storages[&plan.storage].len() as u64;
        if stated != held {
            return Err(WeightsError::Size { path: path.into(), what: entry, stated, held });
        }
    }
    let storages = storages.iter().map(|(key, bytes)| (key.clone(), bytes.as_slice())).collect();
    pickle::materialise(plans, &storages, path)
}

/// One member's bytes. Members are stored, so reading ends with the file, whatever a header says.
fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, entry: &str, path: &Path) -> Result<Vec<u8>, WeightsError> {
    let mut file = archive.by_name(entry).map_err(|source| match source {
        zip::result::ZipError::FileNotFound => WeightsError::EntryMissing { path: path.into(), entry: entry.into() },
        source => WeightsError::Zip { path: path.into(), source },
    })?;
    if file.compression() != CompressionMethod::Stored {
        return Err(WeightsError::EntryCompressed { path: path.into(), entry: entry.into() });
    }
    let (stated, held) = (file.size(), file.compressed_size());
    if stated != held {
        return Err(WeightsError::Size { path: path.into(), what: entry.into(), stated, held });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
