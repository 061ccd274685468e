//! Every backbone says what PyTorch, torchvision and timm say.

use knownset_nn::{BACKBONES, Weights, frozen};

use crate::hashed::{CLASSES, classifiers, golden, images, relative_error, tensors};

const TOLERANCE: f32 = 1e-4;

#[test]
fn every_backbone_agrees_with_pytorch() {
    let golden = golden("backbones.safetensors");
    for entry in classifiers() {
        // The ImageNet ResNets are compared on 64x64 images: they take any size and the reference stays quick.
        let side = if entry.name.starts_with("resnet") { entry.preprocess.size.min(64) } else { entry.preprocess.size };
        let backbone = frozen(entry, &Weights::from_tensors(tensors(entry))).unwrap();
        assert_eq!(backbone.classes(), CLASSES, "{}", entry.name);
        let output = backbone.forward(images(2, side as usize).view());
        let logits = output.logits.unwrap();
        for (what, got) in [("logits", &logits), ("embedding", &output.embedding)] {
            let expected = golden.get(&format!("{}.{what}", entry.name)).expect("every backbone has a reference");
            assert_eq!(got.shape(), expected.shape, "{} {what}", entry.name);
            let error = relative_error(got.as_slice().unwrap(), &expected.values);
            println!("{} {what}: {error:.1e}", entry.name);
            assert!(error < TOLERANCE, "{} {what}: relative error {error}", entry.name);
        }
        assert_eq!(backbone.head().unwrap().weight.ncols(), output.embedding.ncols());
    }
}

#[test]
fn every_reference_belongs_to_a_backbone() {
    for (name, _) in golden("backbones.safetensors").iter() {
        assert!(BACKBONES.iter().any(|entry| name.split('.').next() == Some(entry.name)), "{name}");
    }
}
