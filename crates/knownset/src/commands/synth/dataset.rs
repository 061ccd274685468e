//! What a stage asks of a dataset before it begins.

use std::collections::HashSet;

use knownset_data::words::spoken;

use crate::hint::Hint;
use crate::images::Images;

/// Opens images, no two of which have the same id: by that files between stages tell them apart.
pub(super) fn open(data: &str, strict: bool) -> anyhow::Result<Images> {
    let images = Images::open(data, strict)?;
    let mut seen = HashSet::new();
    if let Some(id) = (0..images.len()).map(|row| images.id(row)).find(|id| !seen.insert(*id)) {
        anyhow::bail!("{data} has the image {id} twice");
    }
    Ok(images)
}

/// The names of the classes as they are spoken.
pub(super) fn spoken_names(images: &Images, data: &str) -> anyhow::Result<Vec<String>> {
    let names: Vec<String> = images.class_names().iter().map(|name| spoken(name)).collect();
    if names.is_empty() || known_classes(images) > names.len() {
        let error = anyhow::anyhow!("{data} does not say what its classes are called");
        return Err(error.context(Hint("in folder:PATH, the folders of images are the classes".into())));
    }
    Ok(names)
}

/// As many known classes as there are names or labels.
pub(super) fn known_classes(images: &Images) -> usize {
    let labels = (0..images.len()).filter_map(|row| usize::try_from(images.label(row)).ok());
    labels.map(|label| label + 1).max().unwrap_or_default().max(images.class_names().len())
}

/// Refuses classes of a dataset that cannot be folders' names.
pub(super) fn check_folders(classes: &[String], dataset: &str) -> anyhow::Result<()> {
    let own = [".png", ".json", ".jsonl", ".html"];
    let odd = classes.iter().find(|name| {
        let taken = own.iter().any(|ending| name.ends_with(ending));
        taken || name.is_empty() || name.starts_with('.') || name.contains(['/', '\\'])
    });
    odd.map_or(Ok(()), |odd| anyhow::bail!("the class {odd:?} of {dataset} cannot be a folder's name"))
}
