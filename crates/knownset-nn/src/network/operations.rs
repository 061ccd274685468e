//! Convolution and batch normalisation with gradients of our own, on the CPU: burn's tensors in, burn's tensors out.
//!
//! Tensors are `[n, c, h, w]`, but lie in memory with the channels last, as a permuted view; one that lies otherwise is
//! copied. The number of channels of a result is a multiple of 16.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::kernels::{Filter, Norm, convolve, input_gradient, moments, weight_gradient};

/// Whether these operations are there for a tensor.
pub(super) fn usable(input: &Tensor<4>, outputs: usize) -> bool {
    let device = input.device().without_autodiff();
    device == Device::flex() && input.dtype() == DType::F32 && outputs.is_multiple_of(16)
}

/// Convolution without bias, padding half the (odd) kernel: `[n, c, h, w]` and `[c', c, k, k]` → `[n, c', h', w']`.
pub(super) fn convolution(input: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    if !input.device().is_autodiff() {
        let convolved = Convolved { images: Pixels::new(&plain(input)), weight: contiguous(&plain(weight)), stride };
        return Tensor::from_primitive::<Flex>(convolved.forward());
    }
    let ((images, images_node), (weight, weight_node)) = (recorded(input), recorded(weight));
    let convolved = Convolved { images: Pixels::new(&images), weight: contiguous(&weight), stride };
    let output = convolved.forward();
    let output = match Convolution.prepare::<NoCheckpointing>([images_node, weight_node]).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(convolved, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// Scale and shift after a normalisation, and what comes after it.
pub(super) struct Affine {
    /// γ `[c]`.
    pub(super) gamma: Tensor<1>,
    /// β `[c]`.
    pub(super) beta: Tensor<1>,
    /// ε.
    pub(super) epsilon: f64,
    /// Whether a ReLU follows.
    pub(super) relu: bool,
}

/// Normalises by known moments `[c]`, adds, then ReLU; for tensors without gradients.
pub(super) fn normalise(
    input: Tensor<4>,
    affine: Affine,
    [mean, variance]: [Tensor<1>; 2],
    add: Option<Tensor<4>>,
) -> Tensor<4> {
    let pixels = Pixels::new(&plain(input));
    let add = add.map(|add| Pixels::new(&plain(add)));
    let Affine { gamma, beta, epsilon, relu } = affine;
    let [gamma, beta, mean, variance] = [gamma, beta, mean, variance].map(|tensor| values(&plain(tensor)));
    let norm = Norm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, epsilon, relu };
    let result = norm.forward(pixels.values(), add.as_ref().map(Pixels::values));
    Tensor::from_primitive::<Flex>(pixels.like(result).tensor())
}

/// Normalises by the batch's own moments, adds, then ReLU; gives the moments (the variance is the biased one) too.
pub(super) fn normalise_by_batch(
    input: Tensor<4>,
    affine: Affine,
    add: Option<Tensor<4>>,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let device = input.device();
    let Affine { gamma, beta, epsilon, relu } = affine;
    let ((input, input_node), (gamma, gamma_node), (beta, beta_node)) =
        (recorded(input), recorded(gamma), recorded(beta));
    let (input, gamma, beta) = (Pixels::new(&input), values(&gamma), values(&beta));
    let (mean, variance) = moments(input.values(), gamma.len());
    let moments = [&mean, &variance].map(|moment| Tensor::from_data(TensorData::from(moment.as_slice()), &device));
    let norm = Norm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, epsilon, relu };
    let nodes = [input_node, gamma_node, beta_node];
    let output = match add.map(recorded) {
        None => {
            let result = input.like(norm.forward(input.values(), None));
            let output = result.tensor();
            match Normalisation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(step) => {
                    step.finish(Normalised { input, result, gamma, beta, mean, variance, epsilon, relu }, output)
                }
                OpsKind::UnTracked(step) => step.finish(output),
            }
        }
        Some((add, add_node)) => {
            let result = input.like(norm.forward(input.values(), Some(Pixels::new(&add).values())));
            let output = result.tensor();
            let [input_node, gamma_node, beta_node] = nodes;
            let nodes = [input_node, gamma_node, beta_node, add_node];
            match NormalisationAndSum.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(step) => {
                    step.finish(Normalised { input, result, gamma, beta, mean, variance, epsilon, relu }, output)
                }
                OpsKind::UnTracked(step) => step.finish(output),
            }
        }
    };
    (Tensor::from_primitive::<Autodiff<Flex>>(output), moments)
}

#[derive(Debug)]
struct Convolution;

/// What a convolution's gradients need.
#[derive(Debug, Clone)]
struct Convolved {
    images: Pixels,
    weight: FlexTensor,
    stride: usize,
}

impl Convolved {
    fn filter(&self) -> Filter<'_> {
        let shape = self.weight.shape();
        Filter {
            shape: [shape[0], shape[1], shape[2], shape[3]],
            stride: self.stride,
            lead: shape[2] / 2,
            weight: self.weight.storage::<f32>(),
            bias: &[],
        }
    }

    fn forward(&self) -> FlexTensor {
        let filter = self.filter();
        let sides = self.images.sides();
        let values = convolve(self.images.values(), sides, filter);
        let [height, width] = sides.map(|side| filter.side(side));
        Pixels::from_values(values, [self.images.count(), height, width, filter.shape[0]]).tensor()
    }
}

impl Backward<Flex, 2> for Convolution {
    type State = Convolved;

    fn backward(self, ops: Ops<Convolved, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels::new(&gradients.consume::<Flex>(&ops.node));
        let (images, filter) = (&ops.state.images, ops.state.filter());
        let [images_node, weight_node] = ops.parents;
        if let Some(node) = weight_node {
            let weight = weight_gradient(images.values(), gradient.values(), images.sides(), filter);
            let weight = FlexTensor::from_data(TensorData::new(weight, filter.shape));
            gradients.register::<Flex>(node.id, weight);
        }
        if let Some(node) = images_node {
            let input = input_gradient(gradient.values(), images.sides(), filter);
            gradients.register::<Flex>(node.id, images.like(input).tensor());
        }
    }
}

#[derive(Debug)]
struct Normalisation;

#[derive(Debug)]
struct NormalisationAndSum;

/// What a normalisation's gradients need.
#[derive(Debug, Clone)]
struct Normalised {
    input: Pixels,
    result: Pixels,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    epsilon: f64,
    relu: bool,
}

impl Normalised {
    /// Of input, γ, β and what was added.
    fn gradients(&self, gradient: &Pixels, wants_sum: bool) -> ([FlexTensor; 3], Option<FlexTensor>) {
        let Self { input, result, gamma, beta, mean, variance, epsilon, relu } = self;
        let norm = Norm { gamma, beta, mean, variance, epsilon: *epsilon, relu: *relu };
        let found = norm.backward(input.values(), result.values(), gradient.values(), wants_sum);
        let vector = |values: Vec<f32>| {
            let length = values.len();
            FlexTensor::from_data(TensorData::new(values, [length]))
        };
        let sum = found.sum.map(|sum| input.like(sum).tensor());
        ([input.like(found.input).tensor(), vector(found.gamma), vector(found.beta)], sum)
    }
}

impl Backward<Flex, 3> for Normalisation {
    type State = Normalised;

    fn backward(self, ops: Ops<Normalised, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels::new(&gradients.consume::<Flex>(&ops.node));
        let (found, _) = ops.state.gradients(&gradient, false);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl Backward<Flex, 4> for NormalisationAndSum {
    type State = Normalised;

    fn backward(self, ops: Ops<Normalised, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels::new(&gradients.consume::<Flex>(&ops.node));
        let (found, sum) = ops.state.gradients(&gradient, ops.parents[3].is_some());
        for (node, gradient) in ops.parents.into_iter().zip(found.into_iter().chain(sum)) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// A batch `[n, h, w, c]`, contiguous.
#[derive(Debug, Clone)]
pub(super) struct Pixels(pub(super) FlexTensor);

impl Pixels {
    /// Of `[n, c, h, w]`.
    fn new(tensor: &FlexTensor) -> Self {
        Self(contiguous(&tensor.permute(&[0, 2, 3, 1])))
    }

    pub(super) fn from_values(values: Vec<f32>, shape: [usize; 4]) -> Self {
        Self(FlexTensor::from_data(TensorData::new(values, shape)))
    }

    /// Values of the same shape.
    pub(super) fn like(&self, values: Vec<f32>) -> Self {
        let shape = self.0.shape();
        Self::from_values(values, [shape[0], shape[1], shape[2], shape[3]])
    }

    pub(super) fn values(&self) -> &[f32] {
        self.0.storage()
    }

    pub(super) fn count(&self) -> usize {
        self.0.shape()[0]
    }

    /// Height and width.
    pub(super) fn sides(&self) -> [usize; 2] {
        let shape = self.0.shape();
        [shape[1], shape[2]]
    }

    /// As `[n, c, h, w]`.
    fn tensor(&self) -> FlexTensor {
        self.0.permute(&[0, 3, 1, 2])
    }
}

/// The tensor in its own order: its storage holds its values and no others.
pub(super) fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    let tensor = tensor.to_contiguous();
    let exact = tensor.bytes().len() == tensor.shape().num_elements() * size_of::<f32>();
    if exact { tensor } else { FlexTensor::from_data(tensor.into_data()) }
}

pub(super) fn values(tensor: &FlexTensor) -> Vec<f32> {
    contiguous(tensor).storage().to_vec()
}

/// A tensor without gradients.
pub(super) fn plain<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("a tensor on the CPU without gradients")
}

/// A tensor that may have gradients, and its place among what is recorded for them.
pub(super) fn recorded<const D: usize>(tensor: Tensor<D>) -> (FlexTensor, NodeGuard) {
    tensor.try_into_primitive::<Autodiff<Flex>>().expect("a tensor on the CPU with gradients").into_parts()
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::relu;
    use burn::tensor::module::{batch_norm_train, conv2d};
    use burn::tensor::ops::ConvOptions;

    use super::super::testing::{assert_near, loss, numbers};
    use super::*;

    /// Convolution, normalisation, sum and ReLU with their gradients, ours and burn's own.
    fn check(
        [n, inputs, height, width]: [usize; 4],
        outputs: usize,
        kernel: usize,
        stride: usize,
        add: bool,
        shut: bool,
    ) {
        let case =
            format!("{n}x{inputs}x{height}x{width}, {outputs} {kernel}x{kernel}/{stride}, sum {add}, ReLU {shut}");
        let run = |ours: bool| {
            let images = numbers([n, inputs, height, width], 1);
            let weight = numbers([outputs, inputs, kernel, kernel], 2);
            let (gamma, beta) = (numbers([outputs], 3), numbers([outputs], 4));
            let pad = kernel / 2;
            let sides = [height, width].map(|side| (side + 2 * pad - kernel) / stride + 1);
            let added = numbers([n, outputs, sides[0], sides[1]], 5);
            let (output, moments) = if ours {
                let convolved = convolution(images.clone(), weight.clone(), stride);
                let affine = Affine { gamma: gamma.clone(), beta: beta.clone(), epsilon: 1e-5, relu: shut };
                normalise_by_batch(convolved, affine, add.then(|| added.clone()))
            } else {
                let options = ConvOptions::new([stride, stride], [pad, pad], [1, 1], 1);
                let convolved = conv2d(images.clone(), weight.clone(), None, options);
                let normal = batch_norm_train(convolved, gamma.clone(), beta.clone(), 1e-5);
                let sum = if add { normal.output + added.clone() } else { normal.output };
                (if shut { relu(sum) } else { sum }, [normal.mean, normal.variance])
            };
            let gradients = loss(output.clone()).backward();
            let grads4 = [images, weight, added].map(|tensor| tensor.grad(&gradients));
            let grads1 = [gamma, beta].map(|tensor| tensor.grad(&gradients));
            (output, moments, grads4, grads1)
        };
        let (ours, theirs) = (run(true), run(false));
        assert_near(&format!("{case}: result"), ours.0, theirs.0);
        for (ours, theirs) in ours.1.into_iter().zip(theirs.1) {
            assert_near(&format!("{case}: moments"), ours, theirs);
        }
        for (what, (ours, theirs)) in ["images", "weight", "sum"].into_iter().zip(ours.2.into_iter().zip(theirs.2)) {
            assert_eq!(ours.is_some(), theirs.is_some(), "{case}: {what}");
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                assert_near(&format!("{case}: gradient of {what}"), ours, theirs);
            }
        }
        for (what, (ours, theirs)) in ["γ", "β"].into_iter().zip(ours.3.into_iter().zip(theirs.3)) {
            assert_near(&format!("{case}: gradient of {what}"), ours.unwrap(), theirs.unwrap());
        }
    }

    #[test]
    fn results_and_gradients_are_burns() {
        check([3, 3, 9, 8], 16, 3, 2, false, true);
        check([2, 16, 7, 10], 32, 3, 1, true, true);
        check([11, 32, 5, 5], 16, 3, 2, true, true);
        check([2, 32, 6, 7], 48, 1, 2, false, false);
        check([2, 5, 12, 11], 16, 7, 2, true, false);
        check([1, 64, 4, 4], 64, 3, 1, false, true);
    }

    #[test]
    fn frozen_normalisation_is_burns() {
        let plain = |tensor: Tensor<4>| tensor.detach().inner();
        let device = Device::flex();
        let [images, added] = [1, 2].map(|salt| plain(numbers([2, 16, 5, 4], salt)));
        let vector = |salt: usize| numbers([16], salt).detach().inner();
        let (gamma, beta, mean, variance) = (vector(3), vector(4), vector(5), vector(6).abs() + 0.1);
        let expected = burn::tensor::module::batch_norm(
            images.clone(),
            gamma.clone(),
            beta.clone(),
            mean.clone(),
            variance.clone(),
            1e-5,
        );
        let expected = relu(expected + added.clone());
        let found = normalise(images, Affine { gamma, beta, epsilon: 1e-5, relu: true }, [mean, variance], Some(added));
        assert_eq!(found.device(), device);
        assert_near("frozen", found, expected);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (images, weight) = (numbers([19, 16, 24, 24], 1), numbers([16, 16, 3, 3], 2));
                let affine = Affine { gamma: numbers([16], 3), beta: numbers([16], 4), epsilon: 1e-5, relu: true };
                let gamma = affine.gamma.clone();
                let (output, _) = normalise_by_batch(convolution(images.clone(), weight.clone(), 1), affine, None);
                let gradients = loss(output).backward();
                let bits = |data: TensorData| data.iter::<f32>().map(f32::to_bits).collect::<Vec<u32>>();
                [images.grad(&gradients), weight.grad(&gradients)]
                    .map(|gradient| bits(gradient.unwrap().into_data()))
                    .into_iter()
                    .chain([bits(gamma.grad(&gradients).unwrap().into_data())])
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_batch_of_any_layout_is_the_same() {
        let images = numbers([2, 16, 6, 6], 1).detach().inner();
        let weight = numbers([16, 16, 3, 3], 2).detach().inner();
        let last = Tensor::<4>::from_data(images.clone().permute([0, 2, 3, 1]).into_data(), &Device::flex());
        let [usual, last] = [images, last.permute([0, 3, 1, 2])].map(|images| convolution(images, weight.clone(), 1));
        assert_eq!(usual.into_data(), last.into_data());
    }
}
