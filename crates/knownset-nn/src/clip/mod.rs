//! CLIP checkpoint folders: weights, tokenizer and preprocessing of Hugging Face, OpenAI and OpenCLIP.
//!
//! ```no_run
//! # use std::path::Path;
//! # fn main() -> Result<(), knownset_nn::CheckpointError> {
//! let clip = knownset_nn::clip::Clip::open(Path::new("clip-vit-base-patch32"))?;
//! let texts = clip.texts(&["a photo of a cat", "a photo of a dog"])?;
//! assert_eq!(texts.ncols(), clip.spec().projection);
//! # Ok(())
//! # }
//! ```

mod bundled;
mod config;
mod design;
mod files;
mod image_tower;
mod layouts;
mod preprocess;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_core::{Origin, Preprocess};
use ndarray::{Array2, Array3, ArrayView3, ArrayView4, Axis};
use rayon::prelude::*;

use crate::checkpoint::{self, CheckpointError, Section};
use crate::network::{self, ClipSpec, load};
use crate::tokenizer::{Tokenizer, TokenizerError, Tokens};
use crate::weights::Weights;
pub use bundled::SPRITE_CLIP;
use config::EndToken;
pub use design::ClipDesign;
use layouts::Layout;
pub(crate) use preprocess::{
    blip as blip_preprocess, blip_from_section as blip_preprocess_from, usual as usual_preprocess,
};

/// Name in the registry of towers from a checkpoint folder.
const CLIP: &str = "clip";
/// Texts a thread runs at a time, always as many: the shape of a matrix product can change its rounding.
const TEXTS: usize = 8;
/// Least length that texts are run at.
const SHORTEST: usize = 8;

/// A frozen CLIP with what it takes to feed it.
///
/// An embedding has the same bits whatever else is embedded with it, and on any number of threads.
pub struct Clip {
    network: network::Clip,
    spec: ClipSpec,
    end: EndToken,
    tokenizer: Tokenizer,
    preprocess: Preprocess,
    origin: Origin,
}

impl Clip {
    /// Opens a checkpoint folder in one of three layouts, told apart by the names of the tensors:
    ///
    /// - Hugging Face: `config.json`, `model.safetensors` (or an index and its shards, or `pytorch_model.bin`)
    /// - OpenAI: a state dict; the architecture is told by the shapes, heads are 64 wide, the activation is quick GELU
    /// - OpenCLIP: the same with exact GELU, unless `open_clip_config.json` says otherwise
    ///
    /// and in any of them a tokenizer ([`Tokenizer::open`]) and, optionally, `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file that is missing or broken, tensors missing, left over or of the wrong shape, or files that contradict
    /// one another.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let weights = files::weights(folder)?;
        let path = weights.path().unwrap_or(folder).to_owned();
        let odd = |what: String| CheckpointError::Layout { path: path.clone(), what };
        let layout = layouts::recognise(&weights).ok_or_else(|| odd("not the tensors of a CLIP".into()))?;
        let weights = weights.map(|tensors| layouts::to_hugging_face(layout, tensors));
        let measured = layouts::measure(&weights, layout == Layout::OpenAi).map_err(odd)?;
        let (spec, end) = match layout {
            Layout::HuggingFace => {
                let config = folder.join("config.json");
                let (stated, end) = config::hugging_face(&Section::open(&config)?)?;
                if let Some(what) = layouts::contradiction(&stated, &measured) {
                    return Err(CheckpointError::Config { path: config, what });
                }
                (stated, end)
            }
            Layout::OpenAi | Layout::OpenClip => {
                let config = folder.join("open_clip_config.json");
                let stated = if config.is_file() { config::open_clip(&config, measured)? } else { measured };
                (stated, EndToken::Largest)
            }
        };

        let tokenizer = Tokenizer::open(folder)?.with_context_length(spec.context)?;
        let fits = match end {
            EndToken::Largest => tokenizer.end_token() as usize + 1 == tokenizer.vocabulary(),
            EndToken::Is(id) => id == tokenizer.end_token(),
        };
        if tokenizer.vocabulary() > spec.vocabulary || !fits {
            let (vocabulary, token) = (tokenizer.vocabulary(), tokenizer.end_token());
            let what = format!(
                "the tokenizer's {vocabulary} tokens, ending texts with {token}, are not those of the text tower"
            );
            return Err(CheckpointError::Config { path: folder.into(), what });
        }
        let preprocess = preprocess::read(folder, spec.image)?;
        let mut clip = Self::assemble(CLIP, spec, end, &weights, tokenizer, preprocess)?;
        clip.origin.weights = Some(folder.display().to_string());
        Ok(clip)
    }

    fn assemble(
        backbone: &str,
        spec: ClipSpec,
        end: EndToken,
        weights: &Weights,
        tokenizer: Tokenizer,
        preprocess: Preprocess,
    ) -> Result<Self, CheckpointError> {
        let network = load(network::Clip::new(&spec, &Device::flex()), weights)
            .map_err(|mismatch| CheckpointError::Mismatch(Box::new(mismatch)))?;
        let origin = Origin {
            backbone: backbone.to_owned(),
            weights_sha256: weights.sha256(),
            preprocess: preprocess.clone(),
            weights: None,
            head: None,
        };
        Ok(Self { network, spec, end, tokenizer, preprocess, origin })
    }

    /// Digest of all that decides an embedding: weights, architecture, preprocessing, tokenizer.
    pub fn sha256(&self) -> String {
        let read = (&self.spec, self.end, &self.preprocess);
        checkpoint::digest(&self.origin.weights_sha256, &read, &self.tokenizer.describe())
    }

    /// Preprocessed images `[n, 3, side, side]` → embeddings `[n, d]`, not normalised.
    ///
    /// # Panics
    /// If the images are not of the size that [`Clip::preprocess`] makes.
    pub fn images(&self, batch: ArrayView4<'_, f32>) -> Array2<f32> {
        let rows: Vec<_> = batch.axis_iter(Axis(0)).collect();
        let rows = rows.into_par_iter().map(|image| values(self.network.images(one(image))));
        matrix(rows.collect::<Vec<_>>().concat(), self.spec.projection)
    }

    /// Preprocessed images `[n, 3, side, side]` → embeddings `[n, d]` and, from the value path of the last block, patch
    /// features `[n, P, d]`, row by row of the image; none normalised.
    ///
    /// # Panics
    /// If the images are not of the size that [`Clip::preprocess`] makes.
    pub fn images_and_patches(&self, batch: ArrayView4<'_, f32>) -> (Array2<f32>, Array3<f32>) {
        let rows: Vec<_> = batch.axis_iter(Axis(0)).collect();
        let n = rows.len();
        let rows = rows.into_par_iter().map(|image| {
            let (embedding, patches) = self.network.images_and_patches(one(image));
            (values(embedding), values(patches))
        });
        let (embeddings, patches): (Vec<_>, Vec<_>) = rows.unzip();
        let shape = (n, self.spec.patches(), self.spec.projection);
        let patches = Array3::from_shape_vec(shape, patches.concat()).expect("a feature for each patch");
        (matrix(embeddings.concat(), self.spec.projection), patches)
    }

    /// Texts → embeddings `[n, d]`, not normalised.
    pub fn texts<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Array2<f32>, TokenizerError> {
        let tokens = texts.par_iter().map(|text| self.tokenizer.encode(text.as_ref()));
        self.tokens(&tokens.collect::<Result<Vec<_>, _>>()?)
    }

    /// Texts as the numbers of their tokens → embeddings `[n, d]`, not normalised.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownToken`] and [`TokenizerError::NoEnd`].
    pub fn tokens(&self, texts: &[Tokens]) -> Result<Array2<f32>, TokenizerError> {
        let ends = texts.iter().map(|text| self.end(text)).collect::<Result<Vec<_>, _>>()?;
        // A text is run no longer than it has to be; its length is its own matter, not that of its neighbours.
        let length = |text: usize| (ends[text] + 1).next_power_of_two().max(SHORTEST).min(self.spec.context);
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| length(text));
        let groups: Vec<&[usize]> =
            order.chunk_by(|&a, &b| length(a) == length(b)).flat_map(|same| same.chunks(TEXTS)).collect();
        let rows = groups.par_iter().map(|&group| self.group(group, length(group[0]), texts, &ends));
        let rows = rows.collect::<Vec<_>>().concat();

        let width = self.spec.projection;
        let mut embeddings = Array2::zeros((texts.len(), width));
        for (row, &text) in rows.chunks_exact(width).zip(&order) {
            embeddings.row_mut(text).iter_mut().zip(row).for_each(|(to, &from)| *to = from);
        }
        Ok(embeddings)
    }

    /// At most [`TEXTS`] texts cut to `length` tokens, filled up with the first of them → their embeddings.
    fn group(&self, group: &[usize], length: usize, texts: &[Tokens], ends: &[usize]) -> Vec<f32> {
        let full = group.iter().chain(std::iter::repeat(&group[0])).take(TEXTS);
        let cut = |text: &usize| {
            let ids = texts[*text].ids.iter().take(length).map(|&id| i64::from(id));
            ids.chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>()
        };
        let ids: Vec<i64> = full.clone().flat_map(cut).collect();
        let ends: Vec<i64> = full.map(|&text| ends[text] as i64).collect();
        let device = Device::flex();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [TEXTS, length]), &device);
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [TEXTS]), &device);
        let mut rows = values(self.network.texts(ids, ends));
        rows.truncate(group.len() * self.spec.projection);
        rows
    }

    /// Where the text's embedding is read.
    fn end(&self, text: &Tokens) -> Result<usize, TokenizerError> {
        let vocabulary = self.spec.vocabulary;
        if let Some(&id) = text.ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(TokenizerError::UnknownToken { id, vocabulary });
        }
        let end = match self.end {
            EndToken::Largest => text.ids.iter().max().copied(),
            EndToken::Is(id) => Some(id),
        };
        let place = text.ids.iter().position(|&id| Some(id) == end).filter(|&place| place < self.spec.context);
        place.ok_or(TokenizerError::NoEnd { context: self.spec.context })
    }

    /// The text projection `[d, w]`: a text's embedding is its row times the end token's state of length w.
    pub fn text_projection(&self) -> Array2<f32> {
        matrix(values(self.network.text_projection()), self.spec.text.width)
    }

    /// The factor that turns cosines into logits; 100 in OpenAI's models.
    pub fn scale(&self) -> f32 {
        values(self.network.scale()).first().copied().unwrap_or(1.0)
    }

    /// The network itself.
    pub fn network(&self) -> &network::Clip {
        &self.network
    }

    /// Its architecture.
    pub fn spec(&self) -> &ClipSpec {
        &self.spec
    }

    /// How texts become its input.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How images become its input.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Name, weights digest and preprocessing.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// One image as a batch.
fn one(image: ArrayView3<'_, f32>) -> Tensor<4> {
    let (channels, height, width) = image.dim();
    let data = TensorData::new(image.iter().copied().collect::<Vec<_>>(), [1, channels, height, width]);
    Tensor::from_data(data, &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn matrix(values: Vec<f32>, width: usize) -> Array2<f32> {
    Array2::from_shape_vec((values.len() / width, width), values).expect("rows of the projection's width")
}
