//! What tests of losses share.

use burn::tensor::{Device, Tensor, TensorData};

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
