//! Training sets and rows that are unusual but right.

use knownset_core::Features;
use ndarray::{Array2, Axis, concatenate};

use super::data::{fit, fit_and_score, known, score, test, train, with_classes};
use crate::input::FitInput;
use crate::registry::Chosen;

pub(super) fn few_rows(chosen: &Chosen) -> Result<(), String> {
    let fitted = fit(chosen, &train())?;
    score(&fitted, &test().select(&[]))?;
    score(&fitted, &test().select(&[0]))?;
    Ok(())
}

pub(super) fn one_class(chosen: &Chosen) -> Result<(), String> {
    let first = |features: Features| Features {
        labels: features.labels.clone().map(|labels| labels.mapv(|_| 0)),
        ..with_classes(features, &[0])
    };
    score(&fit(chosen, &first(train()))?, &first(test()))?;
    Ok(())
}

pub(super) fn one_image_class(chosen: &Chosen) -> Result<(), String> {
    let train = train();
    let (labels, predictions) = (train.labels.clone().unwrap_or_default(), train.predictions().unwrap_or_default());
    let right = (0..labels.len()).find(|&row| labels[row] == 3 && predictions[row] == 3);
    let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] != 3 || Some(row) == right).collect();
    fit_and_score(chosen, &train.select(&rows))?;
    Ok(())
}

/// Either outcome is right, a panic or a score that is not a number is not.
pub(super) fn one_training_row(chosen: &Chosen) -> Result<(), String> {
    let train = train().select(&[0]);
    let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
    match crate::fitted::Fitted::fit(chosen, &input) {
        Ok(fitted) => score(&fitted, &test()).map(|_| ()),
        Err(error) if error.to_string().is_empty() => Err("refused without a reason".into()),
        Err(_) => Ok(()),
    }
}

pub(super) fn constant_dimension(chosen: &Chosen) -> Result<(), String> {
    for value in [0.0, 1.0] {
        let mut train = train();
        train.embedding.iter_mut().for_each(|embedding| embedding.column_mut(2).fill(value));
        fit_and_score(chosen, &train)?;
    }
    Ok(())
}

pub(super) fn duplicated_rows(chosen: &Chosen) -> Result<(), String> {
    let train = train();
    let twice: Vec<usize> = (0..train.len()).flat_map(|row| [row, row]).collect();
    fit_and_score(chosen, &train.select(&twice))?;
    Ok(())
}

pub(super) fn wide(chosen: &Chosen) -> Result<(), String> {
    let fitted = fit(chosen, &known(64, 84, 4))?;
    score(&fitted, &known(40, 84, 5))?;
    Ok(())
}

pub(super) fn not_rectified(chosen: &Chosen) -> Result<(), String> {
    let fitted = fit(chosen, &train())?;
    let mut test = test();
    if let Some(embedding) = &mut test.embedding {
        let negative = embedding.mapv(|value| -value);
        let zero = Array2::zeros(embedding.dim());
        *embedding = concatenate![Axis(0), negative, embedding.mapv(|value| value - 1.0), zero];
    }
    if let Some(patches) = &mut test.patches {
        let zero = ndarray::Array3::zeros(patches.dim());
        *patches = concatenate![Axis(0), patches.mapv(|value| -value), patches.mapv(|value| value - 1.0), zero];
    }
    if let Some(logits) = &mut test.logits {
        *logits = concatenate![Axis(0), logits.view(), logits.view(), Array2::zeros(logits.dim())];
    }
    if let Some(rotations) = &mut test.rotations {
        let zero = ndarray::Array3::zeros(rotations.dim());
        *rotations = concatenate![Axis(0), rotations.view(), -&*rotations, zero];
    }
    score(&fitted, &test)?;
    // The same kind of rows in training.
    let mut train = train();
    train.embedding.iter_mut().for_each(|embedding| *embedding -= 1.0);
    fit_and_score(chosen, &train)?;
    Ok(())
}

pub(super) fn large_logits(chosen: &Chosen) -> Result<(), String> {
    let enlarge = |features: &mut Features| {
        features.logits.iter_mut().for_each(|logits| {
            let largest = logits.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            *logits *= 1e4 / largest;
        });
    };
    let (mut train_large, mut test_large) = (train(), test());
    enlarge(&mut train_large);
    enlarge(&mut test_large);
    if let Some(logits) = &mut test_large.logits {
        for (column, mut values) in logits.columns_mut().into_iter().enumerate() {
            values[0] = if column == 0 { 1e4 } else { -1e4 };
            values[1] = -1e4;
        }
    }
    for train in [train(), train_large] {
        score(&fit(chosen, &train)?, &test_large)?;
    }
    Ok(())
}
