//! An image without its object: what is inside the boxes around it, blurred.
//!
//! FodFoM's rules, made sane: an image in which nothing was found is rejected (its ImageNet script keeps it as it is);
//! every box must be at most half of the image (its CIFAR script asks only the last one); boxes are clipped to the image;
//! red stays red (its CIFAR script swaps red and blue).

use serde::{Deserialize, Serialize};

/// FodFoM's side of the blur's window in pixels, for images of 224 and more.
pub const WINDOW: usize = 50;
/// The largest share of the image that a box may cover.
const LARGEST: f64 = 0.5;

/// `[height, width, 3]` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    width: usize,
    height: usize,
    values: Vec<u8>,
}

impl Pixels {
    /// Row by row, red, green and blue of each pixel; nothing if the number of values is another.
    pub fn new(width: usize, height: usize, values: Vec<u8>) -> Option<Self> {
        let expected = width.checked_mul(height)?.checked_mul(3)?;
        (values.len() == expected).then_some(Self { width, height, values })
    }

    /// Row by row, red, green and blue of each pixel.
    pub fn values(&self) -> &[u8] {
        &self.values
    }
}

/// Why an image has no background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rejected {
    /// No box.
    #[error("nothing was found in it")]
    NothingFound,
    /// A box that leaves too little of the image.
    #[error("a box covers more than half of it")]
    TooLarge,
    /// A box without a pixel inside the image.
    #[error("a box lies outside of it")]
    Outside,
}

/// The image with the inside of each box `[x0, y0, x1, y1]`, in pixels, replaced by its mean over square windows of that
/// side, above 0; one box after the other, each blurred by itself, mirrored at its own border, as OpenCV's `blur` of the
/// cut-out does.
pub fn blurred(image: &Pixels, boxes: &[[f32; 4]], window: usize) -> Result<Pixels, Rejected> {
    if boxes.is_empty() {
        return Err(Rejected::NothingFound);
    }
    let area = (image.width * image.height) as f64;
    let mut inside = Vec::with_capacity(boxes.len());
    for corners in boxes {
        if corners.iter().any(|corner| corner.is_nan()) {
            return Err(Rejected::Outside);
        }
        let [x0, x1] = [corners[0], corners[2]].map(|x| f64::from(x).clamp(0.0, image.width as f64));
        let [y0, y1] = [corners[1], corners[3]].map(|y| f64::from(y).clamp(0.0, image.height as f64));
        if (x1 - x0) * (y1 - y0) > LARGEST * area {
            return Err(Rejected::TooLarge);
        }
        // As Python's int() cuts them, to whole pixels.
        let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(|place| place as usize);
        if x1 <= x0 || y1 <= y0 {
            return Err(Rejected::Outside);
        }
        inside.push([x0, y0, x1, y1]);
    }
    let mut result = image.clone();
    for corners in inside {
        blur(&mut result, corners, window);
    }
    Ok(result)
}

/// Replaces a rectangle, which is not empty, by the means of windows around its pixels.
fn blur(image: &mut Pixels, [x0, y0, x1, y1]: [usize; 4], window: usize) {
    let (width, height) = (x1 - x0, y1 - y0);
    let at = |x: usize, y: usize, channel: usize| (y * image.width + x) * 3 + channel;
    for channel in 0..3 {
        // Sums along rows, then of those along columns: whole numbers, so nothing is lost.
        let rows: Vec<Vec<u64>> = (y0..y1)
            .map(|y| (x0..x1).map(|x| u64::from(image.values[at(x, y, channel)])).collect::<Vec<_>>())
            .map(|row| windows(&row, window))
            .collect();
        for x in 0..width {
            let column: Vec<u64> = (0..height).map(|y| rows[y][x]).collect();
            for (y, sum) in windows(&column, window).into_iter().enumerate() {
                image.values[at(x0 + x, y0 + y, channel)] = rounded(sum, window);
            }
        }
    }
}

/// Sums over windows that begin half a window before each place, the values mirrored about the first and the last.
fn windows(values: &[u64], window: usize) -> Vec<u64> {
    let sum = |place: usize| {
        let first = place as isize - (window / 2) as isize;
        (first..first + window as isize).map(|place| values[mirrored(place, values.len())]).sum()
    };
    (0..values.len()).map(sum).collect()
}

/// The place that a place outside falls on: … 2 1 | 0 1 2 … n−1 | n−2 n−3 …
fn mirrored(place: isize, length: usize) -> usize {
    let period = 2 * (length as isize - 1);
    if period == 0 {
        return 0;
    }
    let place = place.rem_euclid(period);
    place.min(period - place) as usize
}

/// A sum over a window as a mean; halves go to the even number.
fn rounded(sum: u64, window: usize) -> u8 {
    (sum as f64 / (window as f64).powi(2)).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use knownset_nn::Weights;

    use super::*;

    fn pixels(width: usize, height: usize) -> Pixels {
        let values = (0..width * height * 3).map(|i| (i * 7919 % 251) as u8).collect();
        Pixels::new(width, height, values).unwrap()
    }

    #[test]
    fn rules_of_boxes() {
        let image = pixels(40, 20);
        assert_eq!(blurred(&image, &[], WINDOW), Err(Rejected::NothingFound));
        // 40 x 10 is just half of the image.
        assert!(blurred(&image, &[[0.0, 0.0, 40.0, 10.0]], WINDOW).is_ok());
        assert_eq!(blurred(&image, &[[0.0, 0.0, 40.0, 10.5]], WINDOW), Err(Rejected::TooLarge));
        // The large one counts wherever it stands, and a box is clipped before it is measured.
        let (small, large) = ([1.0, 1.0, 5.0, 5.0], [0.0, 0.0, 39.0, 19.0]);
        assert_eq!(blurred(&image, &[large, small], WINDOW), Err(Rejected::TooLarge));
        assert!(blurred(&image, &[[-400.0, -20.0, 10.0, 10.0], small], WINDOW).is_ok());
        assert_eq!(blurred(&image, &[[41.0, 3.0, 60.0, 9.0]], WINDOW), Err(Rejected::Outside));
        assert_eq!(blurred(&image, &[[3.2, 3.0, 3.9, 9.0]], WINDOW), Err(Rejected::Outside));
        assert_eq!(blurred(&image, &[[f32::NAN, 3.0, 9.0, 9.0]], WINDOW), Err(Rejected::Outside));
    }

    #[test]
    fn outside_the_box_nothing_changes_and_one_colour_stays() {
        let image = pixels(30, 24);
        let found = blurred(&image, &[[4.0, 5.0, 12.9, 11.0]], WINDOW).unwrap();
        for y in 0..24 {
            for x in 0..30 {
                let at = (y * 30 + x) * 3;
                let inside = (4..12).contains(&x) && (5..11).contains(&y);
                assert_eq!(found.values[at..at + 3] != image.values[at..at + 3], inside, "{x} {y}");
            }
        }
        let plain = Pixels::new(30, 24, [200, 3, 77].repeat(720)).unwrap();
        assert_eq!(blurred(&plain, &[[4.0, 5.0, 12.0, 11.0]], WINDOW), Ok(plain));
    }

    #[test]
    fn a_small_window_by_hand() {
        let image = Pixels::new(3, 2, [0, 90, 30, 1, 2, 3].iter().flat_map(|&value| [value; 3]).collect()).unwrap();
        // (90 + 0 + 90) / 3, (0 + 90 + 30) / 3, (90 + 30 + 90) / 3.
        let expected: Vec<u8> = [60, 40, 70, 1, 2, 3].iter().flat_map(|&value| [value; 3]).collect();
        assert_eq!(blurred(&image, &[[0.0, 0.0, 3.0, 1.0]], 3).unwrap().values, expected);
        assert_eq!(blurred(&image, &[[0.0, 0.0, 3.0, 1.0]], 1), Ok(image));
    }

    #[test]
    fn places_are_mirrored() {
        let places: Vec<usize> = (-4..7).map(|place| mirrored(place, 3)).collect();
        assert_eq!(places, [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(mirrored(-3, 1), 0);
    }

    #[test]
    fn blurs_are_opencvs() {
        let golden =
            Weights::from_bytes(include_bytes!("../../tests/golden/blur.safetensors"), "blur".as_ref()).unwrap();
        let bytes = |name: &str| golden.get(name).unwrap().values.iter().map(|&v| v as u8).collect::<Vec<u8>>();
        let shape = &golden.get("image").unwrap().shape;
        let image = Pixels::new(shape[1], shape[0], bytes("image")).unwrap();
        for case in ["one", "two", "small"] {
            let boxes: Vec<[f32; 4]> = golden.get(&format!("{case}.boxes")).unwrap().values.as_chunks().0.to_vec();
            assert_eq!(blurred(&image, &boxes, WINDOW).unwrap().values, bytes(&format!("{case}.result")), "{case}");
        }
    }
}
