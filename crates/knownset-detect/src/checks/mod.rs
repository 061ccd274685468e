//! Checks that every detector passes, after scikit-learn's estimator checks. Run them on a new detector with
//! [`check_detector`].

mod data;
mod meaning;
mod refusal;
mod repeat;
mod strange;

use crate::registry::{Chosen, DETECTORS};
use crate::spec::Entry;

/// One check.
#[derive(Debug)]
pub struct Check {
    /// What must hold, in a few words.
    pub name: &'static str,
    run: fn(&Chosen) -> Result<(), String>,
}

/// A check that a detector does not pass, or passes though it is excepted from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detector}: {check}: {message}")]
pub struct CheckFailure {
    /// The detector.
    pub detector: String,
    /// The check.
    pub check: &'static str,
    /// What was seen.
    pub message: String,
}

/// A check that a detector is known not to pass.
#[derive(Debug)]
pub struct Exception {
    /// The detector.
    pub detector: &'static str,
    /// The check.
    pub check: &'static str,
    /// Why that is right.
    pub why: &'static str,
}

/// Every check.
pub static CHECKS: &[Check] = &[
    Check { name: "the same fit and the same scores twice", run: repeat::deterministic },
    Check { name: ALONE, run: repeat::row_by_row },
    Check { name: ORDER, run: repeat::permuted_rows },
    Check { name: "one thread and several give the same bits", run: repeat::threads },
    Check { name: "a saved and loaded detector gives the same bits", run: repeat::through_a_file },
    Check { name: "no rows, one row", run: strange::few_rows },
    Check { name: "one class", run: strange::one_class },
    Check { name: "a class with one image", run: strange::one_image_class },
    Check { name: "one training image is fitted or refused", run: strange::one_training_row },
    Check { name: "a constant dimension", run: strange::constant_dimension },
    Check { name: "every training row twice", run: strange::duplicated_rows },
    Check { name: "fewer rows than dimensions", run: strange::wide },
    Check { name: "negative and all-zero embeddings", run: strange::not_rectified },
    Check { name: "logits of 10,000", run: strange::large_logits },
    Check { name: "only the declared arrays are needed", run: refusal::declared_needs },
    Check { name: "a missing array is named", run: refusal::missing_array },
    Check { name: "a part of no rows is refused with its shape", run: refusal::misshapen_part },
    Check { name: "words without a direction are refused with their row", run: refusal::useless_words },
    Check { name: "a NaN or infinity is refused with its row", run: refusal::not_finite },
    Check { name: "a wrong width is refused with both widths", run: refusal::wrong_width },
    Check { name: "another origin is refused", run: refusal::other_origin },
    Check { name: "an unknown parameter is refused", run: refusal::unknown_parameter },
    Check { name: "a damaged state is refused", run: refusal::damaged_state },
    Check { name: "a far blob scores lower than an in-distribution one", run: meaning::far_blob },
    Check { name: "the numbering of classes does not matter", run: meaning::renumbered_classes },
    Check { name: "training rows of no known class do not count", run: meaning::unknown_rows },
];

/// Every exception. One that is not needed any more is itself a failure.
pub static EXCEPTIONS: &[Exception] = &[
    Exception {
        detector: "openmax",
        check: "a class with one image",
        why: "a Weibull tail needs at least three distances; the error names the class and both counts",
    },
    Exception { detector: "adaneg", check: ALONE, why: LEARNS },
    Exception { detector: "adaneg", check: ORDER, why: LEARNS },
    Exception { detector: "oodd", check: ALONE, why: LEARNS },
    Exception { detector: "oodd", check: ORDER, why: LEARNS },
];

const ALONE: &str = "a row scores the same alone and in a batch";
const ORDER: &str = "the order of rows does not matter";
const LEARNS: &str = "it learns from the test stream: what a row scores depends on the rows before it";

/// Runs one check on a detector with the given parameters, exceptions considered.
pub fn check(chosen: &Chosen, check: &Check) -> Result<(), CheckFailure> {
    let name = chosen.entry().info.name;
    let excepted = EXCEPTIONS.iter().any(|exception| exception.detector == name && exception.check == check.name);
    let failure = |message| CheckFailure { detector: chosen.to_string(), check: check.name, message };
    match ((check.run)(chosen), excepted) {
        (Ok(()), false) | (Err(_), true) => Ok(()),
        (Err(message), false) => Err(failure(message)),
        (Ok(()), true) => Err(failure("passes, so the exception is not needed".into())),
    }
}

/// Runs every check on a detector with its default parameters; all failures.
pub fn check_detector(entry: &'static Entry) -> Vec<CheckFailure> {
    match Chosen::new(entry, &serde_json::Value::Null) {
        Ok(chosen) => CHECKS.iter().filter_map(|one| check(&chosen, one).err()).collect(),
        Err(error) => {
            let message = error.to_string();
            vec![CheckFailure { detector: entry.info.name.into(), check: "default parameters", message }]
        }
    }
}

/// Runs every check on every detector of the registry; all failures.
pub fn check_all() -> Vec<CheckFailure> {
    DETECTORS.iter().flat_map(|entry| check_detector(entry)).collect()
}
