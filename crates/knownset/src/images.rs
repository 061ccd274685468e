//! From a dataset reference to features: opening, decoding, running the network, and the record of what was read.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use knownset_core::{Features, Preprocess, UNKNOWN_LABEL};
use knownset_data::{
    DataError, DatasetRef, DecodePolicy, Decoded, ImageSource, Limits, Located, Subset, Texts, load, rgb,
};
use knownset_nn::extract::{Cache, Extracted, Extraction, Input, InputSource, Unreadable};
use knownset_nn::{Architecture, LoadedBackbone, Weights, load_backbone, with_token_head};
use knownset_train::{Labelled, Pictures};
use ndarray::Array1;
use rayon::prelude::*;

use crate::cli::{Keeping, Reading};
use crate::hint::Hint;
use crate::printer::Printer;
use crate::results::ImageCounts;
use crate::towers;

/// Set by Ctrl-C; long work looks at it between batches.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

/// A set of images, opened.
pub(crate) struct Images {
    reference: String,
    source: Box<dyn ImageSource>,
    policy: DecodePolicy,
}

/// Features of a set of images, and what reading them was like.
pub(crate) struct FromImages {
    pub(crate) features: Features,
    pub(crate) counts: ImageCounts,
}

impl Images {
    /// Opens a dataset reference.
    pub(crate) fn open(reference: &str, strict: bool) -> anyhow::Result<Self> {
        let parsed: DatasetRef = reference.parse().map_err(|error| {
            anyhow::Error::new(error).context(Hint("`knownset datasets` lists the forms of a dataset reference".into()))
        })?;
        let policy = if strict { DecodePolicy::Strict } else { DecodePolicy::PilLenient };
        let source = parsed.open().with_context(|| format!("cannot open {reference}"))?;
        Ok(Self { reference: parsed.to_string(), source, policy })
    }

    /// So many of the images, drawn by chance, always the same; all if there are no more.
    pub(crate) fn at_most(self, count: usize) -> Self {
        if self.len() <= count {
            return self;
        }
        Self { source: Box::new(Subset::new(self.source, count, 0)), ..self }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.source.len()
    }

    /// Names of the classes.
    pub(crate) fn class_names(&self) -> &[String] {
        &self.source.info().class_names
    }

    /// What is written about every image, row by row; an error if that is nothing.
    pub(crate) fn all_texts(&self, printer: Printer) -> anyhow::Result<Vec<Texts>> {
        let progress = printer.progress("texts", self.len());
        let texts: Vec<Texts> = (0..self.len())
            .into_par_iter()
            .map(|row| {
                progress.advance(1);
                self.source.texts(row)
            })
            .collect();
        let silent = texts.iter().position(|texts| texts.captions.is_empty() && texts.tags.is_empty());
        if let Some(row) = silent {
            anyhow::bail!("{} has no text for {}", self.reference, self.source.id(row));
        }
        Ok(texts)
    }

    /// What an image shows and where, as far as that is known.
    pub(crate) fn objects(&self, row: usize) -> Vec<Located> {
        self.source.objects(row)
    }

    /// What every image shows and where, row by row; an error if that is nothing in any of them.
    pub(crate) fn all_objects(&self, printer: Printer) -> anyhow::Result<Vec<Vec<Located>>> {
        let progress = printer.progress("boxes", self.len());
        let objects: Vec<Vec<Located>> = (0..self.len())
            .into_par_iter()
            .map(|row| {
                progress.advance(1);
                self.source.objects(row)
            })
            .collect();
        anyhow::ensure!(objects.iter().any(|objects| !objects.is_empty()), "{} has no boxes", self.reference);
        Ok(objects)
    }

    /// Text that changes when the dataset does.
    pub(crate) fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }

    /// Row numbers by id.
    pub(crate) fn by_id(&self) -> HashMap<&str, usize> {
        (0..self.source.len()).map(|row| (self.source.id(row), row)).collect()
    }

    /// What the image in a row is called.
    pub(crate) fn id(&self, row: usize) -> &str {
        self.source.id(row)
    }

    /// Its class, or [`UNKNOWN_LABEL`].
    pub(crate) fn label(&self, row: usize) -> i64 {
        self.source.label(row)
    }

    /// Its picture; the error names it.
    pub(crate) fn decoded(&self, row: usize) -> Result<Decoded, DataError> {
        rgb(self.source.as_ref(), row, self.policy, &Limits::default())
    }

    /// Its picture, if it can be read.
    pub(crate) fn picture(&self, row: usize) -> Option<Decoded> {
        self.decoded(row).ok()
    }

    /// Runs the network over the rows in `range`.
    pub(crate) fn features(
        &self,
        what: &str,
        network: &LoadedBackbone,
        reading: &Reading,
        range: Range<usize>,
        printer: Printer,
    ) -> anyhow::Result<FromImages> {
        let cache = reading.keeping.cache();
        let progress = printer.progress(what, range.len());
        let extraction = Extraction {
            network,
            batch: reading.batch_size,
            unreadable: if reading.strict { Unreadable::Refuse } else { Unreadable::Skip },
            cache: cache.as_ref(),
            progress: &|count| {
                progress.advance(count);
                if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        };
        let inputs = Inputs { images: self, preprocess: &network.preprocess };
        let extracted = extraction.run(&inputs, range).with_context(|| format!("while reading {}", self.reference))?;
        Ok(self.describe(extracted, network, printer))
    }

    fn describe(&self, extracted: Extracted, network: &LoadedBackbone, printer: Printer) -> FromImages {
        let Extracted { rows, logits, embedding, patches, rotations, truncated, unreadable } = extracted;
        let known = self.source.info().class_names.len();
        // A network without a head takes any classes.
        let classes = if network.backbone.head().is_some() { network.backbone.classes() } else { known };
        let mut labels: Array1<i64> = rows.iter().map(|&row| self.source.label(row)).collect();
        if labels.iter().any(|&label| label >= classes as i64) {
            let reference = &self.reference;
            printer.note(format!(
                "note: {reference} has {known} classes but the network knows {classes}: labels are written as -1"
            ));
            labels.fill(UNKNOWN_LABEL);
        }
        let parts = network.backbone.parts();
        let names = self.class_names().to_vec();
        let counts = ImageCounts {
            used: rows.len(),
            truncated: truncated.iter().map(|&row| self.source.id(row).to_owned()).collect(),
            unreadable: unreadable.into_iter().map(|(_, why)| why).collect(),
        };
        report_problems(&self.reference, &counts, printer);
        let features = Features {
            ids: rows.iter().map(|&row| self.source.id(row).to_owned()).collect(),
            labels: Some(labels),
            logits,
            embedding: Some(embedding),
            patches,
            rotations,
            parts,
            head: network.backbone.head(),
            class_names: (names.len() == classes && classes > 0).then_some(names),
            origin: Some(network.origin.clone()),
            source: Some(self.reference.clone()),
            ..Features::default()
        };
        FromImages { features, counts }
    }
}

fn report_problems(reference: &str, counts: &ImageCounts, printer: Printer) {
    if !counts.truncated.is_empty() {
        let (n, first) = (counts.truncated.len(), &counts.truncated[0]);
        printer.note(format!("warning: {reference}: {n} damaged images partly filled in, first {first}"));
    }
    if !counts.unreadable.is_empty() {
        let (n, first) = (counts.unreadable.len(), &counts.unreadable[0]);
        printer.note(format!("warning: {reference}: {n} images left out, first {first}"));
    }
}

/// The images as the extraction loop wants them.
pub(crate) struct Inputs<'a> {
    pub(crate) images: &'a Images,
    pub(crate) preprocess: &'a Preprocess,
}

impl InputSource for Inputs<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn fingerprint(&self) -> String {
        format!("{:?} {}", self.images.policy, self.images.source.fingerprint())
    }

    fn load(&self, row: usize) -> Result<Input, String> {
        let source = self.images.source.as_ref();
        let loaded = load(source, row, self.images.policy, &Limits::default(), self.preprocess);
        let loaded = loaded.map_err(|error| error.to_string())?;
        Ok(Input { values: loaded.input, truncated: loaded.truncated })
    }
}

/// The images of a set as training wants them: not normalised, so that they can be changed before they are.
pub(crate) struct TrainingImages<'a> {
    images: &'a Images,
    preprocess: Preprocess,
    /// Rows that are used.
    rows: Vec<usize>,
}

impl<'a> TrainingImages<'a> {
    /// Those with a class.
    pub(crate) fn labelled(images: &'a Images, preprocess: &Preprocess) -> Self {
        let rows = (0..images.len()).filter(|&row| images.source.label(row) >= 0).collect();
        Self { rows, ..Self::all(images, preprocess) }
    }

    /// All of them, whatever their class.
    pub(crate) fn all(images: &'a Images, preprocess: &Preprocess) -> Self {
        let preprocess = Preprocess { mean: [0.0; 3], std: [1.0; 3], ..preprocess.clone() };
        Self { images, preprocess, rows: (0..images.len()).collect() }
    }
}

impl Pictures for TrainingImages<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
        let inputs = Inputs { images: self.images, preprocess: &self.preprocess };
        inputs.load(self.rows[index]).map(|input| input.values)
    }
}

impl Labelled for TrainingImages<'_> {
    fn label(&self, index: usize) -> usize {
        usize::try_from(self.images.source.label(self.rows[index])).unwrap_or_default()
    }
}

/// Loads a backbone with the weights given, or with its bundled ones.
pub(crate) fn network(backbone: &str, weights: Option<&Path>, printer: Printer) -> anyhow::Result<LoadedBackbone> {
    if knownset_nn::find(backbone)?.architecture == Architecture::Clip {
        return Ok(Arc::new(towers::open(backbone, weights, printer)?).image_tower(false));
    }
    let loaded = match weights {
        Some(path) => load_backbone(backbone, path),
        None => knownset_nn::load_bundled(backbone),
    };
    loaded.with_context(|| format!("cannot load the backbone {backbone}"))
}

/// Loads a backbone that gives the features of its patches.
pub(crate) fn with_patches(backbone: &str, weights: Option<&Path>, printer: Printer) -> anyhow::Result<LoadedBackbone> {
    let reads = knownset_nn::find(backbone)?.architecture == Architecture::Clip;
    anyhow::ensure!(reads, "`{backbone}` gives no features of patches; sprite-clip and clip do");
    Ok(Arc::new(towers::open(backbone, weights, printer)?).image_tower(true))
}

/// [`network`], with a head behind its patches if there is one.
pub(crate) fn headed(
    backbone: &str,
    weights: Option<&Path>,
    head: Option<&Path>,
    printer: Printer,
) -> anyhow::Result<LoadedBackbone> {
    let Some(head) = head else { return network(backbone, weights, printer) };
    let tower = with_patches(backbone, weights, printer)?;
    let headed = Weights::open(head).map_err(anyhow::Error::new).and_then(|head| Ok(with_token_head(tower, &head)?));
    headed.with_context(|| format!("cannot put the head {} behind {backbone}", head.display()))
}

impl Keeping {
    /// Where finished work is kept, if it is.
    pub(crate) fn cache(&self) -> Option<Cache> {
        if self.no_cache {
            return None;
        }
        let root = self.cache_dir.clone().or_else(|| {
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
            std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|root| root.join("knownset"))
        });
        root.map(Cache::new)
    }
}
