//! How an image becomes a network's input. The description lives here because it belongs to the weights
//! (backbones state it) while `knownset-data` carries it out.

use serde::{Deserialize, Serialize};

/// Resampling filter, with Pillow's antialiasing when shrinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Nearest neighbour.
    Nearest,
    /// Triangle filter.
    Bilinear,
    /// Cubic with a = −0.5, as Pillow's `BICUBIC`.
    Bicubic,
}

/// What to do with an image whose size is not the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Resize {
    /// The shorter side becomes `size`, the longer keeps the aspect ratio (torchvision's `Resize(int)`).
    Shorter {
        /// Target length of the shorter side in pixels.
        size: u32,
        /// Resampling filter.
        filter: Filter,
    },
    /// Both sides become `size`, whatever the aspect ratio.
    Exact {
        /// Target width and height in pixels.
        size: u32,
        /// Resampling filter.
        filter: Filter,
    },
}

/// RGB image → `[3, size, size]` f32 input: resize, centre crop to `size`, divide by 255, subtract `mean`,
/// divide by `std`. An image that already has the target size passes the resize untouched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Resize before cropping.
    pub resize: Resize,
    /// Side of the square centre crop, the network's input side in pixels.
    pub size: u32,
    /// Per-channel mean in 0–1.
    pub mean: [f32; 3],
    /// Per-channel standard deviation in 0–1.
    pub std: [f32; 3],
}

impl Preprocess {
    /// ImageNet's channel mean.
    pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// ImageNet's channel standard deviation.
    pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
}

/// RGB image → `[3, h, w]` f32 input of a network that takes images of any size: resize within bounds, divide by 255,
/// subtract `mean`, divide by `std`. Nothing is cropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaledPreprocess {
    /// Length of the shorter side in pixels, where `longest` allows it.
    pub shortest: u32,
    /// Most pixels of the longer side.
    pub longest: u32,
    /// Resampling filter.
    pub filter: Filter,
    /// Per-channel mean in 0–1.
    pub mean: [f32; 3],
    /// Per-channel standard deviation in 0–1.
    pub std: [f32; 3],
}

impl ScaledPreprocess {
    /// Width and height after the resize, at least one pixel each. Roundings are those of transformers' DETR processors:
    /// a shorter side that `longest` bounds is rounded to even, the longer side is rounded down.
    pub fn size(&self, width: u32, height: u32) -> (u32, u32) {
        let (short, long) = (f64::from(width.min(height)), f64::from(width.max(height)));
        let (shortest, longest) = (f64::from(self.shortest), f64::from(self.longest));
        let exact = if long / short * shortest > longest { longest * short / long } else { shortest };
        let side = exact.round_ties_even();
        if short == side {
            (width, height)
        } else if width < height {
            ((side as u32).max(1), ((exact * long / short) as u32).max(1))
        } else {
            (((exact * long / short) as u32).max(1), (side as u32).max(1))
        }
    }
}
