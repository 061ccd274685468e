//! The text encoder: prompts to the contexts that the UNet attends to.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use ndarray::Array3;
use rayon::prelude::*;

use super::{config, layouts};
use crate::checkpoint::{self, CheckpointError, Section};
use crate::clip::Clip;
use crate::network::{ClipSpec, ClipText, TextSpec, load_owned, to_weights};
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weights::HostTensor;

/// Names of weights files, the preferred first.
const FILES: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// CLIP's text tower with its tokenizer.
///
/// A context has the same bits whatever else is encoded with it, and on any number of threads.
pub struct TextEncoder {
    network: ClipText,
    spec: TextSpec,
    tokenizer: Tokenizer,
    device: Device,
}

impl TextEncoder {
    /// Opens the folder of the tower and that of its tokenizer, as a pipeline has them.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, a tokenizer that is not the
    /// tower's.
    pub fn open(folder: &Path, tokenizer: &Path, device: &Device) -> Result<Self, CheckpointError> {
        let spec = config::text(&Section::open(&folder.join("config.json"))?)?;
        let files = tokenizer;
        let tokenizer = Tokenizer::open(files)?.with_context_length(spec.context)?;
        if tokenizer.vocabulary() > spec.vocabulary {
            let what = format!(
                "the tokenizer's {} tokens are more than the text encoder's {}",
                tokenizer.vocabulary(),
                spec.vocabulary
            );
            return Err(CheckpointError::Config { path: files.into(), what });
        }
        let weights = checkpoint::weights(folder, &FILES)?.map(layouts::text);
        let network = load_owned(ClipText::new(&spec, device), weights)
            .map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
        Ok(Self { network, spec, tokenizer, device: device.clone() })
    }

    /// The text tower of a pair, on the processor: its states are what the pair's projection makes embeddings of.
    ///
    /// # Errors
    /// Towers whose text tower is not one.
    pub fn of(clip: &Clip) -> Result<Self, CheckpointError> {
        let &ClipSpec { vocabulary, context, text: tower, .. } = clip.spec();
        let (spec, device) = (TextSpec { vocabulary, context, tower }, Device::flex());
        let own = |tensors: BTreeMap<String, HostTensor>| {
            tensors.into_iter().filter(|(name, _)| name.starts_with(layouts::TEXT)).collect()
        };
        let network = load_owned(ClipText::new(&spec, &device), to_weights(clip.network()).map(own))
            .map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
        Ok(Self { network, spec, tokenizer: clip.tokenizer().clone(), device })
    }

    /// Texts → contexts `[n, T, c]`: the state of every token behind the last normalisation. A longer text loses its tail.
    pub fn encode<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Array3<f32>, TokenizerError> {
        let contexts = texts.par_iter().map(|text| {
            let ids: Vec<i64> = self.tokenizer.encode(text.as_ref())?.ids.into_iter().map(i64::from).collect();
            let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, self.spec.context]), &self.device);
            Ok(self.network.states(ids).into_data().iter::<f32>().collect::<Vec<_>>())
        });
        let contexts = contexts.collect::<Result<Vec<_>, TokenizerError>>()?.concat();
        Ok(self.states(contexts))
    }

    /// States of whole texts, one after the other → `[n, T, c]`.
    fn states(&self, values: Vec<f32>) -> Array3<f32> {
        let TextSpec { context, tower, .. } = self.spec;
        let texts = values.len() / (context * tower.width);
        Array3::from_shape_vec((texts, context, tower.width), values).expect("a state for each token")
    }

    /// The network itself.
    pub fn network(&self) -> &ClipText {
        &self.network
    }

    /// Its architecture.
    pub fn spec(&self) -> &TextSpec {
        &self.spec
    }

    /// How texts become its input.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}
