//! Frozen residual networks, one image at a time: what [`network`](crate::network) trains, run without a tensor library, the
//! batch normalisations folded into the convolutions.

use ndarray::ArrayView3;

use crate::kernels::{Conv, FeatureMap, Scratch, Shape, Then, max_pool, mean};
use crate::network::{Block, ResNet};

/// A residual network that computes embeddings of single images.
pub(crate) struct FrozenResNet {
    stem: Conv,
    pool: bool,
    blocks: Vec<FrozenBlock>,
}

struct FrozenBlock {
    first: Conv,
    /// The 3x3 convolution of a bottleneck.
    middle: Option<Conv>,
    /// The one whose result the block's input is added to.
    last: Conv,
    skip: Skip,
}

/// How a block's input reaches its output.
enum Skip {
    Unchanged,
    Projected(Conv),
    /// Every second pixel, with this many zero channels on each side.
    Padded(usize),
}

impl FrozenResNet {
    /// # Panics
    /// If a width of the network is no multiple of 16.
    pub(crate) fn new(network: &ResNet) -> Self {
        Self {
            stem: Conv::new(&network.stem.folded()),
            pool: network.spec.stem.pool,
            blocks: network.layers.iter().flatten().map(FrozenBlock::new).collect(),
        }
    }

    /// `[3, h, w]` → the d values that the last layer reads.
    pub(crate) fn embed(&self, image: ArrayView3<'_, f32>, scratch: &mut Scratch) -> Vec<f32> {
        let image = scratch.image(image, self.stem.padding());
        let mut hidden = self.stem.forward(&image, Then::Relu, scratch);
        scratch.put_back(image);
        if self.pool {
            let pooled = max_pool(&hidden, scratch);
            scratch.put_back(std::mem::replace(&mut hidden, pooled));
        }
        for block in &self.blocks {
            hidden = block.forward(hidden, scratch);
        }
        let embedding = mean(&hidden);
        scratch.put_back(hidden);
        embedding
    }
}

impl FrozenBlock {
    fn new(block: &Block) -> Self {
        let conv2 = Conv::new(&block.conv2.folded());
        let (middle, last) = match &block.conv3 {
            Some(conv3) => (Some(conv2), Conv::new(&conv3.folded())),
            None => (None, conv2),
        };
        let skip = match (&block.shortcut, block.pad) {
            (Some(projection), _) => Skip::Projected(Conv::new(&projection.folded())),
            (None, Some(pad)) => Skip::Padded(pad),
            (None, None) => Skip::Unchanged,
        };
        Self { first: Conv::new(&block.conv1.folded()), middle, last, skip }
    }

    fn forward(&self, input: FeatureMap, scratch: &mut Scratch) -> FeatureMap {
        let skipped = match &self.skip {
            Skip::Unchanged => None,
            Skip::Projected(projection) => Some(projection.forward(&input, Then::Nothing, scratch)),
            Skip::Padded(pad) => Some(every_second(&input, *pad, scratch)),
        };
        let mut hidden = self.first.forward(&input, Then::Relu, scratch);
        if let Some(middle) = &self.middle {
            let next = middle.forward(&hidden, Then::Relu, scratch);
            scratch.put_back(std::mem::replace(&mut hidden, next));
        }
        let output = self.last.forward(&hidden, Then::AddRelu(skipped.as_ref().unwrap_or(&input)), scratch);
        [Some(input), skipped, Some(hidden)].into_iter().flatten().for_each(|done| scratch.put_back(done));
        output
    }
}

/// Every second pixel, with `pad` channels of zeros before its own and after.
fn every_second(input: &FeatureMap, pad: usize, scratch: &mut Scratch) -> FeatureMap {
    let Shape { height, width, channels, .. } = input.shape();
    let (height, width) = (height.div_ceil(2), width.div_ceil(2));
    let mut output = scratch.take(Shape { height, width, channels: channels + 2 * pad, border: 1 });
    for y in 0..height {
        for x in 0..width {
            let pixel = output.pixel_mut(y, x);
            pixel.fill(0.0);
            pixel[pad..pad + channels].copy_from_slice(input.pixel(2 * y, 2 * x));
        }
    }
    output
}
