//! What tests of losses share.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use knownset_nn::network::{
    BlockKind, Init, ResNetNames, ResNetSpec, Rule, Shortcut, Stem, Trunk, initialise_with, load, to_weights,
};
use knownset_nn::{Architecture, HostTensor, Precision, Weights};

use crate::augment::stream;
use crate::network::Network;
use crate::recipe::{Batch, Moment, Recipe, Step, constant};
use crate::recipes::cross_entropy::soft_loss;
use crate::tensors::normals;

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

/// The values of a tensor, row by row.
pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

/// Labels as a tensor.
pub(crate) fn labels(labels: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(labels.to_vec(), [labels.len()]), &Device::flex().autodiff())
}

/// Tensors that the script `tests/golden/make_{file}.py` made with PyTorch.
pub(crate) fn golden(file: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    Golden(Weights::open(&folder.join(format!("{file}.safetensors"))).expect("a golden file that can be read"))
}

/// Tensors by name; those of one case begin with its name and a dot.
pub(crate) struct Golden(Weights);

impl Golden {
    fn get(&self, name: &str) -> &HostTensor {
        self.0.get(name).unwrap_or_else(|| panic!("no golden tensor {name}"))
    }

    /// All tensors.
    pub(crate) fn weights(&self) -> &Weights {
        &self.0
    }

    /// A tensor that keeps gradients.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let HostTensor { shape, values } = self.get(name).clone();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
    }

    /// An input whose gradient is asked for.
    pub(crate) fn rows(&self, name: &str) -> Tensor<2> {
        self.tensor(name).require_grad()
    }

    /// Labels `[n]`.
    pub(crate) fn labels(&self, name: &str) -> Vec<usize> {
        self.get(name).values.iter().map(|&label| label as usize).collect()
    }

    /// Labels `[n]` as a tensor.
    pub(crate) fn targets(&self, name: &str) -> Tensor<1, Int> {
        labels(&self.labels(name).iter().map(|&label| label as i64).collect::<Vec<_>>())
    }

    /// Holds a loss of the case's inputs `CASE.INPUT` against `CASE.loss` and its gradients against
    /// `CASE.INPUT.gradient`, as [`Golden::holds`] does.
    pub(crate) fn agrees<const N: usize>(
        &self,
        case: &str,
        inputs: [&str; N],
        loss: impl FnOnce([Tensor<2>; N]) -> Tensor<1>,
    ) {
        let points = inputs.map(|input| self.rows(&format!("{case}.{input}")));
        self.holds(case, &loss(points.clone()), &inputs.into_iter().zip(points).collect::<Vec<_>>());
    }

    /// Holds a loss against `CASE.loss`, to 1e-5 of its size, and its gradients against `CASE.INPUT.gradient`, to 1e-4 of
    /// their largest entry.
    pub(crate) fn holds(&self, case: &str, loss: &Tensor<1>, inputs: &[(&str, Tensor<2>)]) {
        let expected = f64::from(self.get(&format!("{case}.loss")).values[0]);
        let found = number(loss);
        assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{case}: loss {found}, expected {expected}");
        let gradients = loss.backward();
        for (input, tensor) in inputs {
            let expected = &self.get(&format!("{case}.{input}.gradient")).values;
            let found = tensor.grad(&gradients).unwrap_or_else(|| panic!("{case} does not depend on {input}"));
            let found = values(&found);
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(largest > 0.0, "{case}: the gradient by {input} says nothing");
            for (found, &expected) in found.iter().zip(expected) {
                let near = (found - f64::from(expected)).abs() <= 1e-4 * f64::from(largest);
                assert!(near, "{case}: gradient by {input} {found}, expected {expected}");
            }
        }
    }
}

/// Classes of [`network`].
const CLASSES: usize = 5;

/// A network of the recipe with random values everywhere: biases too, and none of what a normalisation keeps is as at
/// the beginning. What the recipe sets itself stays set.
pub(crate) fn network<R: Recipe>(recipe: &R) -> Network<R::Parts> {
    let device = Device::flex().autodiff();
    let trunk = Trunk::new(TINY, recipe.outputs(CLASSES), &device).unwrap();
    let parts = recipe.parts(trunk.width(), CLASSES, &device);
    initialise_with(Network { trunk, parts, precision: Precision::F32 }, 1, |name, shape| {
        match recipe.init(name, shape) {
            Rule::ByShape if name.ends_with("running_var") => constant(0.5),
            Rule::ByShape => Rule::Set(Init::Normal(0.3)),
            set @ Rule::Set(_) => set,
        }
    })
}

/// The first step of a run.
pub(crate) const MOMENT: Moment = Moment { epoch: 1, epochs: 2, step: 0, seed: 7 };

/// Four made-up pictures of four classes; no two of them are equal at any pixel.
pub(crate) fn batch() -> Batch {
    let (n, side) = (4, 8);
    let pixels = (0..n * 3 * side * side).map(|pixel| (pixel * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let pictures: Tensor<4> =
        Tensor::from_data(TensorData::new(pixels, [n, 3, side, side]), &Device::flex().autodiff());
    Batch { views: vec![pictures], labels: vec![0, 1, 2, 3], outliers: Vec::new(), classes: CLASSES }
}

/// The network after one step of the recipe on a batch of made-up pictures, and the step.
pub(crate) fn step<R: Recipe>(recipe: &R) -> (Network<R::Parts>, Step) {
    let mut network = network(recipe);
    let step = recipe.step(&mut network, &batch(), &MOMENT);
    (network, step)
}

/// The gradients of a step by the network's convolutions, one after the other: what reaches the embedding.
pub(crate) fn convolution_gradients<P: Module + ModuleDisplay>(network: &Network<P>, step: &Step) -> Vec<f64> {
    struct Convolutions {
        gradients: GradientsParams,
        values: Vec<f64>,
    }
    impl ModuleVisitor for Convolutions {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 4 {
                let gradient = self.gradients.get::<D>(param.id).expect("every convolution learns");
                self.values.extend(gradient.into_data().iter::<f64>());
            }
        }
    }
    let gradients = GradientsParams::from_grads(step.loss.backward(), network);
    let mut convolutions = Convolutions { gradients, values: Vec::new() };
    network.visit(&mut convolutions);
    convolutions.values
}

/// Holds a step's loss on [`batch`] against that of a network that sees `mixed` pictures, with the target λ at a
/// picture's own label and 1 − λ at its partner's.
pub(crate) fn has_targets_of_mixtures<P: Module + ModuleDisplay>(
    step: &Step,
    network: &Network<P>,
    mixed: Tensor<4>,
    partners: &[usize],
    lambda: f64,
) {
    let mut targets = vec![0.0; partners.len() * CLASSES];
    for (place, &partner) in partners.iter().enumerate() {
        targets[place * CLASSES + batch().labels[place]] += lambda as f32;
        targets[place * CLASSES + batch().labels[partner]] += 1.0 - lambda as f32;
    }
    let targets = Tensor::from_data(TensorData::new(targets, [partners.len(), CLASSES]), &mixed.device());
    let expected = number(&soft_loss(network.trunk.classify(network.embed(mixed)), targets));
    let found = number(&step.loss);
    assert!((found - expected).abs() < 1e-4 * expected, "{found}, expected {expected} with the share {lambda}");
}

/// Holds the exported linear layer against the recipe's own choice on random embeddings, and gives the exported
/// tensors. Without those of the recipe they must load as a plain backbone.
pub(crate) fn export_keeps_the_choice<R: Recipe>(recipe: &R) -> BTreeMap<String, HostTensor> {
    const ROWS: usize = 200;
    let network = network(recipe);
    let width = network.trunk.width();
    let embeddings = normals(&mut stream(5, 6, 7), ROWS * width).into_iter().map(|value| value.max(-0.2)).collect();
    let embeddings: Tensor<2> =
        Tensor::from_data(TensorData::new(embeddings, [ROWS, width]), &Device::flex().autodiff());
    let expected: Vec<i64> = recipe.logits(&network, embeddings.clone()).argmax(1).into_data().iter::<i64>().collect();
    let mut tensors = to_weights(&network).into_tensors();
    recipe.export(&mut tensors, TINY.head().unwrap());
    let plain = tensors.iter().filter(|(name, _)| !name.starts_with("recipe."));
    let plain = Weights::from_tensors(plain.map(|(name, tensor)| (name.clone(), tensor.clone())).collect());
    let trunk = Trunk::new(TINY, recipe.outputs(CLASSES), &embeddings.device()).unwrap();
    let trunk = load(trunk, &plain).unwrap();
    let found: Vec<i64> = trunk.classify(embeddings).argmax(1).into_data().iter::<i64>().collect();
    assert_eq!(found, expected);
    let mut chosen = found;
    chosen.sort_unstable();
    chosen.dedup();
    assert!(chosen.len() > 2, "a choice of one is no choice");
    tensors
}

/// The smallest network there is.
pub(crate) const TINY: Architecture = Architecture::ResNet(ResNetSpec {
    stem: Stem { kernel: 3, stride: 2, pool: false },
    block: BlockKind::Basic,
    shortcut: Shortcut::Projection,
    widths: &[16],
    blocks: &[1],
    names: ResNetNames { shortcut: "downsample", head: "fc" },
});
