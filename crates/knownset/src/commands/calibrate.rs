//! `knownset calibrate`: a threshold that bounds the false-alarm rate, stored in the detector file.

use anyhow::Context;
use knownset_core::calibration::Calibration;
use knownset_detect::Fitted;
use serde_json::json;

use super::Status;
use super::score::{network_of, open};
use crate::cli::Calibrate;
use crate::printer::Printer;

pub(super) fn run(args: &Calibrate, printer: Printer) -> anyhow::Result<Status> {
    let mut fitted = Fitted::load(&args.detector)?;
    let path = std::path::Path::new(&args.id);
    let set = if path.is_file() {
        open(Some(path), None, None, &args.reading, printer)?
    } else {
        let network = network_of(&fitted, args.weights.as_deref(), args.head.as_deref(), printer)?;
        open(None, Some(&args.id), Some(&network), &args.reading, printer)?
    };
    let scores = fitted.score(&set.features)?;
    let n = scores.len();
    let calibration =
        Calibration::new(scores, args.alpha).with_context(|| format!("cannot calibrate on {}", args.id))?;
    let (threshold, rate) = (calibration.threshold(), calibration.false_alarm_rate());
    fitted.calibration = Some(calibration);
    fitted.save(&args.out)?;
    let (out, alpha) = (args.out.display().to_string(), args.alpha);
    let name = fitted.info().name;
    let result = json!({
        "out": out, "detector": name, "n": n, "alpha": alpha, "threshold": threshold, "false_alarm_rate": rate,
    });
    printer.result(&result, || {
        format!(
            "{out}: {name} flags scores below {threshold:.6}\n\
             In-distribution images like the {n} given are flagged with probability at most {rate:.4} (alpha {alpha})."
        )
    })?;
    Ok(Status::Done)
}
