//! A linear probe: the classifier that labelled images give the image tower.

use anyhow::Context;
use knownset_core::logistic::Logistic;
use knownset_core::prompts::unit_rows;
use knownset_core::{Features, Head};
use ndarray::{Array2, Axis};

use crate::inputs::Set;

/// Penalties tried.
const PENALTIES: [f64; 6] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1];
/// Every so many-th image of a class is held out to choose among them.
const HELD_OUT: usize = 5;

/// A trained probe.
pub(super) struct LinearProbe {
    fitted: Logistic,
    /// The penalty chosen.
    pub(super) l2: f64,
}

impl LinearProbe {
    /// Trains on the labelled images of a set, with the penalty of least log-loss on every fifth image of each class,
    /// then on all of them.
    pub(super) fn train(set: &Set, classes: usize) -> anyhow::Result<Self> {
        let features = labelled(&set.features)?;
        let rows = unit(&features)?;
        let labels: Vec<usize> =
            features.labels.iter().flatten().filter_map(|&label| usize::try_from(label).ok()).collect();
        let (kept, held) = split(&labels, classes);
        let pick = |chosen: &[usize]| -> (Array2<f32>, Vec<usize>) {
            (rows.select(Axis(0), chosen), chosen.iter().map(|&row| labels[row]).collect())
        };
        let ((train, train_labels), (val, val_labels)) = (pick(&kept), pick(&held));
        let mut best = (f64::INFINITY, PENALTIES[PENALTIES.len() - 1]);
        for l2 in PENALTIES.into_iter().filter(|_| !held.is_empty()) {
            let fitted = Logistic::fit(train.view(), &train_labels, classes, l2).context("the linear probe")?;
            let loss = fitted.loss(val.view(), &val_labels);
            if loss < best.0 {
                best = (loss, l2);
            }
        }
        let fitted = Logistic::fit(rows.view(), &labels, classes, best.1).context("the linear probe")?;
        Ok(Self { fitted, l2: best.1 })
    }

    /// The features as a network would give them whose embedding is the tower's on the unit sphere and whose last layer
    /// is the probe.
    pub(super) fn read(&self, set: &Set) -> anyhow::Result<Set> {
        let features = &set.features;
        let embedding = unit(features)?;
        let single = |values: &Array2<f64>| values.mapv(|value| value as f32);
        let logits = single(&self.fitted.logits(embedding.view()));
        let bias = self.fitted.bias.mapv(|value| value as f32);
        Ok(Set::of(Features {
            ids: features.ids.clone(),
            labels: features.labels.clone(),
            logits: Some(logits),
            embedding: Some(embedding),
            head: Some(Head { weight: single(&self.fitted.weight), bias }),
            class_names: features.class_names.clone(),
            source: features.source.clone(),
            ..Features::default()
        }))
    }
}

/// The rows with a label.
fn labelled(features: &Features) -> anyhow::Result<Features> {
    let labels = features.labels.as_ref().context("the training images have no labels")?;
    let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] >= 0).collect();
    anyhow::ensure!(!rows.is_empty(), "no training image has a label of a known class");
    Ok(features.select(&rows))
}

/// Embeddings on the unit sphere.
fn unit(features: &Features) -> anyhow::Result<Array2<f32>> {
    let embedding = features.embedding.as_ref().context("the image tower gave no embedding")?;
    let unit = unit_rows(embedding).map_err(|row| anyhow::anyhow!("the embedding of {} is zero", features.id(row)))?;
    Ok(unit.mapv(|value| value as f32))
}

/// Rows to train on and rows to judge by; the first image of a class is always trained on.
fn split(labels: &[usize], classes: usize) -> (Vec<usize>, Vec<usize>) {
    let mut seen = vec![0; classes];
    (0..labels.len()).partition(|&row| {
        let Some(seen) = seen.get_mut(labels[row]) else { return true };
        *seen += 1;
        *seen % HELD_OUT != 0
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;

    #[test]
    fn every_fifth_image_of_a_class_is_held_out() {
        let (kept, held) = split(&[0, 0, 1, 0, 0, 0, 1], 2);
        assert_eq!((kept, held), (vec![0, 1, 2, 3, 4, 6], vec![5]));
    }

    #[test]
    fn a_probe_separates_what_lies_apart_whatever_its_length() {
        let labels = Array1::from_shape_fn(40, |row| if row == 7 { -1 } else { (row % 2) as i64 });
        let embedding = Array2::from_shape_fn((40, 2), |(row, j)| {
            let length = 1.0 + row as f32;
            length * if row % 2 == j { 1.0 } else { 0.1 * (row % 5) as f32 }
        });
        let set = Set::of(Features { embedding: Some(embedding), labels: Some(labels), ..Features::default() });
        let probe = LinearProbe::train(&set, 2).unwrap();
        let read = probe.read(&set).unwrap().features;
        read.check().unwrap();
        assert_eq!(read.accuracy(), Some(1.0));
        // The head makes the logits of the embedding.
        let head = read.head.unwrap();
        let again = read.embedding.unwrap().dot(&head.weight.t()) + &head.bias;
        assert!(again.iter().zip(&read.logits.unwrap()).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn images_without_labels_are_refused() {
        let set = |labels| Set::of(Features { embedding: Some(array![[1.0, 0.0]]), labels, ..Features::default() });
        let message = |set: &Set| LinearProbe::train(set, 1).err().unwrap().to_string();
        assert_eq!(message(&set(None)), "the training images have no labels");
        assert_eq!(message(&set(Some(array![-1]))), "no training image has a label of a known class");
    }
}
