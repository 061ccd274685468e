//! Opening a split and reading its images.

use std::ops::Range;

use image::RgbImage;

use super::compose::compose;
use super::scene::Scene;
use super::splits::{Content, SPLITS, SplitInfo, SplitKind};
use super::sprites::{PackError, Part, Sprite, open_pack, pack};

const WORLDS: &[&str] = &["sprites"];

/// Why a split of a world could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// No world has this name.
    #[error("no world named {name:?}; there is: {}", known.join(", "))]
    UnknownWorld {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// The world has no split of this name.
    #[error("the world has no split named {name:?}; its splits: {}", known.join(", "))]
    UnknownSplit {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// The bundled sprites are damaged.
    #[error("the bundled sprites cannot be used")]
    Pack(#[from] &'static PackError),
}

/// The bundled worlds.
#[derive(Debug)]
pub struct World;

impl World {
    /// Opens a split of a world; the only world is `"sprites"`, its splits are [`SPLITS`].
    ///
    /// The first call decodes the bundled sprites (some tens of milliseconds); later ones are free.
    ///
    /// # Errors
    /// An unknown name, with the names that exist.
    pub fn open(name: &str, split: &str) -> Result<WorldSplit, WorldError> {
        if !WORLDS.contains(&name) {
            return Err(WorldError::UnknownWorld { name: name.to_owned(), known: WORLDS.to_vec() });
        }
        let info = SPLITS.iter().find(|info| info.name == split).ok_or_else(|| WorldError::UnknownSplit {
            name: split.to_owned(),
            known: SPLITS.iter().map(|info| info.name).collect(),
        })?;
        let parts = match info.content {
            Content::Sprites(parts) => parts,
            Content::Textures | Content::Noise => &[],
        };
        let open = if parts.contains(&Part::Open) { open_pack()? } else { &[] };
        let sprites: Vec<&Sprite> = pack()?.iter().chain(open).filter(|s| parts.contains(&s.emoji.part)).collect();
        let pool = |class: &&str| sprites.iter().copied().filter(|s| s.emoji.class == **class).collect();
        let pools: Vec<Vec<&Sprite>> = info.classes.iter().map(pool).collect();
        // Images per class: in proportion to its sprites, or the same for all.
        let weights = pools.iter().map(|pool| match info.kind {
            SplitKind::Open | SplitKind::Outliers => pool.len(),
            SplitKind::Known | SplitKind::Near | SplitKind::Far => 1,
        });
        let total: usize = weights.clone().sum();
        let mut starts = vec![0];
        starts.extend(weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(info.images * *sum / total)
        }));
        Ok(WorldSplit { info, pools, starts })
    }
}

/// One split of a world: a list of images made when asked for.
///
/// Indices run from 0 to `len() − 1`, class after class; the methods that take one panic beyond it, as slices do.
pub struct WorldSplit {
    info: &'static SplitInfo,
    /// The sprites each class may show, class by class; empty lists for splits without sprites.
    pools: Vec<Vec<&'static Sprite>>,
    /// Index of each class's first image, then the number of images.
    starts: Vec<usize>,
}

impl std::fmt::Debug for WorldSplit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorldSplit").field("info", self.info).finish_non_exhaustive()
    }
}

impl WorldSplit {
    /// What this split is.
    pub fn info(&self) -> &'static SplitInfo {
        self.info
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.info.images
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The image's name, `split/class/number`, such as `train/cat/00012`. Sorted as bytes, ids are in index order.
    pub fn id(&self, index: usize) -> String {
        let (class, number) = self.place(index);
        format!("{}/{}/{number:05}", self.info.name, self.info.classes[class])
    }

    /// The images of a class, given as its place in [`SplitInfo::classes`].
    pub fn images_of(&self, class: usize) -> Range<usize> {
        self.starts[class]..self.starts[class + 1]
    }

    /// The image's class as its place in [`CLASSES`](super::CLASSES), −1 in all but the splits of known classes.
    pub fn label(&self, index: usize) -> i64 {
        match self.info.kind {
            SplitKind::Known => self.place(index).0 as i64,
            SplitKind::Near | SplitKind::Far | SplitKind::Open | SplitKind::Outliers => -1,
        }
    }

    /// What the image shows.
    pub fn scene(&self, index: usize) -> Scene {
        self.draw(index).0
    }

    /// The image, 64x64.
    pub fn image(&self, index: usize) -> RgbImage {
        self.draw(index).1
    }

    /// The image and what it shows, for the price of one.
    pub fn draw(&self, index: usize) -> (Scene, RgbImage) {
        let (class, number) = self.place(index);
        let scene = Scene {
            id: self.id(index),
            split: self.info.name.to_owned(),
            class: self.info.classes[class].to_owned(),
            label: self.label(index),
            ..Scene::default()
        };
        // Every sprite of the class gets its turn, so that all are shown equally often.
        let pool = &self.pools[class];
        let sprite = pool.get(number % pool.len().max(1)).copied();
        compose(scene, self.info.content, sprite, index)
    }

    /// The class of an image and its number within the class.
    fn place(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len(), "image {index} of split {:?}, which has {}", self.info.name, self.len());
        let class = self.starts.partition_point(|&start| start <= index) - 1;
        (class, index - self.starts[class])
    }
}

#[cfg(test)]
mod tests {
    use super::super::sprites::{Part, open_pack, pack};
    use super::World;

    #[test]
    fn every_drawing_of_a_split_by_drawings_is_shown_about_equally_often() {
        let trained = pack().expect("the pack loads").iter().filter(|s| s.emoji.part == Part::Train).count();
        let open = open_pack().expect("the pack loads");
        for name in ["captions", "outliers"] {
            let split = World::open("sprites", name).expect("a listed split opens");
            let listed = open.iter().filter(|s| split.info.classes.contains(&s.emoji.class.as_str())).count();
            let all = if name == "captions" { trained + open.len() } else { listed };
            assert_eq!(split.pools.iter().map(Vec::len).sum::<usize>(), all, "every class is listed");
            let even = split.len() / all;
            for (class, pool) in split.pools.iter().enumerate() {
                let images = split.images_of(class).len();
                assert!(
                    images >= (even - 1) * pool.len() && images <= (even + 1) * pool.len(),
                    "{images} of {}",
                    pool.len()
                );
            }
        }
    }
}
