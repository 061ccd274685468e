//! The latest embeddings of every class, for recipes that make outliers from them.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::Array2;

use crate::network::{Kept, keep, kept};

/// The last N embeddings of every class, saved with the weights so that a resumed run goes on with them.
#[derive(Module, Debug)]
pub(crate) struct Queue {
    /// `[K, N, d]`.
    rows: Kept<3>,
    /// `[K]`: how many rows a class has had; from N on it goes round between N and 2N, so that it stays exact.
    had: Kept<1>,
}

impl Queue {
    /// An empty queue of `length` rows of `width` for each class; to be initialised with zeros.
    pub(crate) fn new([classes, length, width]: [usize; 3], device: &Device) -> Self {
        Self {
            rows: Param::from_tensor(Tensor::zeros([classes, length, width], device)),
            had: Param::from_tensor(Tensor::zeros([classes], device)),
        }
    }

    /// Adds embeddings `[n, d]` of these classes; each takes the place of its class's oldest once that class has N.
    pub(crate) fn push(&mut self, embeddings: &Tensor<2>, labels: &[usize]) {
        let (rows, had) = (kept(&self.rows), kept(&self.had));
        let (shape, device) = (rows.dims(), rows.device());
        let [classes, length, width] = shape;
        let (mut rows, mut had) = (values(rows), values(had));
        let embeddings = values(embeddings.clone());
        for (embedding, &label) in embeddings.chunks_exact(width).zip(labels) {
            let place = label * length + had[label] as usize % length;
            rows[place * width..(place + 1) * width].copy_from_slice(embedding);
            had[label] += 1.0;
            if had[label] as usize == 2 * length {
                had[label] = length as f32;
            }
        }
        keep(&mut self.rows, Tensor::from_data(TensorData::new(rows, shape), &device));
        keep(&mut self.had, Tensor::from_data(TensorData::new(had, [classes]), &device));
    }

    /// The rows of every class so far, `[at most N, d]` each, in no order.
    pub(crate) fn classes(&self) -> Vec<Array2<f32>> {
        let rows = kept(&self.rows);
        let [_, length, width] = rows.dims();
        let rows = values(rows);
        let classes = rows.chunks_exact(length * width).zip(values(kept(&self.had)));
        let full = |(rows, had): (&[f32], f32)| {
            let count = (had as usize).min(length);
            Array2::from_shape_vec((count, width), rows[..count * width].to_vec()).expect("as many values as rows")
        };
        classes.map(full).collect()
    }
}

/// A tensor's values, row by row.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks are made of f32")
}

/// Rows as a tensor without a gradient.
pub(crate) fn tensor(rows: Array2<f32>, device: &Device) -> Tensor<2> {
    let shape = [rows.nrows(), rows.ncols()];
    Tensor::from_data(TensorData::new(rows.into_iter().collect(), shape), device)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::testing::rows;

    #[test]
    fn every_class_keeps_its_last_rows() {
        let mut queue = Queue::new([2, 3, 2], &Device::flex().autodiff());
        assert!(queue.classes().iter().all(ndarray::ArrayBase::is_empty));
        queue.push(&rows(&[&[1.0, 1.0], &[2.0, 2.0], &[9.0, 9.0]]), &[0, 0, 1]);
        assert_eq!(queue.classes(), [array![[1.0, 1.0], [2.0, 2.0]], array![[9.0, 9.0]]]);
        queue.push(&rows(&[&[3.0, 3.0], &[4.0, 4.0]]), &[0, 0]);
        assert_eq!(queue.classes()[0], array![[4.0, 4.0], [2.0, 2.0], [3.0, 3.0]]);
        for value in 5..99 {
            let value = value as f32;
            queue.push(&rows(&[&[value, value]]), &[0]);
        }
        let mut last: Vec<f32> = queue.classes()[0].column(0).to_vec();
        last.sort_by(f32::total_cmp);
        assert_eq!(last, [96.0, 97.0, 98.0]);
        assert_eq!(queue.classes()[1].nrows(), 1);
    }
}
