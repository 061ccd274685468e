//! Every check on every detector.

use knownset_detect::checks::{CHECKS, EXCEPTIONS, check_detector};
use knownset_detect::{DETECTORS, find};

#[test]
fn every_detector_passes_every_check() {
    let failures: Vec<String> =
        DETECTORS.iter().flat_map(|entry| check_detector(entry)).map(|failure| failure.to_string()).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn exceptions_name_a_detector_a_check_and_a_reason() {
    for exception in EXCEPTIONS {
        assert_eq!(find(exception.detector).unwrap().info.name, exception.detector);
        assert!(CHECKS.iter().any(|check| check.name == exception.check), "{}", exception.check);
        assert!(!exception.why.is_empty());
    }
}
