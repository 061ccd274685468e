//! Numbers that Python and Rust compute alike from a name: the twin of `hashed` and `value` in `make_backbones.py`.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use knownset_nn::network::{ConvNet, ResNet, Vit, shapes};
use knownset_nn::{Architecture, BACKBONES, BackboneEntry, HostTensor, Weights};
use ndarray::Array4;

/// Classes of the networks made here.
pub(crate) const CLASSES: usize = 5;

/// `count` numbers in [−1, 1) with 24 bits each.
pub(crate) fn hashed(name: &str, count: usize) -> Vec<f64> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let number = |index: u64| {
        let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..count as u64).map(number).collect()
}

/// [`hashed`] as f32.
pub(crate) fn hashed_f32(name: &str, count: usize) -> Vec<f32> {
    hashed(name, count).into_iter().map(|x| x as f32).collect()
}

/// `n` images of this side.
pub(crate) fn images(n: usize, side: usize) -> Array4<f32> {
    Array4::from_shape_vec((n, 3, side, side), hashed_f32("images", n * 3 * side * side)).unwrap()
}

/// A tensor of a network, as `value` of `make_backbones.py` makes it.
pub(crate) fn value(name: &str, shape: &[usize]) -> HostTensor {
    let scale: Box<dyn Fn(f64) -> f64> = match shape {
        [_] if name.ends_with("running_var") => Box::new(|u| 1.0 + 0.5 * u),
        [_] if name.ends_with("running_mean") => Box::new(|u| 0.2 * u),
        [_] if name.ends_with("bias") => Box::new(|u| 0.1 * u),
        [_] => Box::new(|u| 1.0 + 0.2 * u),
        [_, _, _] => Box::new(|u| 0.5 * u),
        _ => {
            let bound = (3.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt();
            Box::new(move |u| bound * u)
        }
    };
    let values = hashed(name, shape.iter().product()).into_iter().map(|u| scale(u) as f32).collect();
    HostTensor { shape: shape.to_vec(), values }
}

/// The backbones with a head.
pub(crate) fn classifiers() -> impl Iterator<Item = &'static BackboneEntry> {
    BACKBONES.iter().copied().filter(|entry| entry.architecture != Architecture::Clip)
}

/// Every tensor of a backbone with [`CLASSES`] classes.
pub(crate) fn tensors(entry: &BackboneEntry) -> BTreeMap<String, HostTensor> {
    let device = Device::flex();
    let shapes = match entry.architecture {
        Architecture::ResNet(spec) => shapes(&ResNet::new(spec, CLASSES, &device)),
        Architecture::Vit(spec) => shapes(&Vit::new(spec, CLASSES, &device)),
        Architecture::ConvNet => shapes(&ConvNet::new(CLASSES, &device)),
        Architecture::Clip => unreachable!("towers have references of their own"),
    };
    shapes.into_iter().map(|(name, shape)| (name.clone(), value(&name, &shape))).collect()
}

/// A file written by the Python scripts.
pub(crate) fn golden(file: &str) -> Weights {
    Weights::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)).unwrap()
}

/// Largest difference relative to the largest expected value.
pub(crate) fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0_f32, |largest, x| largest.max(x.abs()));
    got.iter().zip(expected).fold(0_f32, |worst, (a, b)| if a.is_nan() { f32::NAN } else { worst.max((a - b).abs()) })
        / largest
}
