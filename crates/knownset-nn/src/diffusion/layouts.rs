//! Names and shapes that files of different ages have for the same tensors.

use std::collections::{BTreeMap, BTreeSet};

use crate::weights::HostTensor;

type Tensors = BTreeMap<String, HostTensor>;

/// What the names of a text tower's tensors begin with.
pub(super) const TEXT: &str = "text_model.";

/// A text encoder's tensors under the names that released files have: newer versions of transformers leave the prefix out,
/// older ones keep a list of positions.
pub(super) fn text(mut tensors: Tensors) -> Tensors {
    if tensors.keys().any(|name| name.starts_with(TEXT)) {
        tensors.remove("text_model.embeddings.position_ids");
        tensors
    } else {
        tensors.remove("embeddings.position_ids");
        tensors.into_iter().map(|(name, tensor)| (format!("{TEXT}{name}"), tensor)).collect()
    }
}

/// A UNet's tensors: what projects attention's tokens is a matrix, though files may have it as a 1x1 convolution.
pub(super) fn unet(tensors: Tensors) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| attention(name, tensor)).collect()
}

/// An autoencoder's tensors: the same, under new names of the attention's layers.
pub(super) fn autoencoder(tensors: Tensors) -> Tensors {
    let there: BTreeSet<String> = tensors.keys().cloned().collect();
    let rename = |(name, tensor): (String, HostTensor)| {
        let new = new_name(&name);
        // A file that has both keeps one too many.
        attention(if there.contains(&new) { name } else { new }, tensor)
    };
    tensors.into_iter().map(rename).collect()
}

fn new_name(old: &str) -> String {
    let mut parts: Vec<&str> = old.split('.').collect();
    if let [.., "attentions", _, layer, _] = parts.as_mut_slice() {
        *layer = match *layer {
            "query" => "to_q",
            "key" => "to_k",
            "value" => "to_v",
            "proj_attn" => "to_out.0",
            other => other,
        };
    }
    parts.join(".")
}

fn attention(name: String, mut tensor: HostTensor) -> (String, HostTensor) {
    if name.contains(".attentions.") && tensor.shape.len() == 4 && tensor.shape.ends_with(&[1, 1]) {
        tensor.shape.truncate(2);
    }
    (name, tensor)
}
