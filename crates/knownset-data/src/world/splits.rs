//! The splits of the world: their sizes, their classes and what may be seen in them.

use super::sprites::Part;

/// What a split is to a model trained on the known classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitKind {
    /// Known classes.
    Known,
    /// Unknown classes of the same groups as the known ones (other animals, other food, …).
    Near,
    /// Something else altogether.
    Far,
    /// The known classes and a thousand other things, to learn words on. Nothing that another split is tested with.
    Open,
    /// Unknown things to train against. Nothing that another split is tested with.
    Outliers,
}

impl SplitKind {
    /// Whether a split is for testing, and shows what a model trained on the known classes should not know.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Near | Self::Far)
    }
}

/// One split of the world.
#[derive(Debug)]
pub struct SplitInfo {
    /// Its name, as in `World::open("sprites", name)`.
    pub name: &'static str,
    /// How many images it has.
    pub images: usize,
    /// What it is to a model trained on the known classes.
    pub kind: SplitKind,
    /// One line on what it shows.
    pub doc: &'static str,
    /// Its classes, sorted. Each has the same number of images, but in splits of the kinds [`SplitKind::Open`] and
    /// [`SplitKind::Outliers`], where every drawing has the same number (give or take one).
    pub classes: &'static [&'static str],
    pub(super) content: Content,
}

/// What a split's images are made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// The sprites of these parts that are of the split's classes.
    Sprites(&'static [Part]),
    Textures,
    Noise,
}

/// The ten known classes, sorted; a class's label is its place here.
pub const CLASSES: &[&str] =
    &["bird", "building", "cat", "clock", "drink", "flower", "fruit", "sea-animal", "shoe", "vehicle"];

const NEAR: &[&str] = &["aircraft", "boat", "bug", "clothing", "dish", "dog", "hoofed", "rodent", "tree", "vegetable"];

/// The classes of `captions`: the ten known ones among them.
#[rustfmt::skip]
const OPEN: &[&str] = &[
    "accessory", "aircraft", "amphibian", "animal-part", "arrow", "art-supply", "athlete", "audio-device", "award",
    "bag", "ball", "bell", "bird", "body-part", "book", "bread", "bug", "building", "button", "cable-car",
    "calendar", "camera", "car-part", "cat", "charm", "chart", "city", "clock", "clothing", "cloud", "computer",
    "container", "crowd", "decoration", "dinosaur", "dish", "disk", "document", "dragon", "drink", "element",
    "envelope", "face", "film", "flag", "flower", "folder", "fruit", "furniture", "game", "hand", "heart", "hoofed",
    "household-item", "ingredient", "instrument", "key", "lamp", "landscape", "leaf", "lock", "machine-part",
    "mailbox", "mammal", "mask", "material", "measuring-tool", "meat", "medical-tool", "memorial", "money",
    "monument", "moon", "mountain", "musical-note", "mythical-being", "nest", "nut", "office-supply",
    "optical-device", "pen", "person", "phone", "planet", "reptile", "ride", "rodent", "sea-animal", "shape",
    "shoe", "sign", "snowman", "spacecraft", "specimen", "speech-bubble", "sports-gear", "star", "storm", "sweet",
    "symbol", "tent", "ticket", "toiletry", "tool", "toy", "train", "tree", "umbrella", "utensil", "vegetable",
    "vehicle", "weapon", "worker",
];

/// The classes of `outliers`: those of `captions` but for
/// - the known ones, and cities, which are buildings;
/// - the classes of every test split, whatever they mean there (a bell, since `noise` has a class of that name);
/// - all signs (arrows, buttons, hearts, shapes, speech bubbles) and masks, of which `symbols` and `faces` have some.
#[rustfmt::skip]
const OUTLIERS: &[&str] = &[
    "accessory", "amphibian", "animal-part", "art-supply", "athlete", "audio-device", "award", "bag", "ball",
    "body-part", "book", "bread", "cable-car", "calendar", "camera", "car-part", "charm", "chart", "cloud", "computer",
    "container", "crowd", "decoration", "dinosaur", "disk", "document", "dragon", "element", "envelope", "film",
    "folder", "furniture", "game", "hand", "household-item", "ingredient", "instrument", "key", "lamp", "landscape",
    "leaf", "lock", "machine-part", "mailbox", "mammal", "material", "measuring-tool", "meat", "medical-tool",
    "memorial", "money", "monument", "moon", "mountain", "musical-note", "mythical-being", "nest", "nut",
    "office-supply", "optical-device", "pen", "person", "phone", "planet", "reptile", "ride", "snowman", "spacecraft",
    "specimen", "sports-gear", "star", "storm", "sweet", "tent", "ticket", "toiletry", "tool", "toy", "train",
    "umbrella", "utensil", "weapon", "worker",
];

/// Every split.
///
/// `train` and {`val`, `test`} share no emoji: whatever `test` shows, training never saw, in any style. The held-out emoji
/// were chosen by hand to have kin in training (a goose, where training has a swan), so that a small network trained on
/// four thousand images can tell most of them: accuracies here compare methods, they do not measure generalisation. `val` and `test`
/// show the same held-out emoji in other images, so that they are exchangeable: a threshold calibrated on `val` keeps its
/// promise on `test`.
///
/// `captions` is to train models that read: its captions and tags name a thousand things besides what `train` shows, but
/// no drawing that is tested is in it. Textures and noise are left out, since their splits come from the same
/// generators. It has kin of what is tested (a badger, where `near` has a raccoon) and words of their classes ("dish", "flag").
///
/// `synthetic` is what a perfect generator of `train` would give: the same drawings in other images, none of them an image
/// of `train`, and no held-out emoji.
///
/// `outliers` is to train against what is not known: emoji of `captions` that are of no known class. It shares with the test
/// splits no emoji and no class, but backgrounds, clutter and light, as every split with an object does. It has no signs, no
/// masks, no textures and no noise, but kin of what is tested near and far (the badger; a moon with a face).
pub const SPLITS: &[SplitInfo] = &[
    SplitInfo {
        name: "train",
        images: 4000,
        kind: SplitKind::Known,
        doc: "the known classes, to train on",
        classes: CLASSES,
        content: Content::Sprites(&[Part::Train]),
    },
    SplitInfo {
        name: "val",
        images: 1000,
        kind: SplitKind::Known,
        doc: "the known classes, drawn with held-out sprites, to calibrate on",
        classes: CLASSES,
        content: Content::Sprites(&[Part::HeldOut]),
    },
    SplitInfo {
        name: "test",
        images: 1000,
        kind: SplitKind::Known,
        doc: "the known classes, drawn with held-out sprites",
        classes: CLASSES,
        content: Content::Sprites(&[Part::HeldOut]),
    },
    SplitInfo {
        name: "near",
        images: 1000,
        kind: SplitKind::Near,
        doc: "unknown classes of the same groups: dogs, boats, vegetables, trees, …",
        classes: NEAR,
        content: Content::Sprites(&[Part::Near]),
    },
    SplitInfo {
        name: "flags",
        images: 500,
        kind: SplitKind::Far,
        doc: "flags of countries",
        classes: &["flag"],
        content: Content::Sprites(&[Part::Flags]),
    },
    SplitInfo {
        name: "symbols",
        images: 500,
        kind: SplitKind::Far,
        doc: "signs, arrows and digits",
        classes: &["symbol"],
        content: Content::Sprites(&[Part::Symbols]),
    },
    SplitInfo {
        name: "faces",
        images: 500,
        kind: SplitKind::Far,
        doc: "smileys and masks",
        classes: &["face"],
        content: Content::Sprites(&[Part::Faces]),
    },
    SplitInfo {
        name: "textures",
        images: 500,
        kind: SplitKind::Far,
        doc: "patterns without any object",
        classes: &["bricks", "cells", "chevrons", "dots", "marble", "plaid", "rings", "scales", "tiles", "weave"],
        content: Content::Textures,
    },
    SplitInfo {
        name: "noise",
        images: 500,
        kind: SplitKind::Far,
        doc: "random pixels, blocks and fog",
        classes: &["bell", "blocks", "fog", "pepper", "uniform"],
        content: Content::Noise,
    },
    SplitInfo {
        name: "captions",
        images: 20_000,
        kind: SplitKind::Open,
        doc: "to learn words on: the known classes' training emoji and a thousand emoji that no test split shows",
        classes: OPEN,
        content: Content::Sprites(&[Part::Train, Part::Open]),
    },
    SplitInfo {
        name: "synthetic",
        images: 10_000,
        kind: SplitKind::Known,
        doc: "the known classes, more images of the emoji that train shows",
        classes: CLASSES,
        content: Content::Sprites(&[Part::Train]),
    },
    SplitInfo {
        name: "outliers",
        images: 4000,
        kind: SplitKind::Outliers,
        doc: "to train against: emoji of captions, none of a class that is known or tested",
        classes: OUTLIERS,
        content: Content::Sprites(&[Part::Open]),
    },
];
