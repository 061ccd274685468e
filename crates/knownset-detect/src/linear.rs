//! A linear layer in the layout that scoring wants.

use knownset_core::Head;
use knownset_core::linalg::project;
use knownset_core::state::{State, StateError};
use ndarray::{Array1, Array2, ArrayView2};

use crate::input::{FitError, FitInput};
use crate::rows::map_blocks;
use crate::spec::shaped;
use crate::words::by_row;

/// Outputs = weight · f + bias.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[d, m]`.
    pub(crate) weight: Array2<f64>,
    /// `[m]`.
    pub(crate) bias: Array1<f64>,
}

impl Linear {
    pub(crate) fn new(head: &Head) -> Self {
        Self::from_f64(head.weight.t().mapv(f64::from), head.bias.mapv(f64::from))
    }

    /// From `[d, m]` weights.
    pub(crate) fn from_f64(weight: Array2<f64>, bias: Array1<f64>) -> Self {
        Self { weight: weight.as_standard_layout().into_owned(), bias }
    }

    /// The layer a recipe trained on the embedding, with `outputs` of them where that is settled.
    pub(crate) fn of_parts(
        input: &FitInput<'_>,
        [weight, bias]: [&'static str; 2],
        outputs: Option<usize>,
    ) -> Result<Self, FitError> {
        let weight = input.part(weight, outputs, input.embedding()?.ncols())?;
        let bias = input.part(bias, Some(1), weight.nrows())?.row(0).mapv(f64::from);
        Ok(Self::from_f64(weight.t().mapv(f64::from), bias))
    }

    /// One number per row, from its outputs.
    pub(crate) fn score(&self, rows: ArrayView2<'_, f32>, score: impl Fn(&[f64]) -> f64 + Sync + Send) -> Vec<f64> {
        map_blocks(rows, |rows| by_row(&(project(rows, self.weight.view()) + &self.bias), &score))
    }

    pub(crate) fn state(&self) -> State {
        State::new().with("weight", self.weight.clone()).with("bias", self.bias.clone())
    }

    pub(crate) fn load(state: &State, width: usize) -> Result<Self, StateError> {
        let bias: Array1<f64> = state.f64("bias")?;
        let weight = shaped("weight", state.f64("weight")?, &[width, bias.len()])?;
        Ok(Self::from_f64(weight, bias))
    }
}
