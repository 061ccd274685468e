//! The module that runs is the module that trains: gradients, running statistics, names both ways, seeds.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, FloatDType, Gradients, Tensor, TensorData};
use knownset_nn::network::{
    ConvNet, ResNet, ResNetSpec, Trunk, Vit, VitSpec, initialise, load, to_weights, weights_sha256,
};
use knownset_nn::{Architecture, Weights, find, frozen};

use crate::hashed::{CLASSES, classifiers, hashed_f32, images, relative_error, tensors};

fn sprite() -> ResNetSpec {
    match find("sprite-resnet").unwrap().architecture {
        Architecture::ResNet(spec) => spec,
        _ => unreachable!(),
    }
}

fn batch(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(hashed_f32("images", 4 * 3 * 64 * 64), [4, 3, 64, 64]), device)
}

#[test]
fn names_and_values_survive_module_and_back() {
    for entry in classifiers().filter(|entry| !entry.name.ends_with("101") && !entry.name.contains("small")) {
        let weights = Weights::from_tensors(tensors(entry));
        let back = match entry.architecture {
            Architecture::ResNet(spec) => {
                to_weights(&load(ResNet::new(spec, CLASSES, &Device::flex()), &weights).unwrap())
            }
            Architecture::Vit(spec) => to_weights(&load(Vit::new(spec, CLASSES, &Device::flex()), &weights).unwrap()),
            Architecture::ConvNet => to_weights(&load(ConvNet::new(CLASSES, &Device::flex()), &weights).unwrap()),
            Architecture::Clip => unreachable!(),
        };
        assert!(back.iter().eq(weights.iter()), "{}", entry.name);
    }
}

#[test]
fn folding_the_normalisation_changes_nothing_but_rounding() {
    let entry = find("sprite-resnet").unwrap();
    let weights = Weights::from_tensors(tensors(entry));
    let network = load(ResNet::new(sprite(), CLASSES, &Device::flex()), &weights).unwrap();
    let plain: Vec<f32> = network.forward(batch(&Device::flex())).into_data().iter::<f32>().collect();
    let folded = frozen(entry, &weights).unwrap().forward(images(4, 64).view()).logits.unwrap();
    assert!(relative_error(folded.as_slice().unwrap(), &plain) < 1e-5);
}

/// Counts the tensors that have a gradient.
struct WithGradient {
    gradients: Gradients,
    count: usize,
}

impl ModuleVisitor for WithGradient {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(&self.gradients);
        self.count += usize::from(gradient.is_some_and(|g| g.into_data().iter::<f32>().any(|x| x != 0.0)));
    }
}

#[test]
fn a_step_has_gradients_everywhere_and_moves_the_running_statistics() {
    let device = Device::flex().autodiff();
    let network = initialise(ResNet::new(sprite(), CLASSES, &device), 7);
    let before = to_weights(&network);
    let loss = network.forward(batch(&device)).powf_scalar(2.0).mean();
    let mut found = WithGradient { gradients: loss.backward(), count: 0 };
    network.visit(&mut found);
    // Per block two convolutions and two normalisations of two tensors, two blocks with a projection, stem and head.
    assert_eq!(found.count, 3 * 6 + 2 * 3 + 3 + 2);

    let after = to_weights(&network);
    for (name, tensor) in before.iter() {
        let moved = after.get(name).unwrap() != tensor;
        assert_eq!(moved, name.contains("running_"), "{name}");
    }
}

/// The gradients of all tensors, one after the other.
struct AllGradients {
    gradients: Gradients,
    values: Vec<f32>,
}

impl ModuleVisitor for AllGradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(&self.gradients) {
            assert_eq!(gradient.dtype(), DType::F32, "parameters are f32, and so are their gradients");
            self.values.extend(gradient.into_data().iter::<f32>());
        }
    }
}

#[test]
fn gradients_in_mixed_precision_are_near_those_in_f32() {
    let device = Device::flex().autodiff();
    let vit = Architecture::Vit(VitSpec { image: 16, patch: 8, width: 32, depth: 2, heads: 2 });
    for (architecture, side) in [(Architecture::ResNet(sprite()), 24), (vit, 16), (Architecture::ConvNet, 28)] {
        let network = initialise(Trunk::new(architecture, CLASSES, &device).unwrap(), 7);
        let images = TensorData::new(hashed_f32("images", 4 * 3 * side * side), [4, 3, side, side]);
        let images = Tensor::<4>::from_data(images, &device);
        let [exact, rounded] = [FloatDType::F32, FloatDType::BF16].map(|precision| {
            let embedding = network.embed(images.clone().cast(precision));
            assert_eq!(embedding.dtype(), DType::F32);
            let loss = network.classify(embedding).powf_scalar(2.0).mean();
            let mut found = AllGradients { gradients: loss.backward(), values: Vec::new() };
            network.visit(&mut found);
            found.values
        });
        let error = relative_error(&rounded, &exact);
        assert!(error > 1e-5 && error < 0.1, "{architecture:?}: {error}");
    }
}

#[test]
fn a_seed_gives_the_same_weights_and_another_seed_others() {
    let make = |seed| to_weights(&initialise(ResNet::new(sprite(), CLASSES, &Device::flex()), seed));
    assert_eq!(make(1).sha256(), make(1).sha256());
    assert_ne!(make(1).sha256(), make(2).sha256());
    assert_eq!(weights_sha256(&initialise(ResNet::new(sprite(), CLASSES, &Device::flex()), 1)), make(1).sha256());
    let weights = make(1);
    let kernel = &weights.get("layer3.0.conv2.weight").unwrap().values;
    let variance = kernel.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / kernel.len() as f64;
    let expected = 2.0 / (128.0 * 9.0);
    assert!((variance / expected - 1.0).abs() < 0.02, "He variance {expected}, got {variance}");
    assert_eq!(weights.get("bn1.weight").unwrap().values, [1.0; 32]);
    assert_eq!(weights.get("layer1.0.bn1.running_mean").unwrap().values, [0.0; 32]);
}
