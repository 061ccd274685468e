//! The gradients of a whole network: added up over batches, cut to a length.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The gradients scaled down, if they are longer, to the Euclidean length `longest` over all parameters together.
pub(crate) fn clipped<M: Module>(network: &M, gradients: GradientsParams, longest: f64) -> GradientsParams {
    let mut length = Length { gradients: &gradients, squares: 0.0 };
    network.visit(&mut length);
    let length = length.squares.sqrt();
    if length <= longest || !length.is_finite() {
        return gradients;
    }
    let mut scaled = Scaled { from: gradients, to: GradientsParams::new(), factor: longest / length };
    network.visit(&mut scaled);
    scaled.to
}

struct Length<'a> {
    gradients: &'a GradientsParams,
    squares: f64,
}

impl ModuleVisitor for Length<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.squares += gradient.into_data().iter::<f64>().map(|value| value * value).sum::<f64>();
        }
    }
}

struct Scaled {
    from: GradientsParams,
    to: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.to.register(param.id, gradient * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    /// The loss 3 w₀ + 4 b has the gradient (3, 4) of length 5.
    #[test]
    fn the_length_is_over_all_parameters() {
        let device = Device::flex().autodiff();
        let layer: Linear = LinearConfig::new(1, 1).init(&device);
        let bias = layer.bias.as_ref().unwrap();
        let cut = |longest| {
            let loss = layer.weight.val().sum() * 3.0 + bias.val().sum() * 4.0;
            let gradients = clipped(&layer, GradientsParams::from_grads(loss.backward(), &layer), longest);
            let value = |data: burn::tensor::TensorData| data.iter::<f64>().next().unwrap();
            let weight = gradients.get::<2>(layer.weight.id).unwrap();
            [value(weight.into_data()), value(gradients.get::<1>(bias.id).unwrap().into_data())]
        };
        assert_eq!(cut(5.0), [3.0, 4.0]);
        let half = cut(2.5);
        assert!((half[0] - 1.5).abs() < 1e-6 && (half[1] - 2.0).abs() < 1e-6, "{half:?}");
    }
}
