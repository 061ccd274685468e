//! What a detector must refuse, and what it must not ask for.

use knownset_core::state::DetectorFile;
use knownset_core::{Features, FeaturesError, Filter, Origin, Preprocess, Resize};
use ndarray::Array2;
use serde_json::json;

use super::data::{fit, same_bits, score, test, train};
use crate::fitted::{Fitted, ScoreError};
use crate::input::{FitError, FitInput};
use crate::registry::Chosen;

/// Only the arrays a detector declares.
fn declared(chosen: &Chosen, features: &Features) -> Features {
    let needs = chosen.entry().info.needs;
    Features {
        labels: features.labels.clone().filter(|_| needs.labels),
        logits: features.logits.clone().filter(|_| needs.logits),
        embedding: features.embedding.clone().filter(|_| needs.embedding),
        head: features.head.clone().filter(|_| needs.head),
        patches: features.patches.clone().filter(|_| needs.patches),
        rotations: features.rotations.clone().filter(|_| needs.rotations),
        parts: features.parts.clone().into_iter().filter(|(name, _)| needs.parts.contains(&&**name)).collect(),
        prompts: features.prompts.clone().into_iter().filter(|(name, _)| needs.prompts.contains(&&**name)).collect(),
        ..Features::default()
    }
}

pub(super) fn declared_needs(chosen: &Chosen) -> Result<(), String> {
    let all = score(&fit(chosen, &train())?, &test())?;
    let few = score(&fit(chosen, &declared(chosen, &train()))?, &declared(chosen, &test()))?;
    same_bits(&all, &few)?;
    if chosen.entry().info.needs.prompts.is_empty() {
        return Ok(());
    }
    let words = Features { prompts: train().prompts, ..Features::default() };
    same_bits(&all, &score(&fit(chosen, &words)?, &test())?).map_err(|why| format!("fitted on words alone, {why}"))
}

pub(super) fn missing_array(chosen: &Chosen) -> Result<(), String> {
    let (needs, train, test) = (chosen.entry().info.needs, train(), test());
    let fitted = fit(chosen, &train)?;
    let without = |array: &str, features: &Features| {
        let mut features = features.clone();
        match array {
            "labels" => features.labels = None,
            "logits" => features.logits = None,
            "embedding" => features.embedding = None,
            "patches" => features.patches = None,
            _ => features.head = None,
        }
        features
    };
    let in_words = !needs.prompts.is_empty();
    let arrays = [
        ("logits", needs.logits),
        ("embedding", needs.embedding),
        ("patches", needs.patches),
        ("labels", needs.labels),
        ("head", needs.head),
    ];
    for (array, _) in arrays.into_iter().filter(|(_, needed)| *needed) {
        let train = without(array, &train);
        let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
        match Fitted::fit(chosen, &input) {
            Ok(_) if in_words => {}
            Err(FitError::Missing { array: named, .. }) if named == array && !in_words => {}
            Err(error) => return Err(format!("fitted without {array}: {error}")),
            Ok(_) => return Err(format!("fits without {array}")),
        }
        if array == "logits" || array == "embedding" || array == "patches" {
            match fitted.score(&without(array, &test)) {
                Err(ScoreError::Missing { array: named, .. }) if named == array => {}
                other => return Err(format!("scored without {array}: {other:?}")),
            }
        }
    }
    for &prompts in needs.prompts {
        let mut train = train.clone();
        train.prompts.remove(prompts);
        let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
        match Fitted::fit(chosen, &input) {
            Err(FitError::NoPrompts { name }) if name == prompts => {}
            other => return Err(format!("fitted without prompts.{prompts}: {other:?}")),
        }
    }
    for &part in needs.parts {
        let mut train = train.clone();
        train.parts.remove(part);
        let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
        match Fitted::fit(chosen, &input) {
            Err(FitError::NotOfRecipe { array, .. }) if array == format!("parts.{part}") => {}
            other => return Err(format!("fitted without parts.{part}: {other:?}")),
        }
    }
    if needs.rotations {
        let gone = |features: &Features| Features { rotations: None, ..features.clone() };
        let unturned = gone(&train);
        let input = FitInput::new(&unturned, None).map_err(|error| error.to_string())?;
        match Fitted::fit(chosen, &input) {
            Err(FitError::NotOfRecipe { array, .. }) if array == "rotations" => {}
            other => return Err(format!("fitted without rotations: {other:?}")),
        }
        match fitted.score(&gone(&test)) {
            Err(ScoreError::Missing { array: "rotations", .. }) => {}
            other => return Err(format!("scored without rotations: {other:?}")),
        }
    }
    Ok(())
}

/// Parts of no rows, which no detector can use.
pub(super) fn misshapen_part(chosen: &Chosen) -> Result<(), String> {
    for &part in chosen.entry().info.needs.parts {
        let mut train = train();
        train.parts.insert(part.into(), Array2::zeros((0, 1)));
        let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
        match Fitted::fit(chosen, &input) {
            Err(error @ FitError::PartShape { name, .. }) if name == part && error.to_string().contains("[0, 1]") => {}
            other => return Err(format!("fitted with parts.{part} of no rows: {other:?}")),
        }
    }
    Ok(())
}

/// Words without a direction, and, where at least one is needed, no words.
pub(super) fn useless_words(chosen: &Chosen) -> Result<(), String> {
    let train = train();
    let fit = |prompts: &str, change: &dyn Fn(&mut Array2<f32>)| {
        let mut train = train.clone();
        train.prompts.get_mut(prompts).into_iter().for_each(change);
        let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
        Ok::<_, String>(Fitted::fit(chosen, &input))
    };
    for &prompts in chosen.entry().info.needs.prompts {
        match fit(prompts, &|rows| rows.row_mut(2).fill(0.0))? {
            Err(FitError::Features { source: FeaturesError::ZeroRow { array, row: 2 }, .. })
                if array == format!("prompts.{prompts}") => {}
            other => return Err(format!("prompts.{prompts} with a row of zeros: {other:?}")),
        }
    }
    if chosen.entry().info.needs.prompts.is_empty() {
        return Ok(());
    }
    let none = |(name, rows): (String, Array2<f32>)| (name, Array2::zeros((0, rows.ncols())));
    let words = Features { prompts: train.prompts.into_iter().map(none).collect(), ..Features::default() };
    let input = FitInput::new(&words, None).map_err(|error| error.to_string())?;
    match Fitted::fit(chosen, &input) {
        Err(FitError::EmptyPrompts { .. }) => Ok(()),
        other => Err(format!("no words at all: {other:?}")),
    }
}

pub(super) fn not_finite(chosen: &Chosen) -> Result<(), String> {
    let fitted = fit(chosen, &train())?;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let spoil = |features: &mut Features| {
            features.logits.iter_mut().for_each(|array| array[(7, 1)] = bad);
            features.embedding.iter_mut().for_each(|array| array[(7, 1)] = bad);
            features.patches.iter_mut().for_each(|array| array[(7, 1, 0)] = bad);
            features.rotations.iter_mut().for_each(|array| array[(7, 1, 0)] = bad);
        };
        let (mut train, mut test) = (train(), test());
        spoil(&mut train);
        spoil(&mut test);
        match FitInput::new(&train, None) {
            Err(FitError::Features { source, .. }) if source.to_string().contains("row 7") => {}
            other => return Err(format!("{bad} in training: {:?}", other.err())),
        }
        match fitted.score(&test) {
            Err(ScoreError::NotFinite { row: 7, .. }) => {}
            other => return Err(format!("{bad} in row 7: {other:?}")),
        }
    }
    Ok(())
}

pub(super) fn wrong_width(chosen: &Chosen) -> Result<(), String> {
    let (fitted, mut test) = (fit(chosen, &train())?, test());
    let narrow = |array: Array2<f32>| array.slice_move(ndarray::s![.., 1..]);
    test.logits = test.logits.map(narrow);
    test.embedding = test.embedding.map(narrow);
    test.patches = test.patches.map(|array| array.slice_move(ndarray::s![.., .., 1..]));
    match fitted.score(&test) {
        Err(error @ ScoreError::Width { fitted, given, .. }) if given + 1 == fitted => {
            let message = error.to_string();
            let both = message.contains(&fitted.to_string()) && message.contains(&given.to_string());
            if both { Ok(()) } else { Err(message) }
        }
        other => Err(format!("{other:?}")),
    }
}

pub(super) fn other_origin(chosen: &Chosen) -> Result<(), String> {
    let origin = |backbone: &str| Origin {
        backbone: backbone.into(),
        weights_sha256: "0".into(),
        preprocess: Preprocess {
            resize: Resize::Exact { size: 32, filter: Filter::Bilinear },
            size: 32,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        weights: None,
        head: None,
    };
    let (mut train, mut test) = (train(), test());
    train.origin = Some(origin("one"));
    let fitted = fit(chosen, &train)?;
    score(&fitted, &test)?;
    test.origin = Some(origin("one"));
    score(&fitted, &test)?;
    test.origin = Some(origin("other"));
    match fitted.score(&test) {
        Err(ScoreError::Origin { .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

pub(super) fn unknown_parameter(chosen: &Chosen) -> Result<(), String> {
    match Chosen::new(chosen.entry(), &json!({"no-such-parameter": 1})) {
        Err(error) if std::error::Error::source(&error).is_some() => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Takes every array away, one after the other, and makes every width another one.
pub(super) fn damaged_state(chosen: &Chosen) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("d.safetensors");
    fit(chosen, &train())?.save(&path).map_err(|error| error.to_string())?;
    let good = DetectorFile::read(&path).map_err(|error| error.to_string())?;
    let load = |file: &DetectorFile| {
        file.write(&path).map_err(|error| error.to_string())?;
        Ok::<_, String>(Fitted::load(&path))
    };
    let names: Vec<String> = good.state.iter().map(|(name, _)| name.to_owned()).collect();
    for gone in &names {
        let mut damaged = good.clone();
        let left = good.state.iter().filter(|(name, _)| name != gone);
        damaged.state =
            left.fold(knownset_core::state::State::new(), |state, (name, tensor)| state.with(name, tensor.clone()));
        if load(&damaged)?.is_ok() {
            return Err(format!("loads without {gone}"));
        }
    }
    let reads_width = names.iter().any(|name| name != "temperature");
    let mut damaged = good.clone();
    damaged.header.logits = good.header.logits.map(|width| width + 1);
    damaged.header.embedding = good.header.embedding.map(|width| width + 1);
    if reads_width && load(&damaged)?.is_ok() {
        return Err("loads with other widths".into());
    }
    Ok(())
}
