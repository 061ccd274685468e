//! What tests of losses share.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::Weights;

/// A tensor that keeps gradients, from rows.
pub(crate) fn rows(rows: &[&[f32]]) -> Tensor<2> {
    let (n, width) = (rows.len(), rows[0].len());
    Tensor::from_data(TensorData::new(rows.concat(), [n, width]), &Device::flex().autodiff())
}

/// The value of a loss.
pub(crate) fn number(loss: &Tensor<1>) -> f64 {
    loss.clone().into_data().iter::<f64>().next().unwrap()
}

/// Holds the gradient of a loss against central differences, each to 2 % of the largest and 1e-3 at least.
///
/// Losses are f32: differences of 1e-2 keep their noise below that.
pub(crate) fn gradients_agree(at: Tensor<2>, loss: impl Fn(Tensor<2>) -> Tensor<1>) {
    const STEP: f32 = 1e-2;
    let [n, width] = at.dims();
    let device = at.device();
    let point = at.clone().detach().require_grad();
    let gradient = point.grad(&loss(point.clone()).backward()).expect("the loss depends on its input");
    let gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
    let values: Vec<f32> = at.into_data().iter::<f32>().collect();
    let moved = |place: usize, by: f32| {
        let mut values = values.clone();
        values[place] += by;
        number(&loss(Tensor::from_data(TensorData::new(values, [n, width]), &device)))
    };
    let largest = gradient.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (place, &found) in gradient.iter().enumerate() {
        let expected = (moved(place, STEP) - moved(place, -STEP)) / f64::from(2.0 * STEP);
        let near = (found - expected).abs() <= (0.02 * largest).max(1e-3);
        assert!(near, "gradient {place} is {found}, differences say {expected}");
    }
    assert!(largest > 1e-4, "the gradient says nothing: {gradient:?}");
}

/// Tensors that the script `tests/golden/make_{file}.py` made with PyTorch.
pub(crate) fn golden(file: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    Golden(Weights::open(&folder.join(format!("{file}.safetensors"))).expect("a golden file that can be read"))
}

/// Tensors by name; those of one case begin with its name and a dot.
pub(crate) struct Golden(Weights);

impl Golden {
    /// A tensor that keeps gradients.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let tensor = self.0.get(name).unwrap_or_else(|| panic!("no golden tensor {name}"));
        let data = TensorData::new(tensor.values.clone(), tensor.shape.clone());
        Tensor::from_data(data, &Device::flex().autodiff())
    }

    /// Labels `[n]`.
    pub(crate) fn labels(&self, name: &str) -> Vec<usize> {
        self.tensor::<1>(name).into_data().iter::<f32>().map(|label| label as usize).collect()
    }

    /// Holds a loss of the case's inputs `CASE.INPUT` against `CASE.loss`, to a relative error of 1e-5, and its
    /// gradients against `CASE.INPUT.gradient`, each to 1e-4 of the largest.
    pub(crate) fn agrees<const N: usize>(
        &self,
        case: &str,
        inputs: [&str; N],
        loss: impl FnOnce([Tensor<2>; N]) -> Tensor<1>,
    ) {
        let points = inputs.map(|input| self.tensor::<2>(&format!("{case}.{input}")).require_grad());
        let loss = loss(points.clone());
        let (found, expected) = (number(&loss), number(&self.tensor::<1>(&format!("{case}.loss"))));
        assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{case}: the loss is {found}, not {expected}");
        let gradients = loss.backward();
        for (input, point) in inputs.into_iter().zip(points) {
            let found = point.grad(&gradients).unwrap_or_else(|| panic!("{case} does not depend on {input}"));
            let found: Vec<f64> = found.into_data().iter::<f64>().collect();
            let expected = self.tensor::<2>(&format!("{case}.{input}.gradient")).into_data();
            let expected: Vec<f64> = expected.iter::<f64>().collect();
            let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
            assert!(largest > 0.0, "{case}: the gradient of {input} says nothing");
            for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let near = (found - expected).abs() <= 1e-4 * largest;
                assert!(near, "{case}: gradient {place} of {input} is {found}, not {expected}");
            }
        }
    }
}
