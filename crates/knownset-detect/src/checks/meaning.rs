//! That a score says what scores are to say.

use knownset_core::{Features, UNKNOWN_LABEL};
use ndarray::{Axis, concatenate};

use super::data::{CLASSES, SPARE, close, far, fit, join, known, same_bits, score, test, train, with_classes};
use crate::registry::Chosen;
use crate::stream::{Stream, Streamed};

/// AUROC of fresh in-distribution images against far ones.
pub(super) fn far_blob(chosen: &Chosen) -> Result<(), String> {
    // Enough images per class that OpenMax's tail of 20 is the tail.
    let fitted = fit(chosen, &known(1600, SPARE, 1))?;
    let streamed = fitted.score_against(&known(60, SPARE, 11), &far(60, 12), &Stream::default());
    let Streamed { id: inside, ood: outside, .. } = streamed.map_err(|error| format!("does not score: {error}"))?;
    let above = inside.iter().map(|a| outside.iter().filter(|b| a > *b).count()).sum::<usize>();
    let auroc = above as f64 / (inside.len() * outside.len()) as f64;
    if auroc > 0.9 { Ok(()) } else { Err(format!("AUROC {auroc:.3}")) }
}

pub(super) fn renumbered_classes(chosen: &Chosen) -> Result<(), String> {
    // Class c becomes class (c + 1) mod K: column c of the new logits is column c − 1 of the old ones.
    let order: Vec<usize> = (0..CLASSES).map(|class| (class + CLASSES - 1) % CLASSES).collect();
    let renumber = |features: Features| Features {
        labels: features.labels.clone().map(|labels| labels.mapv(|label| (label + 1) % CLASSES as i64)),
        ..with_classes(features, &order)
    };
    let before = score(&fit(chosen, &train())?, &test())?;
    let after = score(&fit(chosen, &renumber(train()))?, &renumber(test()))?;
    close(&before, &after)
}

pub(super) fn unknown_rows(chosen: &Chosen) -> Result<(), String> {
    let (plain, more) = (train(), far(20, 13));
    let labels = plain
        .labels
        .as_ref()
        .map(|labels| concatenate![Axis(0), labels.view(), ndarray::Array1::from_elem(more.len(), UNKNOWN_LABEL)]);
    let both = Features {
        labels,
        logits: join(plain.logits.as_ref(), more.logits.as_ref()),
        embedding: join(plain.embedding.as_ref(), more.embedding.as_ref()),
        patches: join(plain.patches.as_ref(), more.patches.as_ref()),
        rotations: join(plain.rotations.as_ref(), more.rotations.as_ref()),
        ..plain.clone()
    };
    same_bits(&score(&fit(chosen, &plain)?, &test())?, &score(&fit(chosen, &both)?, &test())?)
}
