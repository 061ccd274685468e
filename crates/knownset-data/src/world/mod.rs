//! Sprite World: the project's own little ImageNet, drawn on demand.
//!
//! About 350 openly licensed emoji in up to three art styles (Noto, Twemoji, Fluent), composed at 64x64 onto varied
//! backgrounds with position, size, rotation, colour, light, clutter and partial occlusion. Ten known classes; unknown
//! classes near to them; flags, symbols, faces, textures and noise far from them. The split `captions` shows a thousand
//! further emoji, to learn words on; `outliers` those of them that are neither known nor tested, to train against;
//! `synthetic` what a perfect generator of the training images would give. Every image comes with its class, the object's
//! identity, box, colour and place, a caption and tags ([`Scene`]).
//!
//! Image `i` of a split is a pure function of ([`WORLD_VERSION`], split, `i`): any image can be made alone, in any order,
//! on any thread, with the same bytes on every machine.
//!
//! ```
//! use knownset_data::world::World;
//!
//! let test = World::open("sprites", "test")?;
//! assert_eq!(test.id(0), "test/bird/00000");
//! assert_eq!(test.image(0).dimensions(), (64, 64));
//! assert_eq!(test.scene(0).class, "bird");
//! # Ok::<(), knownset_data::world::WorldError>(())
//! ```

mod backgrounds;
mod canvas;
mod caption;
mod colour;
mod compose;
mod dice;
mod figure;
mod noise;
mod open;
mod scene;
mod splits;
mod sprites;
mod textures;

pub use canvas::SIDE;
pub use open::{World, WorldError, WorldSplit};
pub use scene::{Bbox, Object, Scene};
pub use splits::{CLASSES, SPLITS, SplitInfo, SplitKind};
pub use sprites::PackError;

/// Goes up whenever any image, id or caption changes.
pub const WORLD_VERSION: u32 = 1;
