//! What image processors of a checkpoint folder have in common.

use knownset_core::Filter;
use serde_json::Value;

use super::{CheckpointError, Section};

impl Section {
    /// `resample`, by Pillow's numbers.
    pub(crate) fn filter(&self, default: Filter) -> Result<Filter, CheckpointError> {
        match (self.get("resample"), self.get("resample").as_u64()) {
            (Value::Null, _) => Ok(default),
            (_, Some(0)) => Ok(Filter::Nearest),
            (_, Some(2)) => Ok(Filter::Bilinear),
            (_, Some(3)) => Ok(Filter::Bicubic),
            (other, _) => Err(self.wrong(format!("resample is {other}, only 0, 2 and 3 are supported"))),
        }
    }

    /// Images are resized, and their values divided by 255.
    pub(crate) fn expect_resized_and_rescaled(&self) -> Result<(), CheckpointError> {
        if !self.flag("do_resize", true)? || !self.flag("do_rescale", true)? {
            return Err(self.wrong("images are not resized or not rescaled, which is not supported"));
        }
        let factor = self.number("rescale_factor", 1.0 / 255.0)?;
        if (factor * 255.0 - 1.0).abs() > 1e-6 {
            return Err(self.wrong(format!("rescale_factor is {factor}, only 1/255 is supported")));
        }
        Ok(())
    }

    /// A side in pixels.
    pub(crate) fn pixels(&self, key: &str) -> Result<u32, CheckpointError> {
        self.pixel_count(key, self.get(key))
    }

    /// The same of a value that lies elsewhere than under the key.
    pub(crate) fn pixel_count(&self, key: &str, value: &Value) -> Result<u32, CheckpointError> {
        let pixels = value.as_u64().filter(|pixels| (1..=8192).contains(pixels));
        pixels
            .map(|pixels| pixels as u32)
            .ok_or_else(|| self.wrong(format!("{key} is {value}, expected 1 to 8192 pixels")))
    }

    /// A number for each colour.
    pub(crate) fn channels(&self, key: &str, default: [f32; 3]) -> Result<[f32; 3], CheckpointError> {
        if self.get(key).is_null() {
            return Ok(default);
        }
        let numbers =
            self.get(key).as_array().map(|numbers| numbers.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
        match numbers.as_deref() {
            Some(&[red, green, blue]) => Ok([red as f32, green as f32, blue as f32]),
            _ => Err(self.wrong(format!("{key} is {}, expected three numbers", self.get(key)))),
        }
    }

    /// The same, all above 0.
    pub(crate) fn deviations(&self, key: &str, default: [f32; 3]) -> Result<[f32; 3], CheckpointError> {
        let deviations = self.channels(key, default)?;
        if deviations.iter().all(|&deviation| deviation > 0.0) {
            Ok(deviations)
        } else {
            Err(self.wrong(format!("{key} is {deviations:?}, expected numbers above 0")))
        }
    }
}
