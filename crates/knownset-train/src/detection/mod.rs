//! What a detector learns from, and how its word is held against what is there.

mod assignment;
mod loss;

pub(crate) use loss::{Target, loss};

use crate::pictures::Pictures;

/// Something that a picture shows, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// What it can be called, the kind it belongs to first.
    pub names: Vec<String>,
    /// Left, top, right and bottom as parts of the picture's width and height.
    pub corners: [f32; 4],
}

impl Thing {
    /// Centre, width and height.
    pub(crate) fn place(&self) -> [f32; 4] {
        let [left, top, right, bottom] = self.corners;
        [f32::midpoint(left, right), f32::midpoint(top, bottom), right - left, bottom - top]
    }
}

/// Left, top, right and bottom of a box given by centre, width and height.
pub(crate) fn corners([x, y, width, height]: [f32; 4]) -> [f32; 4] {
    [x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height]
}

/// Pictures of things whose names and places are known.
pub trait Scenes: Pictures {
    /// What a picture shows; it may be nothing.
    fn things(&self, index: usize) -> &[Thing];
}
