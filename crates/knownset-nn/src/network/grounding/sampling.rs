//! Reading a map between its cells, and the weighted sum of what is read.

use burn::tensor::activation::relu;
use burn::tensor::ops::GridSampleOptions;
use burn::tensor::{Int, Tensor};

/// Maps of no more cells are read by products of matrices, whose gradients are products too; those of cells that are looked
/// up one by one have to be scattered one by one.
const SMALL: usize = 128;

/// What is read of a map: `values` `[n, rows · columns, heads, size]` at `places` `[n, Q, heads, points, 2]`, x and y as
/// parts of the map's width and height, bilinearly between the centres of cells and 0 outside, times `weights`
/// `[n, Q, heads, points]` and summed → `[n, Q, heads, size]`.
pub(super) fn read(values: Tensor<4>, map: [usize; 2], places: Tensor<5>, weights: Tensor<4>) -> Tensor<4> {
    if map[0] * map[1] <= SMALL {
        by_products(values, map, places, weights)
    } else {
        by_look_up(values, map, places, weights)
    }
}

fn by_look_up(values: Tensor<4>, [rows, columns]: [usize; 2], places: Tensor<5>, weights: Tensor<4>) -> Tensor<4> {
    let ([n, _, heads, size], [_, queries, _, points]) = (values.dims(), weights.dims());
    let map = values.permute([0, 2, 3, 1]).reshape([n * heads, size, rows, columns]);
    // The corners of a map, and not the centres of its outer cells, are at −1 and 1.
    let grid = (places * 2.0 - 1.0).swap_dims(1, 2).reshape([n * heads, queries, points, 2]);
    let samples = map.grid_sample_2d(grid, GridSampleOptions::default());
    let weights = weights.swap_dims(1, 2).reshape([n * heads, 1, queries, points]);
    (samples * weights).sum_dim(3).reshape([n, heads, size, queries]).permute([0, 3, 1, 2])
}

/// A cell at distance x and y of a place, in cells, counts max(0, 1 − |x|) max(0, 1 − |y|): what is read of all cells by
/// all points of a query is a product of two matrices, rows by points by columns.
fn by_products(values: Tensor<4>, [rows, columns]: [usize; 2], places: Tensor<5>, weights: Tensor<4>) -> Tensor<4> {
    let ([n, _, heads, _], [_, queries, _, points]) = (values.dims(), weights.dims());
    // `[n, heads, Q, points, cells]` along an axis.
    let along = |axis: usize, cells: usize| {
        let place = places.clone().narrow(4, axis, 1).swap_dims(1, 2) * cells as f64 - 0.5;
        let centres = Tensor::<1, Int>::arange(0..cells as i64, &place.device()).float();
        relu((place - centres.reshape([1, 1, 1, 1, cells])).abs() * -1.0 + 1.0)
    };
    let down = along(1, rows) * weights.swap_dims(1, 2).reshape([n, heads, queries, points, 1]);
    let counts = down.swap_dims(3, 4).matmul(along(0, columns)).reshape([n, heads, queries, rows * columns]);
    counts.matmul(values.swap_dims(1, 2)).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    const MAP: [usize; 2] = [3, 5];
    const SHAPE: [usize; 4] = [2, 4, 3, 2];

    /// Values, places inside and outside of the map, and weights; the same numbers every time.
    fn inputs(device: &Device) -> (Tensor<4>, Tensor<5>, Tensor<4>) {
        let numbers = |seed: usize, count: usize, scale: f32| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 * scale).collect()
        };
        let [n, queries, heads, points] = SHAPE;
        let cells = MAP[0] * MAP[1];
        let values = TensorData::new(numbers(1, n * cells * heads * 2, 2.0), [n, cells, heads, 2]);
        let places = numbers(2, n * queries * heads * points * 2, 1.4).into_iter().map(|place| place - 0.2);
        let places = TensorData::new(places.collect::<Vec<_>>(), [n, queries, heads, points, 2]);
        let weights = TensorData::new(numbers(3, n * queries * heads * points, 1.0), SHAPE);
        (Tensor::from_data(values, device), Tensor::from_data(places, device), Tensor::from_data(weights, device))
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[track_caller]
    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn both_ways_read_the_same_and_have_the_same_gradients() {
        let device = Device::flex().autodiff();
        let read = |read: fn(Tensor<4>, [usize; 2], Tensor<5>, Tensor<4>) -> Tensor<4>| {
            let (cells, places, weights) = inputs(&device);
            let (cells, places, weights) = (cells.require_grad(), places.require_grad(), weights.require_grad());
            let read = read(cells.clone(), MAP, places.clone(), weights.clone());
            let gradients = read.clone().powi_scalar(2).sum().backward();
            let of = |gradient: Option<Vec<f32>>| gradient.unwrap_or_default();
            let all = [
                of(cells.grad(&gradients).map(values)),
                of(places.grad(&gradients).map(values)),
                of(weights.grad(&gradients).map(values)),
            ];
            (values(read), all)
        };
        let ((looked_up, expected), (multiplied, found)) = (read(by_look_up), read(by_products));
        assert!(looked_up.iter().any(|value| value.abs() > 0.1) && expected.iter().all(|all| !all.is_empty()));
        near(&multiplied, &looked_up);
        for (found, expected) in found.iter().zip(&expected) {
            near(found, expected);
        }
    }

    /// Of two cells, 1 and 3, a quarter of the map to the right of its middle is the centre of the second; half a cell
    /// outside, half of the first is left.
    #[test]
    fn one_row_by_hand() {
        let device = Device::flex();
        let cells = Tensor::<4>::from_data([[[[1.0]], [[3.0]]]], &device);
        for (x, expected) in [(0.25, 1.0), (0.5, 2.0), (0.75, 3.0), (0.0, 0.5), (-0.25, 0.0), (1.1, 0.9)] {
            let place = Tensor::<5>::from_data([[[[[x, 0.5]]]]], &device);
            for read in [by_look_up, by_products] {
                let weight = Tensor::<4>::from_data([[[[1.0]]]], &device);
                near(&values(read(cells.clone(), [1, 2], place.clone(), weight)), &[expected]);
            }
        }
    }
}
