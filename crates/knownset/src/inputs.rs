//! The sets a command works on: feature files, or images put through a network.

use std::path::Path;

use anyhow::Context;
use knownset_core::{Features, read_features};
use knownset_nn::LoadedBackbone;

use crate::cli::Reading;
use crate::hint::Hint;
use crate::images::{FromImages, Images};
use crate::printer::Printer;
use crate::results::ImageCounts;

/// Features, and the images behind them where they are at hand.
pub(crate) struct Set {
    pub(crate) features: Features,
    pub(crate) images: Option<Images>,
    pub(crate) counts: Option<ImageCounts>,
}

impl Set {
    /// Reads a feature file.
    pub(crate) fn from_file(path: &Path, printer: Printer) -> anyhow::Result<Self> {
        let read = read_features(path).map_err(anyhow::Error::new);
        let (features, ignored) = read.map_err(|error| {
            let hint = "a feature file is .safetensors or .npz; give --backbone to start from images";
            if path.is_file() { error } else { error.context(Hint(hint.into())) }
        })?;
        if !ignored.is_empty() {
            printer.note(format!("note: {}: ignored arrays {}", path.display(), ignored.join(", ")));
        }
        Ok(Self { features, images: None, counts: None })
    }

    /// Puts the images of a dataset reference through a network.
    pub(crate) fn from_images(
        what: &str,
        reference: &str,
        network: &LoadedBackbone,
        reading: &Reading,
        printer: Printer,
    ) -> anyhow::Result<Self> {
        let images = Images::open(reference, reading.strict)?;
        let FromImages { features, counts } = images.features(what, network, reading, 0..images.len(), printer)?;
        Ok(Self { features, images: Some(images), counts: Some(counts) })
    }

    /// Features that no file holds.
    pub(crate) fn of(features: Features) -> Self {
        Self { features, images: None, counts: None }
    }

    /// One or the other, by whether there is a network.
    pub(crate) fn open(
        what: &str,
        text: &str,
        network: Option<&LoadedBackbone>,
        reading: &Reading,
        printer: Printer,
    ) -> anyhow::Result<Self> {
        match network {
            Some(network) => Self::from_images(what, text, network, reading, printer),
            None => Self::from_file(Path::new(text), printer),
        }
        .with_context(|| format!("the {what} set"))
    }
}
