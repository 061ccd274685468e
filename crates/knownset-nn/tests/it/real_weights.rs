//! The released ResNet-20 as `.th` (an old PyTorch pickle) and as `.safetensors`.

use std::path::{Path, PathBuf};

use knownset_nn::{Weights, load_backbone};
use ndarray::Array4;

/// A file of the shared data, or `None` (said aloud) where there is none.
pub(crate) fn shared(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no shared data");
    None
}

#[test]
fn pickle_and_safetensors_are_one_network() {
    let (Some(pickle), Some(safetensors)) =
        (shared("weights/cifar10-resnet20.th"), shared("weights/cifar10-resnet20.safetensors"))
    else {
        return;
    };
    assert_eq!(Weights::open(&pickle).unwrap().sha256(), Weights::open(&safetensors).unwrap().sha256());
    let images = Array4::from_shape_fn((3, 3, 32, 32), |(n, c, y, x)| {
        ((n * 31 + c * 17 + y * 5 + x * 3) % 23) as f32 / 11.0 - 1.0
    });
    let a = load_backbone("cifar-resnet20", &pickle).unwrap();
    let b = load_backbone("cifar-resnet20", &safetensors).unwrap();
    assert_eq!(a.origin.weights_sha256, b.origin.weights_sha256);
    assert_eq!(a.backbone.classes(), 10);
    assert_eq!(a.backbone.forward(images.view()), b.backbone.forward(images.view()));
}
