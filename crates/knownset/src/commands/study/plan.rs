//! The file that describes a study.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Command, FromArgMatches};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::cli::Train;

/// A study: runs of `knownset train`, each with every seed, judged by the same detectors on the same images.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Plan {
    /// Images that detectors are fitted on.
    pub(crate) fit: String,
    /// Held-out images of the known set, for detectors that tune something on them.
    pub(crate) val: Option<String>,
    /// In-distribution test images.
    pub(crate) id: String,
    /// Images to refuse: sets by name, in groups by name.
    pub(crate) ood: BTreeMap<String, BTreeMap<String, String>>,
    /// Detectors as `bench` takes them.
    #[serde(default = "all")]
    pub(crate) detectors: String,
    /// Seeds of every run.
    pub(crate) seeds: Vec<u64>,
    /// The run that the others are held against.
    pub(crate) baseline: String,
    /// Options of `knownset train` that all runs share.
    #[serde(default)]
    pub(crate) train: Table,
    /// Options of each run, by its name.
    pub(crate) runs: BTreeMap<String, Table>,
}

fn all() -> String {
    "all".to_owned()
}

impl Plan {
    /// Reads and checks a study; `baseline` takes the place of the file's.
    pub(crate) fn read(path: &Path, baseline: Option<&str>) -> anyhow::Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let mut plan: Self = toml::from_str(&text).with_context(|| format!("{} is no study", path.display()))?;
        if let Some(baseline) = baseline {
            baseline.clone_into(&mut plan.baseline);
        }
        anyhow::ensure!(!plan.seeds.is_empty(), "{}: there are no seeds", path.display());
        let again = plan.seeds.iter().enumerate().find(|(index, seed)| plan.seeds[..*index].contains(seed));
        if let Some((_, seed)) = again {
            anyhow::bail!("{}: the seed {seed} is there twice, as if it were another run", path.display());
        }
        anyhow::ensure!(!plan.ood.is_empty(), "{}: there are no OOD sets", path.display());
        if let Some((group, _)) = plan.ood.iter().find(|(_, sets)| sets.is_empty()) {
            anyhow::bail!("{}: the group ood.{group} has no sets", path.display());
        }
        let (runs, baseline) = (plan.runs.keys().cloned().collect::<Vec<_>>().join(", "), &plan.baseline);
        anyhow::ensure!(
            plan.runs.contains_key(baseline),
            "{}: the baseline {baseline:?} is none of the runs {runs}",
            path.display()
        );
        let names: Vec<&String> = plan.ood.values().flat_map(BTreeMap::keys).collect();
        let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
        anyhow::ensure!(
            twice.is_none(),
            "{}: two OOD sets are called {:?}",
            path.display(),
            twice.map(|(_, name)| name)
        );
        Ok(plan)
    }

    /// All OOD sets, name and reference.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (&String, &String)> {
        self.ood.values().flatten()
    }

    /// The arguments of a run with a seed, as if they had been typed.
    pub(crate) fn arguments(&self, run: &str, seed: u64, out: &Path) -> anyhow::Result<Train> {
        let mut options = self.train.clone();
        options.extend(self.runs.get(run).cloned().unwrap_or_default());
        for taken in ["seed", "out", "resume"] {
            anyhow::ensure!(!options.contains_key(taken), "the study sets `{taken}` of its runs itself");
        }
        let mut typed: Vec<OsString> = vec!["train".into(), "--resume".into()];
        typed.extend(["--seed".into(), seed.to_string().into(), "--out".into(), out.into()]);
        for (key, value) in &options {
            for value in typed_values(value).with_context(|| format!("the option `{key}` of the run {run}"))? {
                typed.push(format!("--{key}").into());
                typed.extend(value.map(OsString::from));
            }
        }
        let command = Train::augment_args(Command::new("train"));
        let matches = command.try_get_matches_from(typed).with_context(|| format!("the run {run}"))?;
        Ok(Train::from_arg_matches(&matches)?)
    }
}

/// What follows each `--key`: nothing for `true`, and one for each element of an array.
fn typed_values(value: &Value) -> anyhow::Result<Vec<Option<String>>> {
    Ok(match value {
        Value::Boolean(true) => vec![None],
        Value::Boolean(false) => Vec::new(),
        Value::String(text) => vec![Some(text.clone())],
        Value::Integer(number) => vec![Some(number.to_string())],
        Value::Float(number) => vec![Some(number.to_string())],
        Value::Array(values) => {
            let values: anyhow::Result<Vec<_>> = values.iter().map(typed_values).collect();
            values?.into_iter().flatten().collect()
        }
        Value::Datetime(_) | Value::Table(_) => anyhow::bail!("wants a text, a number, true, false or a list of them"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        fit = "world:sprites#train"
        id = "world:sprites#test"
        seeds = [0, 1]
        baseline = "plain"
        [ood.near]
        near = "world:sprites#near"
        [train]
        data = "world:sprites#train"
        epochs = 2
        nesterov = true
        [runs.plain]
        recipe = "cross-entropy"
        [runs.oe]
        recipe = "oe"
        outliers = ["folder:a", "folder:b"]
        epochs = 3
    "#;

    fn plan(text: &str) -> anyhow::Result<Plan> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        Plan::read(file.path(), None)
    }

    #[test]
    fn options_of_a_run_come_after_those_of_all() {
        let plan = plan(TEXT).unwrap();
        let plain = plan.arguments("plain", 7, Path::new("out")).unwrap();
        assert_eq!((plain.recipe.as_str(), plain.descent.epochs, plain.descent.seed), ("cross-entropy", Some(2), 7));
        assert!(plain.descent.nesterov && plain.resume && plain.outliers.is_empty());
        let oe = plan.arguments("oe", 0, Path::new("out")).unwrap();
        assert_eq!(
            (oe.descent.epochs, oe.outliers.as_slice()),
            (Some(3), &["folder:a".to_owned(), "folder:b".to_owned()][..])
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |from: &str, to: &str| format!("{:#}", plan(&TEXT.replace(from, to)).unwrap_err());
        assert!(refused("baseline = \"plain\"", "baseline = \"none\"").contains("none of the runs oe, plain"));
        assert!(refused("seeds = [0, 1]", "seeds = []").contains("no seeds"));
        assert!(refused("seeds = [0, 1]", "seeds = [1, 0, 1]").contains("seed 1 is there twice"));
        assert!(refused("[ood.near]", "[ood.far]\n[ood.near]").contains("ood.far has no sets"));
        assert!(refused("[ood.near]", "oops = 1\n[ood.near]").contains("oops"));
        let wrong = plan(&TEXT.replace("epochs = 3", "epoch = 3")).unwrap();
        assert!(format!("{:#}", wrong.arguments("oe", 0, Path::new("out")).unwrap_err()).contains("--epoch"));
        let seeded = plan(&TEXT.replace("epochs = 3", "seed = 3")).unwrap();
        assert!(seeded.arguments("oe", 0, Path::new("out")).is_err());
    }
}
