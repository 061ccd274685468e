//! A head on a tower's patches as a backbone: what the recipe `tagood` leaves.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::digest::Hasher;
use knownset_core::{Head, Origin};
use ndarray::{Array2, ArrayView2, ArrayView4, Axis};
use rayon::prelude::*;

use crate::backbone::{Backbone, LoadedBackbone, Output, head, logits};
use crate::error::NnError;
use crate::network::{TokenHead, TokenHeadSpec, load_beside_parts};
use crate::parts::{RECIPE_PREFIX, parts};
use crate::weights::{HostTensor, Weights};

/// What the attention heads of a head are called in its file; no shape tells how many they are.
const HEADS: &str = "heads";
/// What the digest of the tower that a head was trained on is called there.
const TOWER: &str = "tower";
/// The checkpoint's name of the last layer.
const CLASSIFIER: &str = "classifier";

/// Tensors that a head's file holds beside the network's: its number of attention heads and, where it is known, the digest
/// of the tower whose patches it was trained on, [`Origin::weights_sha256`], byte by byte.
pub fn token_head_facts(heads: usize, tower: Option<&str>) -> BTreeMap<String, HostTensor> {
    let vector = |values: Vec<f32>| HostTensor { shape: vec![values.len()], values };
    let named = |name: &str, values| (format!("{RECIPE_PREFIX}{name}"), vector(values));
    let tower = tower.map(|digest| named(TOWER, digest.bytes().map(f32::from).collect()));
    std::iter::once(named(HEADS, vec![heads as f32])).chain(tower).collect()
}

/// A tower behind which its patches pass a head: the embedding is the head's, and so are logits and parts.
///
/// An image's row has the same bits whatever batch it is in, whatever its place there, and on any number of threads.
///
/// # Errors
/// A tower without patches, weights that are no head's, or a head for other patches: of another number or length, or of
/// another tower.
pub fn with_token_head(tower: LoadedBackbone, weights: &Weights) -> Result<LoadedBackbone, NnError> {
    let backbone = tower.origin.backbone.clone();
    let Some(patches) = tower.backbone.patches() else { return Err(NnError::NoPatches { backbone }) };
    let mut parts = parts(weights)?;
    let (heads, trained_on) = (parts.remove(HEADS), parts.remove(TOWER));
    let heads = heads.and_then(|heads| heads.first().map(|&heads| heads as usize)).unwrap_or(0);
    let path = || weights.path().map(Into::into);
    let spec = measure(weights, heads).ok_or_else(|| NnError::NotAHead { path: path() })?;
    let width = tower.backbone.width();
    if (spec.inputs, spec.tokens) != (width, patches) {
        let reads = [spec.tokens, spec.inputs];
        return Err(NnError::OtherTokens { path: path(), reads, backbone, gives: [patches, width] });
    }
    let digest = &tower.origin.weights_sha256;
    if trained_on.is_some_and(|bytes| !bytes.iter().copied().eq(digest.bytes().map(f32::from))) {
        return Err(NnError::OtherTower { path: path(), backbone });
    }
    let device = Device::flex();
    let network = load_beside_parts(TokenHead::new(&spec, &device), weights)
        .map_err(|mismatch| NnError::Mismatch { backbone: "head", mismatch: Box::new(mismatch) })?;
    let mut hasher = Hasher::default();
    hasher.field(digest.as_bytes()).field(weights.sha256().as_bytes());
    let origin = Origin {
        weights_sha256: hasher.finish(),
        head: weights.path().map(|path| path.display().to_string()),
        ..tower.origin
    };
    let head = head(CLASSIFIER, weights)?;
    let headed = Headed { tower: tower.backbone, network, head, parts };
    Ok(LoadedBackbone { backbone: Box::new(headed), origin, preprocess: tower.preprocess })
}

/// The sizes of a head, from its shapes; nothing if these are no head's.
fn measure(weights: &Weights, heads: usize) -> Option<TokenHeadSpec> {
    let shape = |name: &str| weights.get(name).map(|tensor| tensor.shape.as_slice());
    let &[width, inputs] = shape("image_proj.weight")? else { return None };
    let &[1, rows, length] = shape("layers.pos_embedding")? else { return None };
    let &[classes, _] = shape("classifier.weight")? else { return None };
    let attention = |block: usize| shape(&format!("layers.layers.encoder_layer_{block}.self_attention.in_proj_weight"));
    // Every size is one of values that the file holds: none asks for more memory than that.
    let whole = |block: &usize| attention(*block).is_some_and(|shape| shape == [3 * width, width]);
    let depth = (0..weights.iter().count()).take_while(whole).count();
    let tokens = rows.checked_sub(1)?;
    let fits = length == width
        && heads > 0
        && width.is_multiple_of(heads)
        && [width, inputs, classes].iter().all(|&size| size > 0);
    fits.then_some(TokenHeadSpec { inputs, tokens, width, depth, heads, classes })
}

struct Headed {
    tower: Box<dyn Backbone>,
    network: TokenHead,
    head: Head,
    parts: BTreeMap<String, Array2<f32>>,
}

impl Headed {
    /// The embedding of one image's tokens `[P, d]`.
    fn embed(&self, tokens: ArrayView2<'_, f32>) -> Vec<f32> {
        let data = TensorData::new(tokens.iter().copied().collect::<Vec<_>>(), [1, tokens.nrows(), tokens.ncols()]);
        self.network.embed(Tensor::from_data(data, &Device::flex())).into_data().iter::<f32>().collect()
    }
}

impl Backbone for Headed {
    fn forward(&self, batch: ArrayView4<'_, f32>) -> Output {
        let patches = self.tower.forward(batch).patches.expect("a tower with patches gives them");
        let images: Vec<_> = patches.axis_iter(Axis(0)).collect();
        let n = images.len();
        let rows: Vec<f32> = images.into_par_iter().flat_map_iter(|tokens| self.embed(tokens)).collect();
        let embedding = Array2::from_shape_vec((n, self.width()), rows).expect("the embedding has its head's width");
        Output { logits: Some(logits(&self.head, &embedding)), embedding, patches: None, rotations: None }
    }

    fn head(&self) -> Option<Head> {
        Some(self.head.clone())
    }

    fn classes(&self) -> usize {
        self.head.bias.len()
    }

    fn width(&self) -> usize {
        self.head.weight.ncols()
    }

    fn parts(&self) -> BTreeMap<String, Array2<f32>> {
        self.parts.clone()
    }
}
