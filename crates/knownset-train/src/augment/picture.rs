//! A square picture as numbers.

/// Red, green and blue, row by row, each value in 0..1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) side: usize,
    /// `[3, side, side]`.
    pub(super) values: Vec<f32>,
}

impl Picture {
    /// Calls `value(channel, x, y)` for every value, channel by channel, row by row.
    pub(super) fn from_fn(side: usize, mut value: impl FnMut(usize, usize, usize) -> f32) -> Self {
        let mut values = Vec::with_capacity(3 * side * side);
        for channel in 0..3 {
            for y in 0..side {
                values.extend((0..side).map(|x| value(channel, x, y)));
            }
        }
        Self { side, values }
    }

    pub(super) fn at(&self, channel: usize, x: usize, y: usize) -> f32 {
        self.values[(channel * self.side + y) * self.side + x]
    }

    /// Changes every value by itself.
    pub(super) fn map(mut self, change: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|value| *value = change(*value));
        self
    }

    /// Changes every value with the one at its place in `other`, a picture of the same side.
    pub(super) fn with(mut self, other: &Self, change: impl Fn(f32, f32) -> f32) -> Self {
        self.values.iter_mut().zip(&other.values).for_each(|(value, other)| *value = change(*value, *other));
        self
    }

    /// Changes the red, green and blue of every pixel.
    pub(super) fn map_colours(mut self, change: impl Fn([f32; 3]) -> [f32; 3]) -> Self {
        let plane = self.side * self.side;
        for at in 0..plane {
            let places = [at, plane + at, 2 * plane + at];
            let colour = change(places.map(|place| self.values[place]));
            places.into_iter().zip(colour).for_each(|(place, value)| self.values[place] = value);
        }
        self
    }

    /// Changes red, green and blue as wholes.
    pub(super) fn map_planes(mut self, change: impl Fn(&mut [f32])) -> Self {
        self.values.chunks_mut(self.side * self.side).for_each(change);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_colours() {
        let picture = Picture::from_fn(2, |channel, x, y| (100 * channel + 10 * y + x) as f32);
        assert_eq!(picture.values, [0.0, 1.0, 10.0, 11.0, 100.0, 101.0, 110.0, 111.0, 200.0, 201.0, 210.0, 211.0]);
        assert_eq!(picture.at(2, 1, 0), 201.0);
        let turned = picture.clone().map_colours(|[r, g, b]| [g, b, r]);
        assert_eq!([0, 1, 2].map(|channel| turned.at(channel, 1, 1)), [111.0, 211.0, 11.0]);
        let doubled = picture.clone().map(|value| value + value);
        assert_eq!(doubled, picture.clone().with(&picture, |a, b| a + b));
        let black = picture.map_planes(|plane| plane.fill(0.0));
        assert_eq!(black.values, [0.0; 12]);
    }
}
