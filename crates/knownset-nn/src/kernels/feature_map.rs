//! One image's activations between two layers.

use ndarray::ArrayView3;

/// Height, width and channels of a feature map, and how many zeros surround it on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) border: usize,
}

impl Shape {
    /// Number of values, border included.
    pub(crate) fn values(self) -> usize {
        (self.height + 2 * self.border) * self.row()
    }

    /// Values from one row to the next.
    pub(crate) fn row(self) -> usize {
        (self.width + 2 * self.border) * self.channels
    }

    /// Index of the first channel of the pixel at row `y` and column `x`, counted from the border's corner.
    pub(crate) fn outer(self, y: usize, x: usize) -> usize {
        y * self.row() + x * self.channels
    }

    /// Index of the first channel of the pixel at row `y` and column `x`, counted from the image's corner.
    pub(crate) fn inner(self, y: usize, x: usize) -> usize {
        self.outer(y + self.border, x + self.border)
    }
}

/// `[height, width, channels]` values, channels last, in a border of zeros: the padding that convolutions read.
pub(crate) struct FeatureMap {
    shape: Shape,
    /// `[height + 2 border, width + 2 border, channels]`.
    values: Vec<f32>,
}

impl FeatureMap {
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// All values, border included.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    pub(crate) fn pixel(&self, y: usize, x: usize) -> &[f32] {
        &self.values[self.shape.inner(y, x)..][..self.shape.channels]
    }

    pub(crate) fn pixel_mut(&mut self, y: usize, x: usize) -> &mut [f32] {
        let start = self.shape.inner(y, x);
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
    pub(crate) fn take(&mut self, shape: Shape) -> FeatureMap {
        if let Some(index) = self.0.iter().position(|map| map.shape == shape) {
            return self.0.swap_remove(index);
        }
        FeatureMap { shape, values: vec![0.0; shape.values()] }
    }

    pub(crate) fn put_back(&mut self, map: FeatureMap) {
        self.0.push(map);
    }

    /// An image `[channels, height, width]` as a feature map.
    pub(crate) fn image(&mut self, image: ArrayView3<'_, f32>, border: usize) -> FeatureMap {
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
    /// Pixels `[height, width, channels]`, channels last, as a feature map of `shape`, `step` rows and columns apart,
    /// the others zero.
    pub(crate) fn spread(
        &mut self,
        pixels: &[f32],
        [height, width]: [usize; 2],
        step: usize,
        shape: Shape,
    ) -> FeatureMap {
        let mut map = self.take(shape);
        if step > 1 {
            map.values.fill(0.0);
        }
        for (y, row) in pixels.chunks_exact(width * shape.channels).enumerate().take(height) {
            let start = shape.inner(y * step, 0);
            if step == 1 {
                map.values[start..start + row.len()].copy_from_slice(row);
                continue;
            }
            let places = map.values[start..].chunks_mut(step * shape.channels);
            for (place, pixel) in places.zip(row.chunks_exact(shape.channels)) {
                place[..shape.channels].copy_from_slice(pixel);
            }
        }
        map
    }
}
