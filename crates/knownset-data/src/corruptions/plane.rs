//! Pixels as numbers.

use image::RgbImage;

/// One number per pixel, row by row.
#[derive(Clone)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f64>,
}

/// Where a position outside of `0..n` reads from.
pub(super) type Edge = fn(i64, usize) -> usize;

/// The nearest pixel: `a a | a b c | c c`.
pub(super) fn nearest(at: i64, n: usize) -> usize {
    at.clamp(0, n as i64 - 1) as usize
}

/// The mirror image, edge pixel included: `b a | a b c | c b`.
pub(super) fn reflect(at: i64, n: usize) -> usize {
    let at = at.rem_euclid(2 * n as i64) as usize;
    if at < n { at } else { 2 * n - 1 - at }
}

/// The mirror image, edge pixel left out: `c b | a b c | b a`.
pub(super) fn reflect_101(at: i64, n: usize) -> usize {
    let period = (2 * n - 2).max(1);
    let at = at.rem_euclid(period as i64) as usize;
    if at < n { at } else { period - at }
}

impl Plane {
    /// Calls `value(x, y)` for every pixel, row by row.
    pub(super) fn from_fn(width: usize, height: usize, mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            values.extend((0..width).map(|x| value(x, y)));
        }
        Self { width, height, values }
    }

    pub(super) fn at(&self, x: usize, y: usize) -> f64 {
        self.values[y * self.width + x]
    }

    /// The value at any position, which `edge` brings inside.
    pub(super) fn beyond(&self, x: i64, y: i64, edge: Edge) -> f64 {
        self.at(edge(x, self.width), edge(y, self.height))
    }

    /// The value between pixels, from the four around it.
    pub(super) fn between(&self, x: f64, y: f64, edge: Edge) -> f64 {
        let (left, top) = (x.floor(), y.floor());
        let (right, down) = (x - left, y - top);
        let row = |y: i64| {
            let left = left as i64;
            self.beyond(left, y, edge) * (1.0 - right) + self.beyond(left + 1, y, edge) * right
        };
        row(top as i64) * (1.0 - down) + row(top as i64 + 1) * down
    }

    pub(super) fn map(&self, change: impl FnMut(f64) -> f64) -> Self {
        Self { values: self.values.iter().copied().map(change).collect(), ..*self }
    }
}

/// Width and height.
pub(super) fn size(image: &RgbImage) -> (usize, usize) {
    (image.width() as usize, image.height() as usize)
}

/// Red, green and blue in 0–1.
pub(super) fn channels(image: &RgbImage) -> [Plane; 3] {
    let (width, height) = size(image);
    [0, 1, 2].map(|c| {
        let values = image.as_raw().iter().skip(c).step_by(3).map(|&value| f64::from(value) / 255.0).collect();
        Plane { width, height, values }
    })
}

/// Back from numbers in 0–1; what lies outside is clipped.
pub(super) fn to_image(channels: &[Plane; 3]) -> RgbImage {
    let [red, green, blue] = channels;
    RgbImage::from_fn(red.width as u32, red.height as u32, |x, y| {
        let at = y as usize * red.width + x as usize;
        image::Rgb([red, green, blue].map(|plane| byte(plane.values[at])))
    })
}

/// Changes red, green and blue of every pixel, row by row, as numbers in 0–1.
pub(super) fn per_value(image: &RgbImage, mut change: impl FnMut(f64) -> f64) -> RgbImage {
    let mut image = image.clone();
    for value in image.iter_mut() {
        *value = byte(change(f64::from(*value) / 255.0));
    }
    image
}

/// Clips a number in 0–1, and cuts it to 8 bits as the published sets do.
pub(super) fn byte(value: f64) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_repeat_as_their_pictures_say() {
        let letters = |edge: Edge| (-4..7).map(|at| ['a', 'b', 'c'][edge(at, 3)]).collect::<String>();
        assert_eq!(letters(nearest), "aaaaabccccc");
        assert_eq!(letters(reflect), "ccbaabccbaa");
        assert_eq!(letters(reflect_101), "abcbabcbabc");
        for edge in [nearest, reflect, reflect_101] {
            assert!((-3..4).all(|at| edge(at, 1) == 0));
        }
    }

    #[test]
    fn halfway_is_the_mean_of_four() {
        let plane = Plane { width: 2, height: 2, values: vec![0.0, 1.0, 2.0, 5.0] };
        assert_eq!(plane.between(0.5, 0.5, nearest), 2.0);
        assert_eq!(plane.between(0.25, 0.0, nearest), 0.25);
        assert_eq!(plane.between(-0.5, 1.0, nearest), 2.0);
        assert_eq!(plane.between(1.5, 1.0, reflect_101), 3.5);
    }

    #[test]
    fn values_are_cut_not_rounded() {
        assert_eq!([-1.0, 0.0, 0.999, 1.0, 7.0, f64::NAN].map(byte), [0, 0, 254, 255, 255, 0]);
    }
}
