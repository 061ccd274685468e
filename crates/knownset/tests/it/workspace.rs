//! Who may depend on whom: `ARCHITECTURE.md`'s table, held against the manifests.

use std::collections::BTreeSet;
use std::path::Path;

/// Crate, and the workspace's crates it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("knownset-core", &[]),
    ("knownset-detect", &["knownset-core"]),
    ("knownset-data", &["knownset-core"]),
    ("knownset-nn", &["knownset-core"]),
    ("knownset-train", &["knownset-core", "knownset-data", "knownset-nn"]),
    ("knownset", &["knownset-core", "knownset-data", "knownset-detect", "knownset-nn", "knownset-train"]),
];

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = BTreeSet::new();
    for entry in fs_err::read_dir(&crates).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let manifest = fs_err::read_to_string(crates.join(&name).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let dependencies = dependencies.split("\n[").next().unwrap();
        let used: Vec<&str> = dependencies.lines().filter_map(|line| line.split(['.', ' ']).next()).collect();
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| *known == name).expect("a crate the table does not know");
        for used in used {
            assert!(!used.starts_with("knownset") || allowed.contains(&used), "{name} may not use {used}");
            assert!(used != "burn" || ["knownset-nn", "knownset-train"].contains(&name.as_str()), "{name} uses burn");
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), ALLOWED.len());
}
