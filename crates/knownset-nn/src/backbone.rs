//! Backbones ready to run: images in, logits and embedding out.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_core::parts::TURNS;
use knownset_core::{Head, Origin, Preprocess};
use ndarray::{Array1, Array2, Array3, ArrayView4, Axis};
use rayon::prelude::*;

use crate::backbones::{Architecture, BackboneEntry, find};
use crate::error::NnError;
use crate::inference::FrozenResNet;
use crate::kernels::Scratch;
use crate::network::{ConvNet, Mismatch, ResNet, Vit, load_beside_parts};
use crate::parts::{parts, rotation_head, turned};
use crate::weights::Weights;

/// Images a thread gives a transformer at a time. Results do not depend on it; small batches stay in the cache.
const CHUNK: usize = 8;

/// What a backbone says about n images.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// `[n, K]` classifier outputs before the softmax.
    pub logits: Option<Array2<f32>>,
    /// `[n, d]`: what the last layer reads.
    pub embedding: Array2<f32>,
    /// `[n, P, d]` features of the patches, from networks that were asked for them.
    pub patches: Option<Array3<f32>>,
    /// `[n, 4, 4]` logits of the rotation head for the image turned by 0, 90, 180 and 270 degrees counter-clockwise, from
    /// networks that have one.
    pub rotations: Option<Array3<f32>>,
}

/// A frozen network.
///
/// An image's row has the same bits whatever batch it is in, whatever its place there, and on any number of threads.
pub trait Backbone: Send + Sync {
    /// `[n, 3, side, side]` preprocessed images → features.
    ///
    /// # Panics
    /// If the images are not of the backbone's input size.
    fn forward(&self, batch: ArrayView4<'_, f32>) -> Output;

    /// The last layer, when there is one.
    fn head(&self) -> Option<Head>;

    /// Number of classes K; 0 without a head.
    fn classes(&self) -> usize;

    /// Length d of the embedding.
    fn width(&self) -> usize;

    /// Number P of patches whose features are given, if they are.
    fn patches(&self) -> Option<usize> {
        None
    }

    /// What a recipe trained beside the head, by name (see [`knownset_core::parts`]).
    fn parts(&self) -> BTreeMap<String, Array2<f32>> {
        BTreeMap::new()
    }

    /// Whether it tells how images are turned.
    fn rotates(&self) -> bool {
        false
    }
}

/// A backbone with its weights, and how to feed it.
pub struct LoadedBackbone {
    /// The network.
    pub backbone: Box<dyn Backbone>,
    /// Name, weights digest and preprocessing.
    pub origin: Origin,
    /// How images become its input.
    pub preprocess: Preprocess,
}

/// Loads a backbone of the registry by name with the weights of a file.
///
/// # Errors
/// An unknown name, an unreadable file, or weights that do not fit tensor by tensor.
pub fn load_backbone(name: &str, path: &Path) -> Result<LoadedBackbone, NnError> {
    assemble(find(name)?, &Weights::open(path)?)
}

/// A backbone with these weights, fed as its registry entry says.
pub(crate) fn assemble(entry: &'static BackboneEntry, weights: &Weights) -> Result<LoadedBackbone, NnError> {
    Ok(LoadedBackbone {
        backbone: frozen(entry, weights)?,
        origin: Origin {
            backbone: entry.name.to_owned(),
            weights_sha256: weights.sha256(),
            preprocess: entry.preprocess.clone(),
            weights: weights.path().map(|path| path.display().to_string()),
            head: None,
        },
        preprocess: entry.preprocess.clone(),
    })
}

/// The network of an entry with these weights, for inference on the CPU. K is read from the head's shape; tensors called
/// `recipe.NAME` become its parts.
pub fn frozen(entry: &'static BackboneEntry, weights: &Weights) -> Result<Box<dyn Backbone>, NnError> {
    let device = Device::flex();
    let named = entry.architecture.head().ok_or(NnError::Towers { backbone: entry.name })?;
    let head = head(named, weights)?;
    let parts = parts(weights)?;
    let rotation = rotation_head(&parts, head.weight.ncols(), weights)?;
    let classes = head.bias.len();
    let mismatch = |mismatch: Mismatch| NnError::Mismatch { backbone: entry.name, mismatch: Box::new(mismatch) };
    let network = match entry.architecture {
        Architecture::ResNet(spec) => {
            let network = load_beside_parts(ResNet::new(spec, classes, &device), weights).map_err(mismatch)?;
            Network::ResNet(FrozenResNet::new(&network))
        }
        Architecture::Vit(spec) => {
            let network = load_beside_parts(Vit::new(spec, classes, &device), weights).map_err(mismatch)?;
            Network::Vit(Box::new(network))
        }
        Architecture::ConvNet => {
            let network = load_beside_parts(ConvNet::new(classes, &device), weights).map_err(mismatch)?;
            Network::ConvNet(Box::new(network))
        }
        Architecture::Clip => return Err(NnError::Towers { backbone: entry.name }),
    };
    Ok(Box::new(Frozen { network, head, parts, rotation }))
}

/// The last layer as stored; without one, an empty one for [`load_beside_parts`] to miss.
pub(crate) fn head(layer: &str, weights: &Weights) -> Result<Head, NnError> {
    let name = format!("{layer}.weight");
    let shape = weights.get(&name).map_or(vec![1, 1], |tensor| tensor.shape.clone());
    let broken = || NnError::Head { path: weights.path().map(Into::into), head: name.clone(), shape: shape.clone() };
    let &[classes, width] = shape.as_slice() else { return Err(broken()) };
    if classes == 0 {
        return Err(broken());
    }
    let values = weights.get(&name).map_or(vec![0.0; classes * width], |tensor| tensor.values.clone());
    let bias = weights.get(&format!("{layer}.bias"));
    let bias = bias.map(|tensor| tensor.values.clone()).filter(|bias| bias.len() == classes);
    let weight = Array2::from_shape_vec((classes, width), values).map_err(|_| broken())?;
    Ok(Head { weight, bias: Array1::from_vec(bias.unwrap_or_else(|| vec![0.0; classes])) })
}

enum Network {
    ResNet(FrozenResNet),
    Vit(Box<Vit>),
    ConvNet(Box<ConvNet>),
}

impl Network {
    /// `[n, 3, side, side]` → `n * d` embedding values.
    fn embed(&self, batch: ArrayView4<'_, f32>) -> Vec<f32> {
        match self {
            Self::ResNet(network) => {
                let images: Vec<_> = batch.outer_iter().collect();
                let rows =
                    images.into_par_iter().map_init(Scratch::default, |scratch, image| network.embed(image, scratch));
                rows.flatten_iter().collect()
            }
            Self::Vit(network) => in_chunks(batch, CHUNK, |images| network.embed(images)),
            // Its linear layer over several images would take another path, and round otherwise, than over one.
            Self::ConvNet(network) => in_chunks(batch, 1, |images| network.embed(images)),
        }
    }
}

/// A batch in shares of `size` images, each by one thread.
fn in_chunks(batch: ArrayView4<'_, f32>, size: usize, embed: impl Fn(Tensor<4>) -> Tensor<2> + Sync) -> Vec<f32> {
    let chunks: Vec<_> = batch.axis_chunks_iter(Axis(0), size).collect();
    let rows = chunks.into_par_iter().flat_map_iter(|images| {
        let (n, channels, height, width) = images.dim();
        let data = TensorData::new(images.iter().copied().collect::<Vec<_>>(), [n, channels, height, width]);
        embed(Tensor::from_data(data, &Device::flex())).into_data().iter::<f32>().collect::<Vec<f32>>()
    });
    rows.collect()
}

struct Frozen {
    network: Network,
    head: Head,
    parts: BTreeMap<String, Array2<f32>>,
    /// Of the parts, when they have one.
    rotation: Option<Head>,
}

impl Frozen {
    fn embed(&self, batch: ArrayView4<'_, f32>) -> Array2<f32> {
        let shape = (batch.len_of(Axis(0)), self.head.weight.ncols());
        Array2::from_shape_vec(shape, self.network.embed(batch)).expect("the network's width is its head's")
    }

    /// What `head` says of the images, whose embedding is known, and of their turned copies.
    fn rotations(&self, head: &Head, batch: ArrayView4<'_, f32>, embedding: &Array2<f32>) -> Array3<f32> {
        let mut all = Array3::zeros((embedding.nrows(), TURNS, TURNS));
        all.index_axis_mut(Axis(1), 0).assign(&logits(head, embedding));
        for quarters in 1..TURNS {
            let embedding = self.embed(turned(batch, quarters));
            all.index_axis_mut(Axis(1), quarters).assign(&logits(head, &embedding));
        }
        all
    }
}

impl Backbone for Frozen {
    fn forward(&self, batch: ArrayView4<'_, f32>) -> Output {
        let embedding = self.embed(batch);
        let rotations = self.rotation.as_ref().map(|head| self.rotations(head, batch, &embedding));
        Output { logits: Some(logits(&self.head, &embedding)), embedding, patches: None, rotations }
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

    fn rotates(&self) -> bool {
        self.rotation.is_some()
    }
}

/// `[n, d]` · `[K, d]`ᵀ + `[K]`, each sum in f64 and always in the same order.
///
/// A matrix product would take another path, and round otherwise, for one row than for many.
pub(crate) fn logits(head: &Head, embedding: &Array2<f32>) -> Array2<f32> {
    Array2::from_shape_fn((embedding.nrows(), head.bias.len()), |(row, class)| {
        let (embedding, weight) = (embedding.row(row), head.weight.row(class));
        let products = embedding.iter().zip(weight).map(|(&x, &w)| f64::from(x) * f64::from(w));
        (products.sum::<f64>() + f64::from(head.bias[class])) as f32
    })
}
