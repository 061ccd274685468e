//! Sine embeddings of positions: of text tokens, of a map's cells and of boxes.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

/// Temperature wherever the configuration does not give another.
pub(super) const TEMPERATURE: f64 = 10_000.0;

/// Numbers `[N, k]` → `[N, k · features]`: of each number x, the sine (even places) and cosine (odd places) of
/// 2π x / temperature^(2 ⌊i / 2⌋ / features). `features` is even.
pub(super) fn sines(numbers: Tensor<2>, features: usize, temperature: f64) -> Tensor<2> {
    let [count, each] = numbers.dims();
    let period = |place: usize| temperature.powf((2 * (place / 2)) as f64 / features as f64) as f32;
    let periods: Vec<f32> = (0..features).map(period).collect();
    let periods = Tensor::<3>::from_data(TensorData::new(periods, [1, 1, features]), &numbers.device());
    let angles = (numbers * TAU).reshape([count, each, 1]) / periods;
    let angles = angles.reshape([count, each, features / 2, 2]);
    let (even, odd) = (angles.clone().narrow(3, 0, 1).sin(), angles.narrow(3, 1, 1).cos());
    Tensor::cat(vec![even, odd], 3).reshape([count, each * features])
}

/// Cells of a map, row by row → `[1, height · width, d]`: sines of the row, then of the column, each counted from 1 and
/// divided by how many there are.
pub(super) fn cells([height, width]: [usize; 2], d: usize, temperature: f64, device: &Device) -> Tensor<3> {
    const EPSILON: f64 = 1e-6;
    let along = |length: usize| {
        let places: Vec<f32> = (1..=length).map(|at| (at as f64 / (length as f64 + EPSILON)) as f32).collect();
        sines(Tensor::from_data(TensorData::new(places, [length, 1]), device), d / 2, temperature)
    };
    let rows = along(height).reshape([height, 1, d / 2]).expand([height, width, d / 2]);
    let columns = along(width).reshape([1, width, d / 2]).expand([height, width, d / 2]);
    Tensor::cat(vec![rows, columns], 2).reshape([1, height * width, d])
}

/// Boxes `[n, Q, 4]` (centre x and y, width, height) → `[n, Q, 2 d]`: sines of y, x, width and height.
pub(super) fn boxes(boxes: Tensor<3>, d: usize) -> Tensor<3> {
    let [n, count, _] = boxes.dims();
    let boxes = boxes.reshape([n * count, 4]);
    let part = |at: usize, length: usize| boxes.clone().narrow(1, at, length);
    let ordered = Tensor::cat(vec![part(1, 1), part(0, 1), part(2, 2)], 1);
    sines(ordered, d / 2, TEMPERATURE).reshape([n, count, 2 * d])
}
