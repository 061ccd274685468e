//! One image's activations between two layers.

use ndarray::ArrayView3;

/// Height, width and channels of a feature map, and how many zeros surround it on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) border: usize,
}

/// `[height, width, channels]` values, channels last, in a border of zeros: the padding that convolutions read.
pub(super) struct FeatureMap {
    shape: Shape,
    /// `[height + 2 border, width + 2 border, channels]`.
    values: Vec<f32>,
}

impl FeatureMap {
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// All values, border included.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Values from one row to the next.
    pub(super) fn row(&self) -> usize {
        (self.shape.width + 2 * self.shape.border) * self.shape.channels
    }

    /// Index of the first channel of the pixel at row `y` and column `x`, counted from the border's corner.
    pub(super) fn outer(&self, y: usize, x: usize) -> usize {
        y * self.row() + x * self.shape.channels
    }

    /// Index of the first channel of the pixel at row `y` and column `x`, counted from the image's corner.
    pub(super) fn inner(&self, y: usize, x: usize) -> usize {
        self.outer(y + self.shape.border, x + self.shape.border)
    }

    pub(super) fn pixel(&self, y: usize, x: usize) -> &[f32] {
        &self.values[self.inner(y, x)..][..self.shape.channels]
    }

    pub(super) fn pixel_mut(&mut self, y: usize, x: usize) -> &mut [f32] {
        let start = self.inner(y, x);
        &mut self.values[start..][..self.shape.channels]
    }
}

/// Feature maps that are done with, kept for the next ones of their shapes.
///
/// Whoever takes one writes all of its inside and nothing of its border, so what it held before is never read.
#[derive(Default)]
pub(crate) struct Scratch(Vec<FeatureMap>);

impl Scratch {
    /// A map of that shape, zero in its border, anything inside.
    pub(super) fn take(&mut self, shape: Shape) -> FeatureMap {
        if let Some(index) = self.0.iter().position(|map| map.shape == shape) {
            return self.0.swap_remove(index);
        }
        let Shape { height, width, channels, border } = shape;
        FeatureMap { shape, values: vec![0.0; (height + 2 * border) * (width + 2 * border) * channels] }
    }

    pub(super) fn put_back(&mut self, map: FeatureMap) {
        self.0.push(map);
    }

    /// An image `[channels, height, width]` as a feature map.
    pub(super) fn image(&mut self, image: ArrayView3<'_, f32>, border: usize) -> FeatureMap {
        let (channels, height, width) = image.dim();
        let mut map = self.take(Shape { height, width, channels, border });
        for y in 0..height {
            for x in 0..width {
                for (value, channel) in map.pixel_mut(y, x).iter_mut().zip(image.outer_iter()) {
                    *value = channel[[y, x]];
                }
            }
        }
        map
    }
}
