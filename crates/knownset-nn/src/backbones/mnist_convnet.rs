//! The network whose outlier-exposed MNIST weights were released. Pixels are divided by 255 and nothing else.

use knownset_core::{Filter, Preprocess, Resize};

use super::{Architecture, BackboneEntry};
use crate::network::ConvNet;

pub(super) static MNIST_CONVNET: BackboneEntry = BackboneEntry {
    name: "mnist-convnet",
    doc: "Small network for 28x28 grey images with outlier-exposure's keys, 0.02 M parameters; colours become grey.",
    paper: "https://arxiv.org/abs/1812.04606",
    preprocess: Preprocess {
        resize: Resize::Exact { size: ConvNet::SIDE as u32, filter: Filter::Bilinear },
        size: ConvNet::SIDE as u32,
        mean: [0.0; 3],
        std: [1.0; 3],
    },
    architecture: Architecture::ConvNet,
};
