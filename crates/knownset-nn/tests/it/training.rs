//! The module that runs is the module that trains: gradients, running statistics, names both ways, seeds.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use knownset_nn::network::{ConvNet, ResNet, ResNetSpec, Vit, initialise, load, to_weights};
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

#[test]
fn a_seed_gives_the_same_weights_and_another_seed_others() {
    let make = |seed| to_weights(&initialise(ResNet::new(sprite(), CLASSES, &Device::flex()), seed));
    assert_eq!(make(1).sha256(), make(1).sha256());
    assert_ne!(make(1).sha256(), make(2).sha256());
    let weights = make(1);
    let kernel = &weights.get("layer3.0.conv2.weight").unwrap().values;
    let variance = kernel.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / kernel.len() as f64;
    let expected = 2.0 / (128.0 * 9.0);
    assert!((variance / expected - 1.0).abs() < 0.02, "He variance {expected}, got {variance}");
    assert_eq!(weights.get("bn1.weight").unwrap().values, [1.0; 32]);
    assert_eq!(weights.get("layer1.0.bn1.running_mean").unwrap().values, [0.0; 32]);
}
