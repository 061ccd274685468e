//! The same bits, whatever the batch, the order, the threads or the file.

use knownset_core::Features;
use ndarray::{Array, Dimension};

use super::data::{fit, fit_and_score, same_bits, score, test, train};
use crate::fitted::Fitted;
use crate::input::FitInput;
use crate::registry::Chosen;

pub(super) fn deterministic(chosen: &Chosen) -> Result<(), String> {
    let (train, test) = (train(), test());
    let input = FitInput::new(&train, None).map_err(|error| error.to_string())?;
    let fit = || Fitted::fit(chosen, &input).map_err(|error| error.to_string());
    let (first, second) = (fit()?, fit()?);
    let scores = score(&first, &test)?;
    same_bits(&scores, &score(&first, &test)?)?;
    same_bits(&scores, &score(&second, &test)?)?;
    same_bits(&scores, &fit_and_score(chosen, &train)?)
}

pub(super) fn row_by_row(chosen: &Chosen) -> Result<(), String> {
    let (fitted, test) = (fit(chosen, &train())?, test());
    let all = score(&fitted, &test)?;
    let mut one_by_one = Vec::with_capacity(all.len());
    for row in 0..test.len() {
        one_by_one.extend(score(&fitted, &test.select(&[row]))?);
    }
    same_bits(&all, &one_by_one)
}

pub(super) fn permuted_rows(chosen: &Chosen) -> Result<(), String> {
    let (fitted, test) = (fit(chosen, &train())?, test());
    let order: Vec<usize> = (0..test.len()).map(|row| (row * 77 + 5) % test.len()).collect();
    let all = score(&fitted, &test)?;
    let expected: Vec<f64> = order.iter().map(|&row| all[row]).collect();
    same_bits(&expected, &score(&fitted, &test.select(&order))?)?;
    // Columns of a Fortran-ordered array lie elsewhere, but say the same.
    let turned = Features {
        logits: test.logits.as_ref().map(turned),
        embedding: test.embedding.as_ref().map(turned),
        patches: test.patches.as_ref().map(turned),
        rotations: test.rotations.as_ref().map(turned),
        ..Features::default()
    };
    same_bits(&all, &score(&fitted, &turned)?)
}

pub(super) fn threads(chosen: &Chosen) -> Result<(), String> {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())?;
        pool.install(|| fit_and_score(chosen, &train()))
    };
    let one = run(1)?;
    same_bits(&one, &run(2)?)?;
    same_bits(&one, &run(5)?)
}

pub(super) fn through_a_file(chosen: &Chosen) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (path, again) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let fitted = fit(chosen, &train())?;
    fitted.save(&path).map_err(|error| error.to_string())?;
    let loaded = Fitted::load(&path).map_err(|error| error.to_string())?;
    same_bits(&score(&fitted, &test())?, &score(&loaded, &test())?)?;
    loaded.save(&again).map_err(|error| error.to_string())?;
    let read = |path| fs_err::read(path).map_err(|error| error.to_string());
    if read(&path)? == read(&again)? { Ok(()) } else { Err("a loaded detector is saved as other bytes".into()) }
}

/// The same array, its last dimension the slowest in memory.
fn turned<D: Dimension>(array: &Array<f32, D>) -> Array<f32, D> {
    array.t().as_standard_layout().into_owned().reversed_axes()
}
