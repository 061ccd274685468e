//! What tests of operations share.

use burn::tensor::{Device, Tensor, TensorData};

/// Numbers of no pattern in −1..1, with gradients.
pub(super) fn numbers<const D: usize>(shape: [usize; D], salt: usize) -> Tensor<D> {
    let number = |i: usize| ((i * 7919 + salt * 104_729) % 1999) as f32 / 999.0 - 1.0;
    let values: Vec<f32> = (0..shape.iter().product()).map(number).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

#[track_caller]
pub(super) fn assert_near<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (found.into_data(), expected.into_data());
    let largest = expected.iter::<f64>().map(f64::abs).fold(1e-3, f64::max);
    for (found, expected) in found.iter::<f64>().zip(expected.iter::<f64>()) {
        assert!((found - expected).abs() < 2e-5 * largest, "{what}: {found}, not {expected} (largest {largest})");
    }
}

/// A sum with another weight for every element, so that every element has a gradient of its own.
pub(super) fn loss(output: Tensor<4>) -> Tensor<1> {
    let weights = numbers(output.dims(), 9).detach();
    (output * weights).sum()
}
