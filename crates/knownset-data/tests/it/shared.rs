//! Real datasets, where they are at hand.

use std::path::{Path, PathBuf};

use knownset_data::{DecodePolicy, Limits, rgb};

use crate::open;

pub(crate) fn data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.is_dir() {
        println!("skipped: no shared data");
        return None;
    }
    Some(data)
}

#[test]
fn counts_classes_and_first_rows() {
    let Some(data) = data() else { return };
    for (reference, rows, classes, first, label) in [
        ("zip:{}/cifar10-lossless.zip#train", 4000, 10, "airplane/", 0),
        ("zip:{}/cifar10-lossless.zip#test", 1000, 10, "airplane/", 0),
        ("zip:{}/ood32/tiny-imagenet.zip", 2000, 0, "", 0),
        ("zip:{}/ood32/caltech101.zip", 948, 0, "", 0),
        ("zip:{}/ood32/scenes.zip", 1000, 0, "Bedroom/00000.png", 0),
        ("zip:{}/ood32/textures.zip", 1200, 10, "banded/00000.png", 0),
        ("zip:{}/ood32/mnist.zip", 1000, 10, "0/00000.png", 0),
        ("zip:{}/imagenet_scale/id_imagenet1k_sample_1000.zip", 1000, 0, "n01440764_tench.jpg", -1),
        ("mnist:{}/mnist/mnist-t10k-images-idx3-ubyte.gz", 10_000, 10, "test/00000", 7),
        ("mnist:{}/mnist/fashion-t10k-images-idx3-ubyte.gz#test", 10_000, 10, "test/00000", 0),
    ] {
        let reference = reference.replace("{}", data.to_str().unwrap());
        let source = open(&reference).unwrap();
        assert_eq!(source.len(), rows, "{reference}");
        assert!(classes == 0 || source.info().class_names.len() == classes || label == -1, "{reference}");
        assert!(source.id(0).starts_with(first), "{reference}: {}", source.id(0));
        assert_eq!(source.label(0), label, "{reference}");
        assert!((1..source.len()).all(|i| source.id(i - 1) < source.id(i)), "{reference}");
        for i in (0..source.len()).step_by(97) {
            rgb(&*source, i, DecodePolicy::Strict, &Limits::default()).unwrap();
        }
    }
}
