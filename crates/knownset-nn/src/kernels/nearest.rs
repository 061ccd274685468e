//! Images made larger by repeating their pixels.
//!
//! Batches are `[n, height, width, channels]`. Pixel y of H is pixel ⌊y h / H⌋ of h.

use rayon::prelude::*;

/// `[n, h, w, channels]` → `[n, H, W, channels]`, H and W at least h and w.
pub(crate) fn nearest(images: &[f32], channels: usize, from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let [small, large] = [from, to].map(|[height, width]| height * width * channels);
    let mut result = vec![0.0; images.len() / small * large];
    let pairs = result.par_chunks_exact_mut(large).zip(images.par_chunks_exact(small));
    pairs.for_each(|(result, image)| {
        for (to, from) in result.chunks_exact_mut(channels).zip(places(from, to)) {
            to.copy_from_slice(&image[from * channels..][..channels]);
        }
    });
    result
}

/// The gradient of the images, given that of the result.
pub(crate) fn nearest_gradient(gradient: &[f32], channels: usize, from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let [small, large] = [from, to].map(|[height, width]| height * width * channels);
    let mut result = vec![0.0; gradient.len() / large * small];
    let pairs = result.par_chunks_exact_mut(small).zip(gradient.par_chunks_exact(large));
    pairs.for_each(|(result, gradient)| {
        for (gradient, place) in gradient.chunks_exact(channels).zip(places(from, to)) {
            let sums = &mut result[place * channels..][..channels];
            sums.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
        }
    });
    result
}

/// Which pixel each pixel of the larger image is.
fn places([height, width]: [usize; 2], [high, wide]: [usize; 2]) -> impl Iterator<Item = usize> {
    let columns = move |y: usize| (0..wide).map(move |x| y * height / high * width + x * width / wide);
    (0..high).flat_map(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pixels_become_five() {
        assert_eq!(nearest(&[1.0, 2.0, 3.0], 1, [1, 3], [2, 5]), [1.0, 1.0, 2.0, 2.0, 3.0].repeat(2));
        let gradient: Vec<f32> = (1_u8..=10).map(f32::from).collect();
        assert_eq!(
            nearest_gradient(&gradient, 1, [1, 3], [2, 5]),
            [1.0 + 2.0 + 6.0 + 7.0, 3.0 + 4.0 + 8.0 + 9.0, 15.0]
        );
    }
}
