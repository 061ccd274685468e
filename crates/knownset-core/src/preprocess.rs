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
