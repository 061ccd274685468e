//! An image's features have the same bits in any batch, at any place in it, on any number of threads.

use knownset_nn::{Backbone, Output, Weights, find, frozen};
use ndarray::{Array4, Axis, s};

use crate::hashed::{images, tensors};

fn backbone(name: &str) -> Box<dyn Backbone> {
    let entry = find(name).unwrap();
    frozen(entry, &Weights::from_tensors(tensors(entry))).unwrap()
}

fn on_threads(count: usize, backbone: &dyn Backbone, batch: &Array4<f32>) -> Output {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
    pool.install(|| backbone.forward(batch.view()))
}

/// Bits, so that a NaN or a signed zero would be told apart too.
fn bits(output: &Output, row: usize) -> Vec<u32> {
    let logits = output.logits.as_ref().unwrap();
    output.embedding.row(row).iter().chain(logits.row(row)).map(|x| x.to_bits()).collect()
}

fn check(name: &str, side: usize, n: usize) {
    let backbone = backbone(name);
    let batch = images(n, side);
    let whole = on_threads(1, backbone.as_ref(), &batch);
    let distinct: std::collections::BTreeSet<_> = (0..n).map(|row| bits(&whole, row)).collect();
    assert_eq!(distinct.len(), n, "{name}: the test images must not look alike to the network");

    for threads in [2, 3] {
        let other = on_threads(threads, backbone.as_ref(), &batch);
        (0..n).for_each(|row| assert_eq!(bits(&whole, row), bits(&other, row), "{name}: row {row}, {threads} threads"));
    }
    let order: Vec<usize> = (0..n).map(|row| (row * 5 + 3) % n).collect();
    let shuffled = backbone.forward(batch.select(Axis(0), &order).view());
    for (place, &row) in order.iter().enumerate() {
        assert_eq!(bits(&whole, row), bits(&shuffled, place), "{name}: image {row} at place {place}");
    }
    for size in [1, 7.min(n - 1)] {
        for start in [0, (n - size) / 2, n - size] {
            let part = backbone.forward(batch.slice(s![start..start + size, .., .., ..]));
            for row in 0..size {
                assert_eq!(bits(&whole, start + row), bits(&part, row), "{name}: batch of {size} from {start}");
            }
        }
    }
}

#[test]
fn cifar_resnet20() {
    check("cifar-resnet20", 32, 33);
}

#[test]
fn sprite_resnet() {
    check("sprite-resnet", 64, 33);
}

#[test]
fn resnet18_32x32() {
    check("resnet18-32x32", 32, 11);
}

#[test]
fn resnet50() {
    check("resnet50", 96, 4);
}

#[test]
fn vit_tiny() {
    check("vit-tiny-patch16-224", 224, 3);
}

#[test]
fn mnist_convnet() {
    check("mnist-convnet", 28, 33);
}

#[test]
fn an_empty_batch_is_an_empty_answer() {
    let output = backbone("sprite-resnet").forward(images(0, 64).view());
    assert_eq!(output.embedding.dim(), (0, 128));
    assert_eq!(output.logits.unwrap().dim(), (0, 5));
}
