//! What a recipe trained beside the classifier: named constants, and what its rotation head says about turned images.
//!
//! [`Features::parts`] holds any name; the constants are those that detectors read. d is the width of the embedding, K
//! the number of classes; a vector is one row, a number one row of one.

use crate::features::{Features, FeaturesError, finite, finite_rows};

/// `[1, d]`, `conf-branch`: weight of the layer whose sigmoid is the confidence.
pub const CONFIDENCE_WEIGHT: &str = "confidence.weight";
/// `[1, 1]`: its bias.
pub const CONFIDENCE_BIAS: &str = "confidence.bias";
/// `[K, d]`, `mcd`: weight of the second head; the head of the features is the mean of both.
pub const SECOND_WEIGHT: &str = "second.weight";
/// `[1, K]`: its bias.
pub const SECOND_BIAS: &str = "second.bias";
/// `[1, K]`, `vos`: w of the weighted energy log Σ relu(w_c) exp(z_c).
pub const ENERGY_WEIGHT: &str = "energy.weight";
/// `[1, 2]`, `vos`: slope and offset of the logistic layer on the energy.
pub const ENERGY_LOGISTIC: &str = "energy.logistic";
/// `[1, 1]`, `g-odin`: 0 inner product, 1 cosine, 2 Euclidean.
pub const GODIN_KIND: &str = "godin.kind";
/// `[K, d]`, `g-odin`: the vectors that h compares the embedding with.
pub const GODIN_WEIGHT: &str = "godin.weight";
/// `[1, K]`, `g-odin`: the bias of the inner products.
pub const GODIN_BIAS: &str = "godin.bias";
/// `[1, 1]`, `t2fnorm`: τ.
pub const T2FNORM_TAU: &str = "t2fnorm.tau";
/// `[m, d]`, `rts`: weight of the layer that gives the logarithms of m variances.
pub const RTS_WEIGHT: &str = "rts.weight";
/// `[1, m]`: its bias.
pub const RTS_BIAS: &str = "rts.bias";
/// `[4, d]`, `rot-pred`: weight of the layer that tells how an image is turned.
pub const ROTATION_WEIGHT: &str = "rotation.weight";
/// `[1, 4]`: its bias.
pub const ROTATION_BIAS: &str = "rotation.bias";
/// `[1, d]`, `fodfom`: weight of the logit of everything else, the class behind the K known ones.
pub const OUTLIER_WEIGHT: &str = "outlier.weight";
/// `[1, 1]`: its bias.
pub const OUTLIER_BIAS: &str = "outlier.bias";
/// `[K, d]`, `tagood`: the centres of the classes.
pub const CENTRES: &str = "centres";
/// `[1, 1]`, `tagood`: into how many equal groups the dimensions are split.
pub const GROUPS: &str = "groups";

/// By how many quarters an image is turned at most, plus one, and the classes of a rotation head.
pub const TURNS: usize = 4;

impl Features {
    /// That every number is finite, and that rotations are four logits for each of four turns.
    pub(crate) fn check_parts(&self) -> Result<(), FeaturesError> {
        for (name, array) in &self.parts {
            finite_rows(&format!("parts.{name}"), array.view(), &[])?;
        }
        let Some(rotations) = &self.rotations else { return Ok(()) };
        if rotations.shape()[1..] != [TURNS, TURNS] {
            return Err(FeaturesError::Rotations { shape: rotations.shape().to_vec() });
        }
        finite("rotations", rotations.view(), &self.ids)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ndarray::{Array2, Array3, array};

    use super::*;

    fn three() -> Features {
        Features {
            logits: Some(Array2::zeros((3, 2))),
            parts: BTreeMap::from([(OUTLIER_BIAS.into(), array![[1.0]])]),
            rotations: Some(Array3::from_shape_fn((3, 4, 4), |(row, turn, class)| {
                (row * 16 + turn * 4 + class) as f32
            })),
            ..Features::default()
        }
    }

    #[test]
    fn selecting_rows_keeps_the_parts_and_the_rotations_of_the_rows() {
        let features = three();
        features.check().unwrap();
        let picked = features.select(&[2]);
        assert_eq!(picked.parts, features.parts);
        assert_eq!(picked.rotations.unwrap()[(0, 1, 2)], 38.0);
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        let message = |change: &dyn Fn(&mut Features)| {
            let mut features = three();
            change(&mut features);
            features.check().unwrap_err().to_string()
        };
        let nan = message(&|features| drop(features.parts.insert(CENTRES.into(), array![[0.0], [f32::NAN]])));
        assert_eq!(nan, "parts.centres holds NaN in row 1, column 0");
        let rows = message(&|features| features.rotations = Some(Array3::zeros((2, 4, 4))));
        assert_eq!(rows, "logits has shape [3, 2] but rotations has shape [2, 4, 4]");
        let turns = message(&|features| features.rotations = Some(Array3::zeros((3, 4, 3))));
        assert_eq!(turns, "rotations has shape [3, 4, 3], expected [n, 4, 4]: four logits for each of four turns");
        let infinite =
            message(&|features| features.rotations.iter_mut().for_each(|array| array[(1, 2, 3)] = f32::INFINITY));
        assert_eq!(infinite, "rotations holds inf in row 1, column 11");
    }
}
