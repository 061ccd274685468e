//! TagOOD's head: what PyTorch says, and the head behind a tower.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::clip::Clip;
use knownset_nn::network::{TokenHead, TokenHeadSpec, load, shapes};
use knownset_nn::{HostTensor, LoadedBackbone, NnError, Weights, load_bundled, token_head_facts, with_token_head};
use ndarray::{Axis, array, s};

use crate::hashed::{golden, hashed, images, relative_error, value};

const SMALL: TokenHeadSpec = TokenHeadSpec { inputs: 6, tokens: 5, width: 16, depth: 2, heads: 4, classes: 3 };

/// Every tensor of a head.
fn tensors(spec: &TokenHeadSpec) -> BTreeMap<String, HostTensor> {
    let shapes = shapes(&TokenHead::new(spec, &Device::flex()));
    shapes.into_iter().map(|(name, shape)| (name.clone(), value(&name, &shape))).collect()
}

fn tokens(count: usize, device: &Device) -> Tensor<3> {
    let values = hashed(&format!("tokens-{count}"), 4 * count * SMALL.inputs);
    let values = values.into_iter().map(|x| 2.0 * x as f32).collect();
    Tensor::from_data(TensorData::new(values, [4, count, SMALL.inputs]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn embedding_logits_and_gradients_agree_with_pytorch() {
    let (golden, device) = (golden("token_head.safetensors"), Device::flex().autodiff());
    let weights = Weights::from_tensors(tensors(&SMALL));
    let head = load(TokenHead::new(&SMALL, &device), &weights).unwrap();
    for count in [SMALL.tokens, 3] {
        let tokens = tokens(count, &device).require_grad();
        let embedding = head.embed(tokens.clone());
        let logits = head.classify(embedding.clone());
        let sum = embedding.clone().square().sum() * 0.1 + logits.clone().narrow(1, 0, 1).sum();
        let gradient = tokens.grad(&sum.backward()).unwrap();
        let found = [("embedding", values(embedding)), ("logits", values(logits)), ("gradient", values(gradient))];
        for (what, found) in found {
            let error = relative_error(&found, &golden.get(&format!("{count}.{what}")).unwrap().values);
            println!("{count} tokens, {what}: {error:.1e}");
            assert!(error < 1e-5, "{count} tokens, {what}: relative error {error}");
        }
    }
}

/// Factors of one change nothing; they are asked for once for each of the values that dropout may leave out.
#[test]
fn dropout_multiplies_by_the_factors_it_is_given() {
    let device = Device::flex();
    let head = load(TokenHead::new(&SMALL, &device), &Weights::from_tensors(tensors(&SMALL))).unwrap();
    let mut asked = Vec::new();
    let tokens = tokens(3, &device);
    let same = head.embed_dropping(tokens.clone(), &mut |count| {
        asked.push(count);
        vec![1.0; count]
    });
    assert_eq!(values(same), values(head.embed(tokens.clone())));
    // 4 images, 4 tokens with the class token: tokens, then attention's weights, mixed, inner and outer of each block.
    let (token, attention) = (4 * 4 * 16, 4 * 4 * 4 * 4);
    assert_eq!(asked, [token, attention, token, 4 * token, token, attention, token, 4 * token, token]);
    let mut calls = 0;
    let other = head.embed_dropping(tokens.clone(), &mut |count| {
        calls += 1;
        vec![if calls == 2 { 0.5 } else { 1.0 }; count]
    });
    assert_ne!(values(other), values(head.embed(tokens)), "half of the first attention");
}

fn tower(patches: bool) -> LoadedBackbone {
    Arc::new(Clip::bundled().unwrap()).image_tower(patches)
}

/// Sizes for the bundled towers.
fn fitting() -> TokenHeadSpec {
    let tower = tower(true).backbone;
    TokenHeadSpec { inputs: tower.width(), tokens: tower.patches().unwrap(), ..SMALL }
}

/// A head's file.
fn file(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) -> Weights {
    let mut tensors = tensors(&fitting());
    tensors.extend(token_head_facts(4, Some(&tower(true).origin.weights_sha256)));
    tensors.insert("recipe.centres".into(), value("recipe.centres", &[3, 16]));
    tensors.insert("recipe.groups".into(), HostTensor { shape: vec![1], values: vec![2.0] });
    change(&mut tensors);
    let path = folder.join("head.safetensors");
    Weights::from_tensors(tensors).save(&path).unwrap();
    Weights::open(&path).unwrap()
}

#[test]
fn behind_a_tower_it_is_a_backbone_with_the_same_bits_in_any_batch() {
    let folder = tempfile::tempdir().unwrap();
    let weights = file(folder.path(), |_| {});
    let plain = tower(true);
    let headed = with_token_head(tower(true), &weights).unwrap();
    assert_eq!((headed.backbone.width(), headed.backbone.classes(), headed.backbone.patches()), (16, 3, None));
    let parts = headed.backbone.parts();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["centres", "groups"]);
    assert_eq!(parts["groups"], array![[2.0]]);
    assert_ne!(headed.origin.weights_sha256, plain.origin.weights_sha256);
    assert!(headed.origin.head.as_ref().unwrap().ends_with("head.safetensors"));

    let batch = images(5, plain.preprocess.size as usize);
    let whole = headed.backbone.forward(batch.view());
    let patches = plain.backbone.forward(batch.view()).patches.unwrap();
    let device = Device::flex();
    let alone = tensors(&fitting());
    let head = load(TokenHead::new(&fitting(), &device), &Weights::from_tensors(alone)).unwrap();
    for row in 0..5 {
        let tokens = patches.index_axis(Axis(0), row);
        let data = TensorData::new(tokens.iter().copied().collect::<Vec<f32>>(), [1, tokens.nrows(), tokens.ncols()]);
        let expected = values(head.embed(Tensor::from_data(data, &device)));
        assert_eq!(whole.embedding.row(row).to_vec(), expected, "row {row}");
        let one = headed.backbone.forward(batch.slice(s![row..=row, .., .., ..]));
        assert_eq!(
            (one.embedding.row(0), one.logits.unwrap().row(0)),
            (whole.embedding.row(row), whole.logits.as_ref().unwrap().row(row))
        );
    }
    // The digest covers both files.
    let other = file(folder.path(), |tensors| {
        drop(tensors.insert("recipe.groups".into(), HostTensor { shape: vec![1], values: vec![4.0] }));
    });
    assert_ne!(with_token_head(tower(true), &other).unwrap().origin.weights_sha256, headed.origin.weights_sha256);
}

#[test]
fn what_does_not_belong_behind_a_tower_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |tower: LoadedBackbone, change: &dyn Fn(&mut BTreeMap<String, HostTensor>)| -> NnError {
        with_token_head(tower, &file(folder.path(), change)).err().expect("must be refused")
    };
    assert!(matches!(refuse(tower(false), &|_| {}), NnError::NoPatches { .. }));
    assert!(matches!(refuse(load_bundled("sprite-resnet").unwrap(), &|_| {}), NnError::NoPatches { .. }));
    let heads = |tensors: &mut BTreeMap<_, _>, heads: f32| {
        tensors.insert("recipe.heads".to_owned(), HostTensor { shape: vec![1], values: vec![heads] });
    };
    for wrong in [0.0, -1.0, 3.0, f32::NAN] {
        assert!(matches!(refuse(tower(true), &|tensors| heads(tensors, wrong)), NnError::NotAHead { .. }), "{wrong}");
    }
    assert!(matches!(refuse(tower(true), &|tensors| drop(tensors.remove("recipe.heads"))), NnError::NotAHead { .. }));
    assert!(matches!(
        refuse(tower(true), &|tensors| drop(tensors.remove("classifier.weight"))),
        NnError::NotAHead { .. }
    ));
    let missing = refuse(tower(true), &|tensors| drop(tensors.remove("layers.ln.weight"))).to_string();
    assert!(missing.contains("head.safetensors") && missing.contains("missing (1): layers.ln.weight"), "{missing}");
    let other = refuse(tower(true), &|tensors| {
        let TokenHeadSpec { tokens, .. } = fitting();
        tensors.insert("layers.pos_embedding".into(), value("layers.pos_embedding", &[1, tokens, 16]));
    });
    assert!(matches!(other, NnError::OtherTokens { .. }), "{other}");
    let another = refuse(tower(true), &|tensors| tensors.extend(token_head_facts(4, Some("ab"))));
    assert!(another.to_string().contains("the patches of other weights than these of `sprite-clip`"), "{another}");
    let unknown = file(folder.path(), |tensors| drop(tensors.remove("recipe.tower")));
    assert!(with_token_head(tower(true), &unknown).is_ok(), "a head of tokens from elsewhere");
}
