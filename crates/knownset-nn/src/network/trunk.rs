//! A classifier of any architecture that can be trained: one type for the training loop.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};

use super::convnet::ConvNet;
use super::parameters::Named;
use super::resnet::ResNet;
use super::vit::Vit;
use crate::backbones::Architecture;

/// A network that turns images into an embedding, and the linear layer behind it.
#[derive(Module, Debug)]
pub enum Trunk {
    /// A residual network.
    ResNet(ResNet),
    /// A vision transformer.
    Vit(Vit),
    /// The small convolutional network.
    ConvNet(ConvNet),
}

impl Trunk {
    /// The network with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise); nothing
    /// for an architecture without a linear layer.
    pub fn new(architecture: Architecture, classes: usize, device: &Device) -> Option<Self> {
        match architecture {
            Architecture::ResNet(spec) => Some(Self::ResNet(ResNet::new(spec, classes, device))),
            Architecture::Vit(spec) => Some(Self::Vit(Vit::new(spec, classes, device))),
            Architecture::ConvNet => Some(Self::ConvNet(ConvNet::new(classes, device))),
            Architecture::Clip => None,
        }
    }

    /// `[n, 3, h, w]` → the `[n, d]` that the last layer reads, in f32. Convolutions and linear layers compute in the
    /// precision of the input, everything else in f32.
    pub fn embed(&self, input: Tensor<4>) -> Tensor<2> {
        let embedding = match self {
            Self::ResNet(network) => network.embed(input),
            Self::Vit(network) => network.embed(input),
            Self::ConvNet(network) => network.embed(input),
        };
        embedding.cast(FloatDType::F32)
    }

    /// `[n, d]` embedding → `[n, K]` logits.
    pub fn classify(&self, embedding: Tensor<2>) -> Tensor<2> {
        match self {
            Self::ResNet(network) => network.classify(embedding),
            Self::Vit(network) => network.classify(embedding),
            Self::ConvNet(network) => network.classify(embedding),
        }
    }

    /// The last layer's weight `[K, d]` and bias `[K]`.
    pub fn head(&self) -> (Tensor<2>, Tensor<1>) {
        let head = match self {
            Self::ResNet(network) => network.head(),
            Self::Vit(network) => network.head(),
            Self::ConvNet(network) => network.head(),
        };
        let weight = head.weight.val().transpose();
        let bias = head
            .bias
            .as_ref()
            .map_or_else(|| Tensor::zeros([weight.dims()[0]], &weight.device()), burn::module::Param::val);
        (weight, bias)
    }

    /// Length d of the embedding.
    pub fn width(&self) -> usize {
        match self {
            Self::ResNet(network) => network.head().weight.dims()[0],
            Self::Vit(network) => network.head().weight.dims()[0],
            Self::ConvNet(network) => network.head().weight.dims()[0],
        }
    }
}

impl Named for Trunk {
    /// The path's first part is the architecture, which checkpoints do not name.
    fn checkpoint_name(&self, path: &[String]) -> String {
        let inside = path.get(1..).unwrap_or_default();
        match self {
            Self::ResNet(network) => network.checkpoint_name(inside),
            Self::Vit(network) => network.checkpoint_name(inside),
            Self::ConvNet(network) => network.checkpoint_name(inside),
        }
    }
}
