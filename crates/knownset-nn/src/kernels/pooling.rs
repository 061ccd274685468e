//! Pooling of feature maps.

use super::feature_map::{FeatureMap, Scratch, Shape};

/// The largest of each 3x3 window, at every second pixel. The map is not negative, so its border never wins; a NaN does.
pub(crate) fn max_pool(input: &FeatureMap, scratch: &mut Scratch) -> FeatureMap {
    let Shape { height, width, channels, border } = input.shape();
    let mut output = scratch.take(Shape { height: height.div_ceil(2), width: width.div_ceil(2), channels, border: 1 });
    for y in 0..height.div_ceil(2) {
        for x in 0..width.div_ceil(2) {
            let largest = output.pixel_mut(y, x);
            largest.fill(0.0);
            for window in 0..9 {
                let start = input.shape().outer(2 * y + border - 1 + window / 3, 2 * x + border - 1 + window % 3);
                for (largest, &value) in largest.iter_mut().zip(&input.values()[start..][..channels]) {
                    *largest = if *largest > value || largest.is_nan() { *largest } else { value };
                }
            }
        }
    }
    output
}

/// Each channel's mean over the pixels.
pub(crate) fn mean(input: &FeatureMap) -> Vec<f32> {
    let Shape { height, width, channels, .. } = input.shape();
    let mut sums = vec![0.0; channels];
    for y in 0..height {
        for x in 0..width {
            sums.iter_mut().zip(input.pixel(y, x)).for_each(|(sum, value)| *sum += value);
        }
    }
    let pixels = (height * width) as f32;
    sums.iter().map(|sum| sum / pixels).collect()
}
