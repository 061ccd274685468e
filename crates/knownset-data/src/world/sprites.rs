//! The bundled packs: emoji drawn in up to three styles, compiled into the crate.

use std::io::{Cursor, Read};
use std::sync::{Arc, OnceLock};

use image::ImageFormat;
use rayon::prelude::*;
use serde::Deserialize;

use super::colour::Rgb;

/// A pack as it is bundled.
struct Bundle {
    name: &'static str,
    archive: &'static [u8],
    index: &'static [u8],
}

/// The emoji of every part but [`Part::Open`].
static SPRITES: Bundle = Bundle {
    name: "sprites",
    archive: include_bytes!("../../assets/sprites.zip"),
    index: include_bytes!("../../assets/sprites.json"),
};

/// The emoji of [`Part::Open`], apart so that only those who open `captions` or `outliers` decode them.
static OPEN: Bundle = Bundle {
    name: "open",
    archive: include_bytes!("../../assets/open.zip"),
    index: include_bytes!("../../assets/open.json"),
};

/// Width and height of a sprite, in pixels.
const SIDE: usize = 64;

/// What is wrong with a bundled pack; seen only by someone who changed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The list of sprites is not the JSON it should be.
    #[error("{pack}.json cannot be read")]
    Index {
        /// Name of the pack.
        pack: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The archive cannot be opened.
    #[error("{pack}.zip cannot be opened")]
    Archive {
        /// Name of the pack.
        pack: &'static str,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A listed sprite is not in the archive.
    #[error("{pack}.zip has no readable {file}")]
    Missing {
        /// Name of the pack.
        pack: &'static str,
        /// Path inside the archive.
        file: String,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A sprite cannot be decoded.
    #[error("the bundled {file} cannot be decoded")]
    Image {
        /// Path inside the archive.
        file: String,
        /// Why.
        source: image::ImageError,
    },
    /// A sprite has another size, or nothing in it.
    #[error("the bundled {file} is {width}x{height}; it must be 64x64 and not empty")]
    Shape {
        /// Path inside the archive.
        file: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// One row of a pack's index: an emoji, the class it belongs to and the styles it is drawn in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emoji {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) class: String,
    pub(super) group: String,
    /// Which splits may show it.
    pub(super) part: Part,
    pub(super) styles: Vec<Style>,
    pub(super) keywords: Vec<String>,
}

/// The parts that emoji are divided into. An emoji has one, so two splits share an emoji only if they share a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    Train,
    HeldOut,
    Near,
    Flags,
    Symbols,
    Faces,
    Open,
}

/// An art style.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Style {
    Noto,
    Twemoji,
    Fluent,
}

impl Style {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Noto => "noto",
            Self::Twemoji => "twemoji",
            Self::Fluent => "fluent",
        }
    }
}

/// One drawing of one emoji.
pub(super) struct Sprite {
    pub(super) emoji: Arc<Emoji>,
    pub(super) style: Style,
    /// Mean colour of the opaque pixels.
    pub(super) mean: Rgb,
    full: Layer,
    half: Layer,
}

impl Sprite {
    /// The colour at (u, v), with the sprite's middle at (0, 0) and its longer side 1 long, for a drawing about
    /// `size` pixels wide: bilinear between premultiplied pixels, from the half-size copy for small drawings.
    pub(super) fn sample(&self, u: f32, v: f32, size: f32) -> [f32; 4] {
        let layer = if size > 36.0 { &self.full } else { &self.half };
        layer.sample((u + 0.5) * layer.side as f32, (v + 0.5) * layer.side as f32)
    }
}

/// Premultiplied pixels of a square picture.
struct Layer {
    pixels: Vec<[u8; 4]>,
    side: usize,
}

impl Layer {
    /// The layer at half the size, each pixel the mean of four.
    fn halved(&self) -> Self {
        let side = self.side / 2;
        let mut pixels = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                let at = |i: usize, j: usize| self.pixels[(2 * y + j) * self.side + 2 * x + i].map(u32::from);
                let four = [at(0, 0), at(1, 0), at(0, 1), at(1, 1)];
                pixels.push([0, 1, 2, 3].map(|c| (four.iter().map(|p| p[c]).sum::<u32>().div_ceil(4)).min(255) as u8));
            }
        }
        Self { pixels, side }
    }

    /// Bilinear; nothing (transparent) outside.
    fn sample(&self, x: f32, y: f32) -> [f32; 4] {
        let (x, y) = (x - 0.5, y - 0.5);
        let (left, top) = (x.floor(), y.floor());
        let (s, t) = (x - left, y - top);
        let (left, top) = (left as i32, top as i32);
        let at = |x: i32, y: i32| {
            let inside = |v: i32| (0..self.side as i32).contains(&v);
            if inside(x) && inside(y) {
                self.pixels[y as usize * self.side + x as usize].map(f32::from)
            } else {
                [0.0; 4]
            }
        };
        let four = [at(left, top), at(left + 1, top), at(left, top + 1), at(left + 1, top + 1)];
        [0, 1, 2, 3].map(|c| {
            let above = four[0][c] + (four[1][c] - four[0][c]) * s;
            let below = four[2][c] + (four[3][c] - four[2][c]) * s;
            above + (below - above) * t
        })
    }
}

type Loaded = OnceLock<Result<Vec<Sprite>, PackError>>;

/// The sprites of every part but [`Part::Open`], decoded once per process, in the order of the index.
pub(super) fn pack() -> Result<&'static [Sprite], &'static PackError> {
    static PACK: Loaded = OnceLock::new();
    PACK.get_or_init(|| load(&SPRITES)).as_deref()
}

/// The sprites of [`Part::Open`], likewise.
pub(super) fn open_pack() -> Result<&'static [Sprite], &'static PackError> {
    static PACK: Loaded = OnceLock::new();
    PACK.get_or_init(|| load(&OPEN)).as_deref()
}

fn load(bundle: &Bundle) -> Result<Vec<Sprite>, PackError> {
    let pack = bundle.name;
    let index: Vec<Emoji> = serde_json::from_slice(bundle.index).map_err(|source| PackError::Index { pack, source })?;
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bundle.archive)).map_err(|source| PackError::Archive { pack, source })?;
    let mut found = Vec::new();
    for emoji in index {
        let emoji = Arc::new(emoji);
        for &style in &emoji.styles {
            let file = format!("{}/{}.png", style.name(), emoji.code);
            let mut png = Vec::new();
            let read = |entry: zip::read::ZipFile<'_, _>| {
                let mut entry = entry.take(1 << 20);
                entry.read_to_end(&mut png).map_err(Into::into)
            };
            archive.by_name(&file).and_then(read).map_err(|source| PackError::Missing {
                pack,
                file: file.clone(),
                source,
            })?;
            found.push((Arc::clone(&emoji), style, file, png));
        }
    }
    let decode = |(emoji, style, file, png): (Arc<Emoji>, Style, String, Vec<u8>)| {
        let full = layer(&file, &png)?;
        let mut sum = [0.0; 4];
        for pixel in &full.pixels {
            sum = [0, 1, 2, 3].map(|c| sum[c] + f32::from(pixel[c]));
        }
        Ok(Sprite { emoji, style, mean: [0, 1, 2].map(|c| sum[c] / sum[3] * 255.0), half: full.halved(), full })
    };
    found.into_par_iter().map(decode).collect()
}

fn layer(file: &str, png: &[u8]) -> Result<Layer, PackError> {
    let picture = image::load_from_memory_with_format(png, ImageFormat::Png)
        .map_err(|source| PackError::Image { file: file.to_owned(), source })?
        .to_rgba8();
    let (width, height) = picture.dimensions();
    let right_size = width as usize == SIDE && height as usize == SIDE;
    if !right_size || picture.pixels().all(|p| p.0[3] == 0) {
        return Err(PackError::Shape { file: file.to_owned(), width, height });
    }
    let premultiply = |p: &image::Rgba<u8>| {
        let [r, g, b, a] = p.0.map(u32::from);
        [r, g, b].map(|v| ((v * a + 127) / 255) as u8)
    };
    let pixels = picture.pixels().map(|p| {
        let [r, g, b] = premultiply(p);
        [r, g, b, p.0[3]]
    });
    Ok(Layer { pixels: pixels.collect(), side: SIDE })
}
