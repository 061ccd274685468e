//! What a recipe trained beside the network, as its weights file holds it, and images turned for its rotation head.

use std::collections::BTreeMap;

use knownset_core::Head;
use knownset_core::parts::{ROTATION_BIAS, ROTATION_WEIGHT, TURNS};
use ndarray::{Array2, ArrayView4, Axis};

use crate::error::NnError;
use crate::weights::Weights;

/// A tensor called `recipe.NAME` is not the network's: it becomes the part NAME of its features.
pub const RECIPE_PREFIX: &str = "recipe.";

/// Every part by its name; a vector becomes one row, a number one row of one.
///
/// # Errors
/// A tensor of more than two dimensions.
pub fn parts(weights: &Weights) -> Result<BTreeMap<String, Array2<f32>>, NnError> {
    let named = weights.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(RECIPE_PREFIX)?, tensor)));
    let matrix = |(name, tensor): (&str, &crate::HostTensor)| {
        let shape = match tensor.shape[..] {
            [] => Some((1, 1)),
            [columns] => Some((1, columns)),
            [rows, columns] => Some((rows, columns)),
            _ => None,
        };
        let array = shape.and_then(|shape| Array2::from_shape_vec(shape, tensor.values.clone()).ok());
        let array = array.ok_or_else(|| odd(weights, name, &tensor.shape, "at most two dimensions".into()))?;
        Ok((name.to_owned(), array))
    };
    named.map(matrix).collect()
}

/// The head that tells how an image of embedding width `width` is turned, if the parts have one.
pub(crate) fn rotation_head(
    parts: &BTreeMap<String, Array2<f32>>,
    width: usize,
    weights: &Weights,
) -> Result<Option<Head>, NnError> {
    let half = |present, absent| NnError::HalfPart { path: weights.path().map(Into::into), present, absent };
    let (weight, bias) = match (parts.get(ROTATION_WEIGHT), parts.get(ROTATION_BIAS)) {
        (Some(weight), Some(bias)) => (weight, bias),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(half(ROTATION_WEIGHT, ROTATION_BIAS)),
        (None, Some(_)) => return Err(half(ROTATION_BIAS, ROTATION_WEIGHT)),
    };
    for (name, array, expected) in [(ROTATION_WEIGHT, weight, [TURNS, width]), (ROTATION_BIAS, bias, [1, TURNS])] {
        if array.shape() != expected {
            return Err(odd(weights, name, array.shape(), format!("{expected:?}")));
        }
    }
    Ok(Some(Head { weight: weight.clone(), bias: bias.row(0).to_owned() }))
}

fn odd(weights: &Weights, name: &str, shape: &[usize], expected: String) -> NnError {
    NnError::Part { path: weights.path().map(Into::into), name: name.into(), shape: shape.into(), expected }
}

/// Square images `[n, 3, s, s]` turned counter-clockwise by so many quarters: the same values in other places.
pub(crate) fn turned(mut images: ArrayView4<'_, f32>, quarters: usize) -> ArrayView4<'_, f32> {
    for _ in 0..quarters {
        images.swap_axes(2, 3);
        images.invert_axis(Axis(2));
    }
    images
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, array, s};

    use super::*;

    #[test]
    fn a_quarter_is_counter_clockwise_and_four_are_none() {
        let image = Array4::from_shape_fn((1, 1, 2, 2), |(_, _, y, x)| (y * 2 + x) as f32);
        let square = |quarters| turned(image.view(), quarters).slice(s![0, 0, .., ..]).to_owned();
        assert_eq!(square(0), array![[0.0, 1.0], [2.0, 3.0]]);
        assert_eq!(square(1), array![[1.0, 3.0], [0.0, 2.0]]);
        assert_eq!(square(2), array![[3.0, 2.0], [1.0, 0.0]]);
        assert_eq!(square(3), array![[2.0, 0.0], [3.0, 1.0]]);
        assert_eq!(square(4), square(0));
    }
}
