//! Images per second through a backbone, and through the same network without folded normalisation.
//!
//! `forward.py` next to this file times PyTorch on the same work.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use knownset_nn::network::{ResNet, initialise, to_weights};
use knownset_nn::{Architecture, find, frozen};
use ndarray::Array4;

fn main() {
    divan::main();
}

fn network(name: &str) -> ResNet {
    let Architecture::ResNet(spec) = find(name).expect("in the registry").architecture else { panic!("{name}") };
    initialise(ResNet::new(spec, 10, &Device::flex()), 1)
}

/// Backbone, batch, side in pixels.
const CASES: [(&str, usize, usize); 5] = [
    ("cifar-resnet20", 128, 32),
    ("resnet18-32x32", 32, 32),
    ("sprite-resnet", 128, 64),
    ("resnet18", 16, 224),
    ("resnet50", 8, 224),
];

#[divan::bench(args = CASES, sample_count = 10)]
fn folded(bencher: Bencher<'_, '_>, (name, n, side): (&str, usize, usize)) {
    let backbone = frozen(find(name).expect("in the registry"), &to_weights(&network(name))).expect("fits");
    let images = Array4::<f32>::from_elem((n, 3, side, side), 0.5);
    bencher.counter(ItemsCount::new(n)).bench_local(|| black_box(backbone.forward(images.view())));
}

#[divan::bench(args = CASES, sample_count = 10)]
fn plain(bencher: Bencher<'_, '_>, (name, n, side): (&str, usize, usize)) {
    let network = network(name).valid();
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let data = TensorData::new(vec![0.5_f32; n * 3 * side * side], [n, 3, side, side]);
        black_box(network.forward(Tensor::from_data(data, &Device::flex())).into_data())
    });
}
