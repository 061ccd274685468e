//! That a score says what scores are to say.

use knownset_core::prompts as p;
use knownset_core::{Features, Head, UNKNOWN_LABEL};
use ndarray::{Array2, Axis, concatenate};

use super::data::{CLASSES, ROUNDS, SPARE, close, far, fit, join, known, same_bits, score, test, train};
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
    let renumber_words = |(name, rows): (String, Array2<f32>)| {
        let rounds = match name.as_str() {
            p::CLASSES | p::DENIALS => 1,
            p::SHUFFLED | p::NEGATED => ROUNDS,
            _ => return (name, rows),
        };
        let order: Vec<usize> =
            (0..rounds).flat_map(|round| order.iter().map(move |class| round * CLASSES + class)).collect();
        (name, rows.select(Axis(0), &order))
    };
    let renumber = |features: Features| Features {
        labels: features.labels.map(|labels| labels.mapv(|label| (label + 1) % CLASSES as i64)),
        logits: features.logits.map(|logits| logits.select(Axis(1), &order)),
        head: features
            .head
            .map(|head| Head { weight: head.weight.select(Axis(0), &order), bias: head.bias.select(Axis(0), &order) }),
        prompts: features.prompts.into_iter().map(renumber_words).collect(),
        ..features
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
        ..plain.clone()
    };
    same_bits(&score(&fit(chosen, &plain)?, &test())?, &score(&fit(chosen, &both)?, &test())?)
}
