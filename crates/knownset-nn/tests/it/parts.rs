//! What a recipe trained beside the network goes from the weights file into the features.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use knownset_nn::extract::{Cache, Extracted, Extraction, Input, InputSource, Unreadable};
use knownset_nn::{Backbone, HostTensor, Weights, find, frozen, load_backbone};
use ndarray::{Array2, Array4, Axis, array};

use crate::hashed::{hashed_f32, images, tensors, value};

/// Width of the embedding of `sprite-resnet`.
const WIDTH: usize = 128;

fn vector(values: &[f32]) -> HostTensor {
    HostTensor { shape: vec![values.len()], values: values.to_vec() }
}

/// The network's tensors, and a rotation head whose bias is a vector.
fn turning() -> BTreeMap<String, HostTensor> {
    let mut tensors = tensors(find("sprite-resnet").unwrap());
    tensors.insert("recipe.rotation.weight".into(), value("recipe.rotation.weight", &[4, WIDTH]));
    tensors.insert("recipe.rotation.bias".into(), vector(&[0.5, -0.5, 0.25, 0.0]));
    tensors
}

fn backbone(tensors: BTreeMap<String, HostTensor>) -> Box<dyn Backbone> {
    frozen(find("sprite-resnet").unwrap(), &Weights::from_tensors(tensors)).unwrap()
}

#[test]
fn vectors_and_numbers_become_one_row_and_the_network_is_untouched() {
    let mut tensors = tensors(find("sprite-resnet").unwrap());
    let plain = backbone(tensors.clone());
    tensors.insert("recipe.tau".into(), HostTensor { shape: vec![], values: vec![0.1] });
    tensors.insert("recipe.a.b".into(), vector(&[1.0, 2.0]));
    tensors.insert("recipe.w".into(), HostTensor { shape: vec![2, 1], values: vec![3.0, 4.0] });
    let more = backbone(tensors);
    let expected = [("tau", array![[0.1]]), ("a.b", array![[1.0, 2.0]]), ("w", array![[3.0], [4.0]])];
    assert_eq!(more.parts(), BTreeMap::from(expected.map(|(name, part)| (name.to_owned(), part))));
    assert_eq!(plain.parts(), BTreeMap::new());
    let batch = images(2, 64);
    assert_eq!(more.forward(batch.view()), plain.forward(batch.view()));
}

#[test]
fn what_is_not_usable_is_refused_by_name() {
    let refuse = |change: &dyn Fn(&mut BTreeMap<String, HostTensor>)| {
        let mut tensors = turning();
        change(&mut tensors);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        Weights::from_tensors(tensors).save(&path).unwrap();
        let error = load_backbone("sprite-resnet", &path).err().expect("must be refused").to_string();
        assert!(error.contains("net.safetensors"), "{error}");
        error
    };
    let cube = HostTensor { shape: vec![1, 1, 1], values: vec![0.0] };
    let error = refuse(&|tensors| drop(tensors.insert("recipe.cube".into(), cube.clone())));
    assert!(error.contains("recipe.cube has shape [1, 1, 1], expected at most two dimensions"), "{error}");
    let error = refuse(&|tensors| drop(tensors.insert("recipes.x".into(), vector(&[0.0]))));
    assert!(error.contains("unexpected (1): recipes.x"), "{error}");
    let error = refuse(&|tensors| drop(tensors.remove("recipe.rotation.bias")));
    assert!(error.contains("recipe.rotation.weight is there but recipe.rotation.bias is not"), "{error}");
    let error = refuse(&|tensors| drop(tensors.insert("recipe.rotation.bias".into(), vector(&[0.0; 3]))));
    assert!(error.contains("recipe.rotation.bias has shape [1, 3], expected [1, 4]"), "{error}");
    let narrow = value("narrow", &[4, WIDTH - 1]);
    let error = refuse(&|tensors| drop(tensors.insert("recipe.rotation.weight".into(), narrow.clone())));
    assert!(error.contains("recipe.rotation.weight has shape [4, 127], expected [4, 128]"), "{error}");
}

/// The images turned counter-clockwise, value by value.
fn turned(images: &Array4<f32>, quarters: usize) -> Array4<f32> {
    let side = images.len_of(Axis(2));
    (0..quarters).fold(images.clone(), |images, _| {
        Array4::from_shape_fn(images.dim(), |(n, c, y, x)| images[(n, c, x, side - 1 - y)])
    })
}

#[test]
fn rotations_are_the_head_on_the_turned_copies() {
    let (tensors, batch) = (turning(), images(3, 64));
    let (weight, bias) = (&tensors["recipe.rotation.weight"].values, &tensors["recipe.rotation.bias"].values);
    let backbone = backbone(tensors.clone());
    let rotations = backbone.forward(batch.view()).rotations.unwrap();
    assert_eq!(rotations.dim(), (3, 4, 4));
    for quarters in 0..4 {
        let embedding = backbone.forward(turned(&batch, quarters).view()).embedding;
        let expected = Array2::from_shape_fn((3, 4), |(row, class)| {
            let products = embedding.row(row).into_iter().zip(&weight[class * WIDTH..]);
            let sum: f64 = products.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
            (sum + f64::from(bias[class])) as f32
        });
        assert_eq!(rotations.index_axis(Axis(1), quarters), expected, "{quarters}");
    }
    assert_ne!(rotations.index_axis(Axis(1), 0), rotations.index_axis(Axis(1), 1));
}

struct Hashed;

impl InputSource for Hashed {
    fn len(&self) -> usize {
        5
    }

    fn fingerprint(&self) -> String {
        "hashed".into()
    }

    fn load(&self, row: usize) -> Result<Input, String> {
        Ok(Input { values: hashed_f32(&format!("image {row}"), 3 * 64 * 64), truncated: false })
    }
}

#[test]
fn rotations_have_the_same_bits_in_any_batch_on_any_threads_and_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    Weights::from_tensors(turning()).save(&path).unwrap();
    let (network, cache) = (load_backbone("sprite-resnet", &path).unwrap(), Cache::new(folder.path().join("cache")));
    let run = |batch, cache, threads| -> Extracted {
        let progress = |_| ControlFlow::Continue(());
        let unreadable = Unreadable::Refuse;
        let extraction = Extraction { network: &network, batch, unreadable, cache, progress: &progress };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| extraction.run(&Hashed, 0..5)).unwrap()
    };
    let whole = run(5, None, 1);
    assert_eq!(whole.rotations.as_ref().unwrap().dim(), (5, 4, 4));
    assert_eq!(run(2, Some(&cache), 3), whole);
    assert_eq!(run(1, Some(&cache), 1), whole, "from the cache");
}
