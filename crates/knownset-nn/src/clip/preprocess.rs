//! `preprocessor_config.json` and OpenCLIP's `preprocess_cfg` → how images become the tower's input.

use std::path::Path;

use knownset_core::{Filter, Preprocess, Resize};
use serde_json::Value;

use crate::checkpoint::{CheckpointError, Section};

/// OpenAI's channel mean.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// OpenAI's channel standard deviation.
const DEVIATION: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// What the folder says; without a word, what OpenAI's and OpenCLIP's models do: the shorter side resized bicubically.
pub(super) fn read(folder: &Path, side: usize) -> Result<Preprocess, CheckpointError> {
    let [hugging_face, processor, open_clip] =
        ["preprocessor_config.json", "processor_config.json", "open_clip_config.json"].map(|file| folder.join(file));
    let (preprocess, section) = if hugging_face.is_file() {
        let section = Section::open(&hugging_face)?;
        (from_hugging_face(&section, Processor::Clip)?, section)
    } else if processor.is_file() {
        let section = Section::open(&processor)?.object(&["image_processor"]);
        (from_hugging_face(&section, Processor::Clip)?, section)
    } else if open_clip.is_file() {
        let section = Section::open(&open_clip)?.object(&["preprocess_cfg"]);
        (from_open_clip(&section, side)?, section)
    } else {
        return Ok(usual(side as u32));
    };
    sized(preprocess, &section, side)
}

/// `preprocessor_config.json`'s content for a tower that takes images of `side` pixels.
pub(super) fn from_section(section: &Section, side: usize) -> Result<Preprocess, CheckpointError> {
    sized(from_hugging_face(section, Processor::Clip)?, section, side)
}

/// What a BLIP folder says; without a word, images resized bicubically to a square.
pub(crate) fn blip(folder: &Path, side: usize) -> Result<Preprocess, CheckpointError> {
    let [alone, processor] = ["preprocessor_config.json", "processor_config.json"].map(|file| folder.join(file));
    let section = if alone.is_file() {
        Some(Section::open(&alone)?)
    } else if processor.is_file() {
        let whole = Section::open(&processor)?;
        whole.get("image_processor").is_object().then(|| whole.object(&["image_processor"]))
    } else {
        None
    };
    let Some(section) = section else {
        let size = side as u32;
        return Ok(Preprocess { resize: Resize::Exact { size, filter: Filter::Bicubic }, ..usual(size) });
    };
    blip_from_section(&section, side)
}

/// The same from the content of `preprocessor_config.json`.
pub(crate) fn blip_from_section(section: &Section, side: usize) -> Result<Preprocess, CheckpointError> {
    sized(from_hugging_face(section, Processor::Blip)?, section, side)
}

/// Whose defaults absent keys have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processor {
    /// The shorter side becomes 224 pixels, and a square is cut out.
    Clip,
    /// Both sides become 384 pixels.
    Blip,
}

fn sized(preprocess: Preprocess, section: &Section, side: usize) -> Result<Preprocess, CheckpointError> {
    if preprocess.size as usize == side {
        Ok(preprocess)
    } else {
        Err(section.wrong(format!("images become {} pixels wide, the image tower takes {side}", preprocess.size)))
    }
}

/// OpenAI's preprocessing for a tower that takes images of `size` pixels.
pub(crate) const fn usual(size: u32) -> Preprocess {
    Preprocess { resize: Resize::Shorter { size, filter: Filter::Bicubic }, size, mean: MEAN, std: DEVIATION }
}

fn from_hugging_face(section: &Section, processor: Processor) -> Result<Preprocess, CheckpointError> {
    let filter = section.filter(Filter::Bicubic)?;
    section.expect_resized_and_rescaled()?;
    let (size, square) = match section.get("size") {
        Value::Object(_) => {
            let size = section.object(&["size"]);
            match (size.get("shortest_edge"), size.get("height"), size.get("width")) {
                (Value::Null, height, width) if height == width => (size.pixels("height")?, true),
                (_, Value::Null, Value::Null) => (size.pixels("shortest_edge")?, false),
                _ => return Err(section.wrong(format!("size is {}", section.get("size")))),
            }
        }
        Value::Null if processor == Processor::Clip => (224, false),
        Value::Null => (384, true),
        _ => (section.pixels("size")?, processor == Processor::Blip),
    };
    let crops = section.flag("do_center_crop", processor == Processor::Clip)?;
    if !crops && !square {
        return Err(section.wrong("images are neither cropped nor resized to a square"));
    }
    let crop = match section.get("crop_size") {
        _ if !crops => size,
        Value::Object(_) => {
            let crop = section.object(&["crop_size"]);
            if crop.get("height") != crop.get("width") {
                return Err(
                    section.wrong(format!("crop_size is {}, only squares are supported", section.get("crop_size")))
                );
            }
            crop.pixels("height")?
        }
        Value::Null => 224,
        _ => section.pixels("crop_size")?,
    };
    if crop > size {
        return Err(section.wrong(format!("crop_size {crop} is larger than size {size}, which is not supported")));
    }
    let resize = if square { Resize::Exact { size, filter } } else { Resize::Shorter { size, filter } };
    let (mean, std) = if section.flag("do_normalize", true)? {
        (section.channels("image_mean", MEAN)?, section.deviations("image_std", DEVIATION)?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    Ok(Preprocess { resize, size: crop, mean, std })
}

fn from_open_clip(section: &Section, side: usize) -> Result<Preprocess, CheckpointError> {
    let size = match section.get("size") {
        Value::Array(sides) if sides.len() == 2 && sides[0] == sides[1] => section.pixel_count("size", &sides[0])?,
        Value::Null => side as u32,
        _ => section.pixels("size")?,
    };
    let filter = match section.get("interpolation") {
        Value::Null => Filter::Bicubic,
        Value::String(name) if name == "bicubic" => Filter::Bicubic,
        Value::String(name) if name == "bilinear" => Filter::Bilinear,
        other => {
            return Err(section.wrong(format!("interpolation is {other}, only bicubic and bilinear are supported")));
        }
    };
    let resize = match section.get("resize_mode") {
        Value::Null => Resize::Shorter { size, filter },
        Value::String(name) if name == "shortest" => Resize::Shorter { size, filter },
        Value::String(name) if name == "squash" => Resize::Exact { size, filter },
        other => return Err(section.wrong(format!("resize_mode is {other}, only shortest and squash are supported"))),
    };
    Ok(Preprocess { resize, size, mean: section.channels("mean", MEAN)?, std: section.deviations("std", DEVIATION)? })
}
