//! `knownset fit`: features of the known set → one fitted detector.

use anyhow::Context;
use knownset_detect::{FitInput, Fitted, select};
use serde_json::json;

use super::Status;
use crate::cli::Fit;
use crate::inputs::Set;
use crate::printer::Printer;

pub(super) fn run(args: &Fit, printer: Printer) -> anyhow::Result<Status> {
    let chosen = select(&args.detector)?;
    let [chosen] = chosen.as_slice() else {
        anyhow::bail!(
            "`fit` takes one detector, but {:?} names {}; `bench` takes several",
            args.detector,
            chosen.len()
        );
    };
    let train = Set::from_file(&args.train, printer)?;
    let val = args.val.as_ref().map(|path| Set::from_file(path, printer)).transpose()?;
    let input = FitInput::new(&train.features, val.as_ref().map(|set| &set.features))?;
    let fitted = Fitted::fit(chosen, &input).with_context(|| format!("cannot fit {chosen}"))?;
    fitted.save(&args.out)?;
    let (out, n, params) = (args.out.display().to_string(), train.features.len(), fitted.params());
    printer.result(&json!({"out": out, "detector": fitted.info().name, "params": params, "n": n}), || match n {
        0 => format!("{out}: {chosen} fitted on {} classes given in words", train.features.classes()),
        _ => format!("{out}: {chosen} fitted on {n} images"),
    })?;
    Ok(Status::Done)
}
