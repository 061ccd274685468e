//! What several recipes do with tensors.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use knownset_nn::HostTensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Rows shorter than this have no direction.
const SHORTEST: f64 = 1e-12;

/// Rows of `[n, d]` divided by their Euclidean lengths. A row without a direction stays as it is, and so does its
/// gradient, which a division by next to nothing would blow up.
pub(crate) fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    let squares = rows.clone().square().sum_dim(1);
    let short = squares.clone().lower_elem(SHORTEST * SHORTEST);
    rows / squares.mask_fill(short, 1.0).sqrt()
}

/// A linear layer without bias, then batch normalisation.
#[derive(Module, Debug)]
pub(crate) struct LinearNorm {
    linear: Linear,
    norm: BatchNorm,
}

impl LinearNorm {
    pub(crate) fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let linear = LinearConfig::new(inputs, outputs).with_bias(false).init(device);
        Self { linear, norm: BatchNormConfig::new(outputs).init(device) }
    }

    /// `[n, inputs]` → `[n, outputs]`.
    pub(crate) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.norm.forward(self.linear.forward(input))
    }

    /// Takes the layer of that name out of trained tensors and gives what it does in evaluation as a plain linear
    /// layer: weight `[outputs, inputs]`, W γ / √(σ² + ε), and bias `[1, outputs]`, β − μ γ / √(σ² + ε).
    pub(crate) fn folded(tensors: &mut BTreeMap<String, HostTensor>, name: &str) -> [HostTensor; 2] {
        let mut of = |tensor: &str| take(tensors, &format!("{name}.{tensor}"));
        let mut weight = of("linear.weight");
        let [gamma, beta] = [of("norm.weight").values, of("norm.bias").values];
        let [mean, variance] = [of("norm.running_mean").values, of("norm.running_var").values];
        let epsilon = BatchNormConfig::new(1).epsilon;
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt()).collect();
        let rows = weight.values.chunks_exact_mut(weight.shape[1]);
        rows.zip(&scale).for_each(|(row, scale)| row.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32));
        let bias = beta.iter().zip(&mean).zip(&scale).map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32);
        let bias = row(bias.collect());
        [weight, bias]
    }
}

/// Standard normal numbers, by Box and Muller's transform.
pub(crate) fn normals(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let normal = |_| {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * random.random::<f64>()).cos()) as f32
    };
    (0..count).map(normal).collect()
}

/// Takes a tensor, which the network has, out of its trained ones.
pub(crate) fn take(tensors: &mut BTreeMap<String, HostTensor>, name: &str) -> HostTensor {
    tensors.remove(name).expect("every tensor of a network is among its trained ones")
}

/// One row.
pub(crate) fn row(values: Vec<f32>) -> HostTensor {
    HostTensor { shape: vec![1, values.len()], values }
}

#[cfg(test)]
mod tests {
    use knownset_nn::network::{Init, Named, Rule, initialise_with, to_weights};

    use super::*;
    use crate::augment::stream;
    use crate::testing::{gradients_agree, rows, values};

    #[test]
    fn rows_get_length_one_and_zeros_stay() {
        let zeros = rows(&[&[0.0, 0.0]]).require_grad();
        let unit = unit_rows(zeros.clone());
        assert_eq!(values(&unit), [0.0, 0.0]);
        let gradient = zeros.grad(&unit.sum().backward()).unwrap();
        assert_eq!(values(&gradient), [1.0, 1.0]);
        let unit = values(&unit_rows(rows(&[&[3.0, -4.0]])));
        assert!((unit[0] - 0.6).abs() < 1e-7 && (unit[1] + 0.8).abs() < 1e-7, "{unit:?}");
        gradients_agree(rows(&[&[1.0, 2.0, -0.5]]), |rows| unit_rows(rows).square().slice([0..1, 0..1]).sum());
    }

    /// Mean 0 to 4.5 of its deviations, variance 1 and fourth moment 3.
    #[test]
    fn normals_have_the_moments_of_the_normal_distribution() {
        let numbers = normals(&mut stream(1, 2, 3), 20_000);
        let moment = |power| numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / 20_000.0;
        let (mean, variance, fourth) = (moment(1), moment(2), moment(4));
        assert!(mean.abs() < 0.032 && (variance - 1.0).abs() < 0.045 && (fourth - 3.0).abs() < 0.32);
    }

    #[derive(Module, Debug)]
    struct Holder {
        layer: LinearNorm,
    }

    impl Named for Holder {
        fn checkpoint_name(&self, path: &[String]) -> String {
            path.join(".")
        }
    }

    #[test]
    fn a_folded_layer_does_what_the_layer_does_in_evaluation() {
        let holder = Holder { layer: LinearNorm::new(5, 3, &Device::flex()) };
        let holder = initialise_with(holder, 1, |name, _| {
            Rule::Set(if name.ends_with("running_var") { Init::Constant(0.4) } else { Init::Normal(1.0) })
        });
        let input = rows(&[&[0.5, -1.0, 2.0, 0.0, 1.0], &[1.0, 1.0, -0.3, 0.2, 0.7]]).inner();
        let expected = values(&holder.layer.forward(input.clone()));
        let mut tensors = to_weights(&holder).into_tensors();
        let [weight, bias] = LinearNorm::folded(&mut tensors, "layer");
        assert_eq!((weight.shape, bias.shape, tensors.len()), (vec![3, 5], vec![1, 3], 0));
        let input = values(&input);
        for (found, expected) in (0..6).map(|i| (i / 3, i % 3)).zip(&expected).map(|((n, o), expected)| {
            let products = (0..5).map(|d| input[n * 5 + d] * f64::from(weight.values[o * 5 + d]));
            (products.sum::<f64>() + f64::from(bias.values[o]), expected)
        }) {
            assert!((found - expected).abs() < 1e-5, "{found} against {expected}");
        }
    }
}
