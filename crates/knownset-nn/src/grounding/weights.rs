//! The tensors of released checkpoints as the network has them: without buffers that can be computed, and without copies.

use std::collections::BTreeMap;
use std::path::Path;

use super::GroundingError;
use crate::network::GroundingSpec;
use crate::weights::{HostTensor, Weights};

/// Takes out what the network does not have, if it is known; everything else stays, to be found missing or left over.
pub(super) fn as_network(weights: Weights, spec: &GroundingSpec, path: &Path) -> Result<Weights, GroundingError> {
    let mut differs = None;
    let weights = weights.map(|mut tensors| {
        buffers(spec).for_each(|name| drop(tensors.remove(&name)));
        differs = without_copies(&mut tensors, spec);
        tensors
    });
    match differs {
        Some((copy, original)) => Err(GroundingError::Copy { path: path.into(), copy, original }),
        None => Ok(weights),
    }
}

/// Numbers that older versions of transformers saved, and a normalisation behind Swin's last stage that is never used.
fn buffers(spec: &GroundingSpec) -> impl Iterator<Item = String> {
    const SWIN: &str = "model.backbone.conv_encoder.model";
    const BERT: &str = "model.text_backbone.embeddings";
    let blocks = spec.swin.stages.iter().enumerate().flat_map(|(stage, of)| {
        (0..of.depth).map(move |block| {
            format!("{SWIN}.encoder.layers.{stage}.blocks.{block}.attention.self.relative_position_index")
        })
    });
    let norms = ["weight", "bias"].map(|kind| format!("{SWIN}.swin.layernorm.{kind}"));
    let numbers = ["position_ids", "token_type_ids"].map(|kind| format!("{BERT}.{kind}"));
    blocks.chain(norms).chain(numbers)
}

/// Takes out the decoder's copies of the perceptrons that move boxes, and where all layers share one, its copies. The names
/// of a copy and of its original if they differ.
fn without_copies(tensors: &mut BTreeMap<String, HostTensor>, spec: &GroundingSpec) -> Option<(String, String)> {
    for layer in 0..spec.decoder.depth {
        let original = if spec.shared_box_head { 0 } else { layer };
        for (linear, kind) in (0..3).flat_map(|linear| ["weight", "bias"].map(|kind| (linear, kind))) {
            let original = format!("bbox_embed.{original}.layers.{linear}.{kind}");
            let copies = ["model.decoder.", ""].map(|of| format!("{of}bbox_embed.{layer}.layers.{linear}.{kind}"));
            for copy in copies.into_iter().filter(|copy| *copy != original) {
                if let Some(tensor) = tensors.remove(&copy)
                    && tensors.get(&original).is_some_and(|original| *original != tensor)
                {
                    return Some((copy, original));
                }
            }
        }
    }
    None
}
