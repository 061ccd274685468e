//! Part of a dataset.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Located, Texts};

/// Some rows of a dataset, drawn by chance and kept in their order.
///
/// Which rows depends on the seed, the number drawn and the number there are, on nothing else: of two datasets with the
/// same rows, such as one and its [corrupted](crate::corruptions::Corrupted) twin, the same ones are drawn.
pub struct Subset {
    inner: Box<dyn ImageSource>,
    rows: Vec<usize>,
    seed: u64,
}

impl Subset {
    /// `count` rows of `inner`, or all of them if there are no more; at least one.
    pub fn new(inner: Box<dyn ImageSource>, count: usize, seed: u64) -> Self {
        let rows = draw(inner.len(), count.max(1), seed);
        Self { inner, rows, seed }
    }
}

/// `count` of the numbers below `n`, ascending.
fn draw(n: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..n).collect();
    let count = count.min(n);
    for place in 0..count {
        let left = (n - place) as u64;
        // 64 bits times less than 2⁶⁴, of which the upper half is below `left`.
        let step = (u128::from(random.next_u64()) * u128::from(left)) >> 64;
        rows.swap(place, place + step as usize);
    }
    rows.truncate(count);
    rows.sort_unstable();
    rows
}

impl ImageSource for Subset {
    /// Name and classes of the whole.
    fn info(&self) -> &DatasetInfo {
        self.inner.info()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn id(&self, i: usize) -> &str {
        self.inner.id(self.rows[i])
    }

    fn label(&self, i: usize) -> i64 {
        self.inner.label(self.rows[i])
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        self.inner.get(self.rows[i])
    }

    fn texts(&self, i: usize) -> Texts {
        self.inner.texts(self.rows[i])
    }

    fn objects(&self, i: usize) -> Vec<Located> {
        self.inner.objects(self.rows[i])
    }

    fn alter(&self, i: usize, image: RgbImage) -> RgbImage {
        self.inner.alter(self.rows[i], image)
    }

    fn fingerprint(&self) -> String {
        format!("{} rows drawn with seed {} of {}", self.rows.len(), self.seed, self.inner.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatasetRef;

    #[test]
    fn rows_are_drawn_once_each_and_evenly() {
        let mut drawn = [0; 10];
        for seed in 0..2000 {
            let rows = draw(10, 4, seed);
            assert!(rows.len() == 4 && rows.windows(2).all(|pair| pair[0] < pair[1]), "{rows:?}");
            for row in rows {
                drawn[row] += 1;
            }
        }
        // 800 each on average, with a deviation of 22.
        assert!(drawn.iter().all(|&count| (690..910).contains(&count)), "{drawn:?}");
        assert_eq!(draw(3, 9, 1), [0, 1, 2]);
        assert_eq!(draw(10, 4, 5), draw(10, 4, 5));
        assert_ne!(draw(10, 4, 5), draw(10, 4, 6));
    }

    #[test]
    fn a_dataset_and_its_corrupted_twin_lose_the_same_rows() {
        let open = |text: &str| Subset::new(text.parse::<DatasetRef>().unwrap().open().unwrap(), 5, 0);
        let (clean, foggy) = (open("world:sprites#test"), open("corrupt:fog:3@world:sprites#test"));
        assert_eq!(clean.len(), 5);
        for row in 0..5 {
            assert_eq!((clean.id(row), clean.label(row)), (foggy.id(row), foggy.label(row)));
        }
        let EncodedImage::Pixels(image) = clean.get(2).unwrap() else { panic!("the world is pixels") };
        assert_eq!(clean.alter(2, image.clone()), image);
        assert_ne!(foggy.alter(2, image.clone()), image);
        assert_ne!(clean.fingerprint(), foggy.fingerprint());
    }
}
