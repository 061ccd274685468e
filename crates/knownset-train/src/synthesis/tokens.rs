//! From a text feature back to what a generator attends to: FodFoM's fake tokens.
//!
//! CLIP's feature f of a text is its end token's state x times the text projection, f = x · W. So a feature that no text
//! has gives the state that would have led to it, x = f · W⁻¹, and that takes the end token's place among the states of a
//! fixed prompt ("This is a high quality image of"), which a latent diffusion model then attends to.
//!
//! The released code inverts W in f32 and rounds to f16; here it is f64. Where W is not square, the pseudo-inverse gives
//! the shortest state that leads to f, or, where none does, to what is nearest to it. The prompt's states are the
//! caller's: those of the generator's own text encoder, which fills a text up with end tokens, where the released code
//! takes OpenAI's CLIP, which fills up with token 0.

use knownset_core::linalg::{project, pseudo_inverse};
use ndarray::{Array2, ArrayView1, ArrayView2};

/// CLIP's text projection, both ways.
#[derive(Debug, Clone)]
pub struct TextProjection {
    /// `[w, d]`.
    forward: Array2<f64>,
    /// `[d, w]`.
    back: Array2<f64>,
}

/// A projection that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// Weights that are no numbers.
    #[error("the text projection is not finite")]
    NotFinite,
    /// No singular values.
    #[error("the text projection has no decomposition")]
    NoConvergence,
}

impl TextProjection {
    /// `weight` is `[d, w]`, as checkpoints have `text_projection.weight`: a row for each number of a feature.
    pub fn new(weight: ArrayView2<'_, f32>) -> Result<Self, ProjectionError> {
        if weight.iter().any(|value| !value.is_finite()) {
            return Err(ProjectionError::NotFinite);
        }
        let forward = weight.t().mapv(f64::from).as_standard_layout().into_owned();
        let back = pseudo_inverse(weight.t()).map_err(|_| ProjectionError::NoConvergence)?;
        Ok(Self { forward, back })
    }

    /// Length w of a state.
    pub fn width(&self) -> usize {
        self.forward.nrows()
    }

    /// States `[n, w]` → features `[n, d]`.
    ///
    /// # Panics
    /// If the states have another length.
    pub fn features(&self, states: ArrayView2<'_, f32>) -> Array2<f32> {
        project(states, self.forward.view()).mapv(|value| value as f32)
    }

    /// Features `[n, d]` → the states `[n, w]` that lead to them. A row's bits do not depend on the others.
    ///
    /// # Panics
    /// If the features have another length.
    pub fn states(&self, features: ArrayView2<'_, f32>) -> Array2<f32> {
        project(features, self.back.view()).mapv(|value| value as f32)
    }
}

/// A prompt's states `[T, w]` with the one at `end` replaced.
///
/// # Panics
/// If there is no such place, or the lengths differ.
pub fn spliced(prompt: ArrayView2<'_, f32>, end: usize, state: ArrayView1<'_, f32>) -> Array2<f32> {
    let mut context = prompt.to_owned();
    context.row_mut(end).assign(&state);
    context
}

#[cfg(test)]
mod tests {
    use knownset_nn::Weights;
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // f = (x₀ + x₁, 2 x₁), so x = (f₀ − f₁/2, f₁/2).
        let projection = TextProjection::new(array![[1.0, 1.0], [0.0, 2.0]].view()).unwrap();
        assert_eq!(projection.features(array![[3.0, 5.0]].view()), array![[8.0, 10.0]]);
        let states = projection.states(array![[8.0, 10.0], [1.0, 0.0]].view());
        assert!((states - array![[3.0_f32, 5.0], [1.0, 0.0]]).iter().all(|error| error.abs() < 1e-6));
        let context = spliced(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].view(), 1, array![8.0, 9.0].view());
        assert_eq!(context, array![[1.0, 2.0], [8.0, 9.0], [5.0, 6.0]]);
        let odd = TextProjection::new(array![[1.0, f32::NAN]].view());
        assert_eq!(odd.unwrap_err(), ProjectionError::NotFinite);
    }

    #[test]
    fn states_are_numpys() {
        let golden = include_bytes!("../../tests/golden/tokens.safetensors");
        let golden = Weights::from_bytes(golden, "tokens".as_ref()).unwrap();
        let matrix = |name: &str| {
            let tensor = golden.get(name).unwrap();
            let rows = tensor.shape[..tensor.shape.len() - 1].iter().product();
            let columns = tensor.shape[tensor.shape.len() - 1];
            Array2::from_shape_vec((rows, columns), tensor.values.clone()).unwrap()
        };
        for case in ["square", "wide", "tall", "flat"] {
            let projection = TextProjection::new(matrix(&format!("{case}.weight")).view()).unwrap();
            let found = projection.states(matrix(&format!("{case}.features")).view());
            let expected = matrix(&format!("{case}.states"));
            let near = |(found, expected): (&f32, &f32)| (found - expected).abs() < 1e-5 * expected.abs().max(1.0);
            assert!(found.iter().zip(&expected).all(near), "{case}: {found} is not {expected}");
            if case == "square" {
                let (prompt, end) = (matrix("prompt"), golden.get("end").unwrap().values[0] as usize);
                let tokens: Vec<f32> =
                    found.outer_iter().flat_map(|state| spliced(prompt.view(), end, state)).collect();
                assert!(tokens.iter().zip(&matrix("tokens")).all(near));
            }
        }
    }

    proptest! {
        /// A feature's state leads back to the feature, wherever features have no more numbers than states.
        #[test]
        fn there_and_back(values in prop::collection::vec(-1.0_f32..1.0, 28), rows in 1..=4_usize) {
            let (weights, features) = values.split_at(24);
            let mut weight = Array2::from_shape_vec((4, 6), weights.to_vec()).expect("24 numbers");
            // Far enough from singular.
            weight.diag_mut().map_inplace(|value| *value += 6.0);
            let weight = weight.slice(ndarray::s![..rows, ..]);
            let projection = TextProjection::new(weight).expect("finite weights");
            let features = ArrayView2::from_shape((1, rows), &features[..rows]).expect("a row");
            let back = projection.features(projection.states(features).view());
            prop_assert!(back.iter().zip(features).all(|(back, feature)| (back - feature).abs() < 1e-5));
        }
    }
}
