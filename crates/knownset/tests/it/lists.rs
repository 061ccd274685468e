//! The registries, as scripts read them.

use serde_json::Value;

use crate::util::run;

fn names(command: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let json = run(folder.path(), &[command, "--json"]).json();
    json.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_first_twenty_detectors_are_there() {
    let wanted = "msp temp-scale mls ebo gen entropy klm openmax mds rmds knn vim residual she fdbd grad-norm react ash-s \
                  scale dice";
    let found = names("detectors");
    for name in wanted.split_whitespace() {
        assert!(found.iter().any(|found| found == name), "{name} is missing");
    }
}

#[test]
fn backbones_datasets_and_recipes_are_listed() {
    let backbones = names("backbones");
    for name in ["cifar-resnet20", "cifar-resnet110", "resnet18", "resnet101", "resnet18-32x32", "sprite-resnet"] {
        assert!(backbones.iter().any(|found| found == name), "{name} is missing");
    }
    assert!(names("datasets").contains(&"zip".to_owned()));
    assert!(names("recipes").contains(&"cross-entropy".to_owned()));
}

#[test]
fn every_entry_can_be_explained_and_an_unknown_one_suggests_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    for list in ["detectors", "backbones", "recipes", "datasets"] {
        for name in names(list) {
            let ran = run(folder.path(), &[list, &name]);
            assert!(ran.code == 0 && ran.stdout.contains(&name), "{list} {name}: {}", ran.stderr);
        }
    }
    run(folder.path(), &["detectors", "mahalanobi"]).refused(&["did you mean `mds`"]);
    run(folder.path(), &["backbones", "resnet19"]).refused(&["did you mean `resnet18`"]);
}

#[test]
fn help_and_completions_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let help = run(folder.path(), &["--help"]).stdout;
    let completions = run(folder.path(), &["completions", "bash"]).stdout;
    for command in ["demo", "extract", "fit", "score", "bench", "eval", "calibrate", "train"] {
        assert!(help.contains(command) && completions.contains(command), "{command}");
    }
    let info: Value = run(folder.path(), &["detectors", "knn", "--json"]).json();
    assert!(info["formula"].as_str().unwrap().len() > 5, "{info}");
}
