//! That a score says what scores are to say.

use knownset_core::{Features, Head, UNKNOWN_LABEL};
use ndarray::{Axis, concatenate};

use super::data::{CLASSES, SPARE, close, far, fit, known, same_bits, score, test, train};
use crate::registry::Chosen;

/// AUROC of fresh in-distribution images against far ones.
pub(super) fn far_blob(chosen: &Chosen) -> Result<(), String> {
    // Enough images per class that OpenMax's tail of 20 is the tail.
    let fitted = fit(chosen, &known(1600, SPARE, 1))?;
    let inside = score(&fitted, &known(60, SPARE, 11))?;
    let outside = score(&fitted, &far(60, 12))?;
    let above = inside.iter().map(|a| outside.iter().filter(|b| a > *b).count()).sum::<usize>();
    let auroc = above as f64 / (inside.len() * outside.len()) as f64;
    if auroc > 0.9 { Ok(()) } else { Err(format!("AUROC {auroc:.3}")) }
}

pub(super) fn renumbered_classes(chosen: &Chosen) -> Result<(), String> {
    // Class c becomes class (c + 1) mod K: column c of the new logits is column c − 1 of the old ones.
    let order: Vec<usize> = (0..CLASSES).map(|class| (class + CLASSES - 1) % CLASSES).collect();
    let renumber = |features: Features| Features {
        labels: features.labels.map(|labels| labels.mapv(|label| (label + 1) % CLASSES as i64)),
        logits: features.logits.map(|logits| logits.select(Axis(1), &order)),
        head: features
            .head
            .map(|head| Head { weight: head.weight.select(Axis(0), &order), bias: head.bias.select(Axis(0), &order) }),
        ..features
    };
    let before = score(&fit(chosen, &train())?, &test())?;
    let after = score(&fit(chosen, &renumber(train()))?, &renumber(test()))?;
    close(&before, &after)
}

pub(super) fn unknown_rows(chosen: &Chosen) -> Result<(), String> {
    let (plain, more) = (train(), far(20, 13));
    let join = |a: &Option<ndarray::Array2<f32>>, b: &Option<ndarray::Array2<f32>>| {
        let (a, b) = (a.as_ref()?, b.as_ref()?);
        Some(concatenate![Axis(0), a.view(), b.view()])
    };
    let labels = plain
        .labels
        .as_ref()
        .map(|labels| concatenate![Axis(0), labels.view(), ndarray::Array1::from_elem(more.len(), UNKNOWN_LABEL)]);
    let both = Features {
        labels,
        logits: join(&plain.logits, &more.logits),
        embedding: join(&plain.embedding, &more.embedding),
        ..plain.clone()
    };
    same_bits(&score(&fit(chosen, &plain)?, &test())?, &score(&fit(chosen, &both)?, &test())?)
}
