//! What is known about an image without looking at it.

use serde::{Deserialize, Serialize};

use super::canvas::SIDE;
use super::caption::class_noun;
use crate::Located;

/// Everything an image shows, for training and measuring models that read, describe, find or draw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// `split/class/number`; sorted ids are in index order.
    pub id: String,
    /// Name of the split.
    pub split: String,
    /// Name of the class, known or not.
    pub class: String,
    /// Place in [`CLASSES`](super::CLASSES); −1 for classes that are not known.
    pub label: i64,
    /// The object; none in textures and noise.
    pub object: Option<Object>,
    /// Kind of background, texture or noise.
    pub background: String,
    /// Colours named in the background, the one that covers more first.
    pub background_colours: Vec<String>,
    /// Outlines of the shapes strewn about, in drawing order.
    pub clutter: Vec<String>,
    /// One sentence (no capital, no full stop).
    pub caption: String,
    /// Words that apply, most specific last, without repetition.
    pub tags: Vec<String>,
}

impl Scene {
    /// The object by the words for its class and by its own name, with its box; nothing in textures and noise.
    pub fn located(&self) -> Vec<Located> {
        let located = |object: &Object| {
            let mut names = vec![class_noun(&self.class), object.name.clone()];
            names.dedup();
            let Bbox { x, y, width, height } = object.bbox;
            let corners = [x, y, x + width, y + height].map(|pixel| pixel as f32);
            Located { names, corners, image: (SIDE as u32, SIDE as u32) }
        };
        self.object.iter().map(located).collect()
    }
}

/// The object in an image: one drawing of one emoji.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Unicode's name, such as "guide dog".
    pub name: String,
    /// Code points in hexadecimal, joined by hyphens.
    pub codepoint: String,
    /// `noto`, `twemoji` or `fluent`.
    pub style: String,
    /// What the class is a kind of: `animal`, `food`, `object`, `plant`, `transport`, `place`, `sign`, `face`, `person`
    /// or `sky`.
    pub group: String,
    /// Where it is, in pixels.
    pub bbox: Bbox,
    /// Which ninth of the image its middle is in: "upper left", …, "middle".
    pub place: String,
    /// "small", "medium" or "large".
    pub size: String,
    /// The colour of most of it, if one colour has at least half of it.
    pub colour: Option<String>,
    /// The share of it hidden by a shape in front, 0–1.
    pub hidden: f32,
}

/// A box in pixels that holds every pixel at least 10 % covered by the object, hidden or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bbox {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}
