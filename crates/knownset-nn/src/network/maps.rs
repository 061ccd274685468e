//! Operations on feature maps `[n, h, w, c]`, channels last, with gradients of our own, on the CPU in f32: burn's tensors in,
//! burn's tensors out.
//!
//! Channels that are normalised are a multiple of 16; of convolutions there may be any number.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};

use super::operations::{Pixels, contiguous, plain, recorded, values};
use crate::kernels::{
    Filter, GroupNorm, Moments, bias_gradient, convolve, input_gradient, nearest, nearest_gradient, weight_gradient,
};

/// How a kernel moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sliding {
    /// Pixels from one place to the next.
    pub(super) stride: usize,
    /// Zeros above and on the left; below and on the right there are half the (odd) kernel.
    pub(super) lead: usize,
}

/// Convolution: `[n, h, w, c]`, `[c', c, k, k]` and `[c']` → `[n, h', w', c']`.
pub(super) fn convolution(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, sliding: Sliding) -> Tensor<4> {
    if !input.device().is_autodiff() {
        let convolved = Convolved::new(&plain(input), &plain(weight), &plain(bias), sliding);
        return Tensor::from_primitive::<Flex>(convolved.forward());
    }
    let ((input, input_node), (weight, weight_node), (bias, bias_node)) =
        (recorded(input), recorded(weight), recorded(bias));
    let convolved = Convolved::new(&input, &weight, &bias, sliding);
    let output = convolved.forward();
    let nodes = [input_node, weight_node, bias_node];
    let output = match Convolution.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(convolved, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// How channels are normalised in groups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grouped {
    /// Number of groups; they divide the channels.
    pub(super) groups: usize,
    /// ε.
    pub(super) epsilon: f64,
    /// Whether SiLU follows.
    pub(super) silu: bool,
}

/// Group normalisation: `[n, h, w, c]`, γ and β `[c]` → `[n, h, w, c]`.
pub(super) fn normalisation(input: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, grouped: Grouped) -> Tensor<4> {
    if !input.device().is_autodiff() {
        let (normalised, output) = Normalised::new(&plain(input), &plain(gamma), &plain(beta), grouped);
        return Tensor::from_primitive::<Flex>(normalised.input.like(output).0);
    }
    let ((input, input_node), (gamma, gamma_node), (beta, beta_node)) =
        (recorded(input), recorded(gamma), recorded(beta));
    let (normalised, output) = Normalised::new(&input, &gamma, &beta, grouped);
    let output = normalised.input.like(output).0;
    let nodes = [input_node, gamma_node, beta_node];
    let output = match Normalisation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(normalised, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// Pixels repeated: `[n, h, w, c]` → `[n, H, W, c]`, sides no smaller than before.
pub(super) fn enlargement(input: Tensor<4>, sides: [usize; 2]) -> Tensor<4> {
    let enlarged = |input: &Pixels| {
        let [_, _, _, channels] = input.0.shape().dims::<4>();
        let values = nearest(input.values(), channels, input.sides(), sides);
        Pixels::from_values(values, [input.count(), sides[0], sides[1], channels]).0
    };
    if !input.device().is_autodiff() {
        return Tensor::from_primitive::<Flex>(enlarged(&Pixels(contiguous(&plain(input)))));
    }
    let (input, node) = recorded(input);
    let input = Pixels(contiguous(&input));
    let (from, output) = (input.sides(), enlarged(&input));
    let output = match Enlargement.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(from, output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

#[derive(Debug)]
struct Convolution;

/// What a convolution's gradients need.
#[derive(Debug, Clone)]
struct Convolved {
    images: Pixels,
    weight: FlexTensor,
    bias: FlexTensor,
    sliding: Sliding,
}

impl Convolved {
    fn new(images: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, sliding: Sliding) -> Self {
        Self { images: Pixels(contiguous(images)), weight: contiguous(weight), bias: contiguous(bias), sliding }
    }

    fn filter(&self) -> Filter<'_> {
        let Sliding { stride, lead } = self.sliding;
        let shape = self.weight.shape().dims::<4>();
        Filter { shape, stride, lead, weight: self.weight.storage(), bias: self.bias.storage() }
    }

    fn forward(&self) -> FlexTensor {
        let filter = self.filter();
        let sides = self.images.sides();
        let values = convolve(self.images.values(), sides, filter);
        let [height, width] = sides.map(|side| filter.side(side));
        Pixels::from_values(values, [self.images.count(), height, width, filter.shape[0]]).0
    }
}

impl Backward<Flex, 3> for Convolution {
    type State = Convolved;

    fn backward(self, ops: Ops<Convolved, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels(contiguous(&gradients.consume::<Flex>(&ops.node)));
        let (images, filter) = (&ops.state.images, ops.state.filter());
        let [images_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = bias_node {
            gradients.register::<Flex>(node.id, vector(bias_gradient(gradient.values(), filter.shape[0])));
        }
        if let Some(node) = weight_node {
            let weight = weight_gradient(images.values(), gradient.values(), images.sides(), filter);
            let weight = FlexTensor::from_data(TensorData::new(weight, filter.shape));
            gradients.register::<Flex>(node.id, weight);
        }
        if let Some(node) = images_node {
            let input = input_gradient(gradient.values(), images.sides(), filter);
            gradients.register::<Flex>(node.id, images.like(input).0);
        }
    }
}

#[derive(Debug)]
struct Normalisation;

/// What a normalisation's gradients need.
#[derive(Debug, Clone)]
struct Normalised {
    input: Pixels,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    moments: Vec<Moments>,
    grouped: Grouped,
}

impl Normalised {
    /// What is needed, and the result.
    fn new(input: &FlexTensor, gamma: &FlexTensor, beta: &FlexTensor, grouped: Grouped) -> (Self, Vec<f32>) {
        let input = Pixels(contiguous(input));
        let mut normalised = Self { gamma: values(gamma), beta: values(beta), moments: Vec::new(), grouped, input };
        let [height, width] = normalised.input.sides();
        let size = height * width * normalised.gamma.len();
        let (result, moments) = normalised.norm().forward(normalised.input.values(), size);
        normalised.moments = moments;
        (normalised, result)
    }

    fn norm(&self) -> GroupNorm<'_> {
        let Grouped { groups, epsilon, silu } = self.grouped;
        GroupNorm { groups, gamma: &self.gamma, beta: &self.beta, epsilon, silu }
    }
}

impl Backward<Flex, 3> for Normalisation {
    type State = Normalised;

    fn backward(self, ops: Ops<Normalised, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels(contiguous(&gradients.consume::<Flex>(&ops.node)));
        let Normalised { input, moments, .. } = &ops.state;
        let found = ops.state.norm().backward(input.values(), moments, gradient.values());
        let found = [input.like(found.input).0, vector(found.gamma), vector(found.beta)];
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Enlargement;

impl Backward<Flex, 1> for Enlargement {
    /// Height and width before.
    type State = [usize; 2];

    fn backward(self, ops: Ops<[usize; 2], 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Pixels(contiguous(&gradients.consume::<Flex>(&ops.node)));
        let [Some(node)] = ops.parents else { return };
        let [count, _, _, channels] = gradient.0.shape().dims::<4>();
        let [height, width] = ops.state;
        let values = nearest_gradient(gradient.values(), channels, ops.state, gradient.sides());
        gradients.register::<Flex>(node.id, Pixels::from_values(values, [count, height, width, channels]).0);
    }
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    FlexTensor::from_data(TensorData::new(values, [length]))
}
