//! Weights that do not fit are refused with every difference named.

use std::collections::BTreeMap;

use knownset_nn::{HostTensor, Weights, find, frozen, load_backbone};

use crate::hashed::tensors;

fn refuse(change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) -> String {
    let entry = find("sprite-resnet").unwrap();
    let mut tensors = tensors(entry);
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    Weights::from_tensors(tensors).save(&path).unwrap();
    let error = load_backbone("sprite-resnet", &path).err().expect("must be refused").to_string();
    assert!(error.contains("net.safetensors"), "{error}");
    error
}

fn zeros(shape: &[usize]) -> HostTensor {
    HostTensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] }
}

#[test]
fn a_missing_an_extra_and_a_misshapen_tensor_are_named_together() {
    let error = refuse(|tensors| {
        tensors.remove("layer1.0.bn2.bias");
        tensors.insert("layer9.weight".into(), zeros(&[1]));
        tensors.insert("conv1.weight".into(), zeros(&[32, 3, 5, 5]));
    });
    assert!(error.contains("missing (1): layer1.0.bn2.bias"), "{error}");
    assert!(error.contains("unexpected (1): layer9.weight"), "{error}");
    assert!(error.contains("wrong shape (1): conv1.weight (wants [32, 3, 3, 3], has [32, 3, 5, 5])"), "{error}");
}

#[test]
fn only_the_first_ten_are_listed() {
    let error = refuse(|tensors| tensors.retain(|name, _| name.starts_with("fc")));
    assert!(error.contains(" more"), "{error}");
    assert_eq!(error.matches("bn").count() + error.matches("conv").count(), 10, "{error}");
}

#[test]
fn a_missing_head_is_a_missing_tensor() {
    let error = refuse(|tensors| tensors.retain(|name, _| !name.starts_with("fc")));
    assert!(error.contains("missing (2): fc.bias, fc.weight"), "{error}");
}

#[test]
fn a_head_that_is_no_matrix_is_refused() {
    let error = refuse(|tensors| drop(tensors.insert("fc.weight".into(), zeros(&[5, 128, 1]))));
    assert!(error.contains("the head fc.weight has shape [5, 128, 1]"), "{error}");
}

#[test]
fn a_file_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    Weights::from_tensors(tensors(find("sprite-resnet").unwrap())).save(&path).unwrap();
    let bytes = fs_err::read(&path).unwrap();
    for kept in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs_err::write(&path, &bytes[..kept]).unwrap();
        let error = load_backbone("sprite-resnet", &path).err().expect("must be refused").to_string();
        assert!(error.contains("net.safetensors"), "{error}");
    }
}

#[test]
fn batch_counters_are_ignored_and_data_parallel_names_unwrapped() {
    let entry = find("sprite-resnet").unwrap();
    let plain = Weights::from_tensors(tensors(entry));
    let mut wrapped: BTreeMap<_, _> = tensors(entry).into_iter().map(|(k, v)| (format!("module.{k}"), v)).collect();
    wrapped.insert("module.bn1.num_batches_tracked".into(), zeros(&[]));
    let wrapped = Weights::from_tensors(wrapped);
    assert_eq!(plain.sha256(), wrapped.sha256());
    assert!(frozen(entry, &wrapped).is_ok());
}

#[test]
fn saved_weights_come_back_bit_for_bit() {
    let weights = Weights::from_tensors(tensors(find("sprite-resnet").unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.bin");
    weights.save(&path).unwrap();
    assert!(Weights::open(&path).unwrap().iter().eq(weights.iter()));
}

#[test]
fn one_of_several_networks_in_a_file_is_chosen_by_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let both: BTreeMap<String, HostTensor> = tensors(find("sprite-resnet").unwrap())
        .into_iter()
        .flat_map(|(name, tensor)| {
            let other = HostTensor { shape: tensor.shape.clone(), values: vec![0.5; tensor.values.len()] };
            [
                (format!("run.a.{name}"), tensor),
                (format!("run.b.{name}"), other.clone()),
                (format!("last.{name}"), other),
            ]
        })
        .collect();
    Weights::from_tensors(both).save(&at("nets.safetensors")).unwrap();
    let alone = Weights::from_tensors(tensors(find("sprite-resnet").unwrap()));
    alone.save(&at("a.safetensors")).unwrap();
    let chosen = load_backbone("sprite-resnet", &at("nets.safetensors#run.a")).unwrap().origin;
    let separate = load_backbone("sprite-resnet", &at("a.safetensors")).unwrap().origin;
    assert_eq!(chosen.weights_sha256, separate.weights_sha256);
    // What is recorded opens the same network again.
    let recorded = chosen.weights.unwrap();
    assert!(recorded.ends_with("nets.safetensors#run.a"), "{recorded}");
    assert_eq!(Weights::open(recorded.as_ref()).unwrap().sha256(), chosen.weights_sha256);
    assert_ne!(Weights::open(&at("nets.safetensors#last")).unwrap().sha256(), chosen.weights_sha256);

    for prefix in ["run.", "ru", "a", "run.c", "run.a.fc.weight"] {
        let error = Weights::open(&at(&format!("nets.safetensors#{prefix}"))).unwrap_err().to_string();
        let expected = format!("nets.safetensors: no tensors named `{prefix}.…`; their names begin with last, run");
        assert!(error.ends_with(&expected), "{error}");
    }
    // Between the two: a prefix that is too short finds tensors, but not the network's.
    let error = load_backbone("sprite-resnet", &at("nets.safetensors#run")).err().unwrap().to_string();
    assert!(error.contains("nets.safetensors#run: the weights do not fit") && error.contains("a.bn1.bias"), "{error}");
    for missing in ["none.safetensors#a", "nets.safetensors#"] {
        let error = Weights::open(&at(missing)).unwrap_err().to_string();
        assert!(error.contains("none.safetensors") || error.contains(missing), "{error}");
    }
    // A file whose name has the sign is opened whole.
    alone.save(&at("a#run.a")).unwrap();
    assert_eq!(Weights::open(&at("a#run.a")).unwrap().sha256(), separate.weights_sha256);
}
