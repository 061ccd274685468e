//! How a map is cut into windows, and which tokens of a window see one another.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::swin::padded;

/// What is added to a weight between tokens that were no neighbours before the map was shifted.
const APART: f32 = -100.0;

/// The windows of a map, for blocks that shift it and for blocks that do not.
pub(super) struct Windows {
    side: usize,
    /// Height and width of the map.
    map: [usize; 2],
    /// Height and width in windows.
    grid: [usize; 2],
    shift: usize,
    index: Tensor<1, Int>,
    mask: Option<Tensor<4>>,
}

impl Windows {
    /// A map smaller than a window is padded to one, and shifted, as any other.
    pub(super) fn new(side: usize, map: [usize; 2], device: &Device) -> Self {
        let grid = map.map(|length| length.div_ceil(side));
        let shift = side / 2;
        let index = Tensor::from_data(TensorData::new(relative(side), [side.pow(4)]), device);
        let mask = (shift > 0).then(|| {
            let shape = [grid[0] * grid[1], 1, side * side, side * side];
            Tensor::from_data(TensorData::new(apart(side, grid, shift), shape), device)
        });
        Self { side, map, grid, shift, index, mask }
    }

    /// `[n, h, w, c]` → `[n · windows, side², c]`; padded with zeros at the right and the bottom to whole windows, and shifted.
    pub(super) fn cut(&self, map: Tensor<4>, shifted: bool) -> Tensor<3> {
        let [n, _, _, channels] = map.dims();
        let map = self.roll(padded(map, [1, 2], self.side), shifted, -1);
        let [rows, columns] = self.grid;
        let windows = map.reshape([n, rows, self.side, columns, self.side, channels]).swap_dims(2, 3);
        windows.reshape([n * rows * columns, self.side * self.side, channels])
    }

    /// The inverse of [`cut`](Self::cut).
    pub(super) fn join(&self, windows: Tensor<3>, shifted: bool) -> Tensor<4> {
        let [count, _, channels] = windows.dims();
        let ([rows, columns], side) = (self.grid, self.side);
        let n = count / (rows * columns);
        let map = windows.reshape([n, rows, columns, side, side, channels]).swap_dims(2, 3);
        let map = self.roll(map.reshape([n, rows * side, columns * side, channels]), shifted, 1);
        map.narrow(1, 0, self.map[0]).narrow(2, 0, self.map[1])
    }

    fn roll(&self, map: Tensor<4>, shifted: bool, sign: i64) -> Tensor<4> {
        if shifted && self.shift > 0 {
            let by = sign * self.shift as i64;
            map.roll_dim(by, 1).roll_dim(by, 2)
        } else {
            map
        }
    }

    /// A table `[(2 side − 1)², heads]` of biases by relative position → what is added to the weights: `[1, heads, side²,
    /// side²]`, or one for each window of the n maps where they are shifted.
    pub(super) fn bias(&self, table: Tensor<2>, shifted: bool, n: usize) -> Tensor<4> {
        let (area, [_, heads]) = (self.side * self.side, table.dims());
        let bias = table.select(0, self.index.clone()).reshape([area, area, heads]).permute([2, 0, 1]).unsqueeze::<4>();
        match &self.mask {
            Some(mask) if shifted => (bias + mask.clone()).repeat_dim(0, n),
            _ => bias,
        }
    }
}

/// For every two tokens of a window, the row of their relative position in the table.
fn relative(side: usize) -> Vec<i64> {
    let area = side * side;
    let row = |pair: usize| {
        let (from, to) = (pair / area, pair % area);
        let down = from / side + side - 1 - to / side;
        let right = from % side + side - 1 - to % side;
        (down * (2 * side - 1) + right) as i64
    };
    (0..area * area).map(row).collect()
}

/// [`APART`] between tokens that a shift brought together from opposite ends of the map, 0 elsewhere; window by window.
fn apart(side: usize, [rows, columns]: [usize; 2], shift: usize) -> Vec<f32> {
    // The last window along an axis holds what was there and, behind, what came round.
    let region = |at: usize, windows: usize| {
        let length = windows * side;
        usize::from(at >= length - side) + usize::from(at >= length - shift)
    };
    let area = side * side;
    let mut mask = Vec::with_capacity(rows * columns * area * area);
    for window in 0..rows * columns {
        let place = |token: usize| {
            let row = window / columns * side + token / side;
            let column = window % columns * side + token % side;
            (region(row, rows), region(column, columns))
        };
        let places: Vec<_> = (0..area).map(place).collect();
        for from in &places {
            mask.extend(places.iter().map(|to| if from == to { 0.0 } else { APART }));
        }
    }
    mask
}
