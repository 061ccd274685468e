//! The bundled Sprite World as a dataset, drawn on demand.

use crate::world::{CLASSES, SplitKind, WORLD_VERSION, World, WorldSplit};
use crate::{DataError, DatasetInfo, EncodedImage, ImageSource, Located, Texts};

/// One split of a world.
pub(crate) struct WorldImages {
    info: DatasetInfo,
    split: WorldSplit,
    ids: Vec<String>,
}

impl WorldImages {
    pub(crate) fn open(name: String, world: &str, split: &str) -> Result<Self, DataError> {
        let split = World::open(world, split)?;
        let class_names = match split.info().kind {
            SplitKind::Known => CLASSES.iter().map(ToString::to_string).collect(),
            SplitKind::Near | SplitKind::Far | SplitKind::Open | SplitKind::Outliers => Vec::new(),
        };
        let ids = (0..split.len()).map(|index| split.id(index)).collect();
        Ok(Self { info: DatasetInfo { name, class_names }, split, ids })
    }
}

impl ImageSource for WorldImages {
    fn info(&self) -> &DatasetInfo {
        &self.info
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn id(&self, i: usize) -> &str {
        &self.ids[i]
    }

    fn label(&self, i: usize) -> i64 {
        self.split.label(i)
    }

    fn get(&self, i: usize) -> Result<EncodedImage, DataError> {
        Ok(EncodedImage::Pixels(self.split.image(i)))
    }

    fn texts(&self, i: usize) -> Texts {
        let scene = self.split.scene(i);
        Texts { captions: vec![scene.caption], tags: scene.tags }
    }

    fn objects(&self, i: usize) -> Vec<Located> {
        self.split.scene(i).located()
    }

    /// The world's version and the split: its images are a pure function of them.
    fn fingerprint(&self) -> String {
        format!("world {WORLD_VERSION} {} {}", self.split.info().name, self.len())
    }
}
