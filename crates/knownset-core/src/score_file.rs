//! Saved scores: `.npz` as OpenOOD writes them (`conf`, `pred`, `label`), `.safetensors` with the same arrays, or
//! CSV with a header.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::Array1;

use crate::numpy;
use crate::tensor_file::{Tensor, TensorFile, TensorFileError, write_atomically};

/// The scores of n images, and what is known of the classifier's answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoreTable {
    /// One id per image; empty where the file has none.
    pub ids: Vec<String>,
    /// Scores, higher = more in-distribution.
    pub scores: Vec<f64>,
    /// Predicted classes.
    pub predictions: Option<Vec<i64>>,
    /// True classes, negative for none.
    pub labels: Option<Vec<i64>>,
}

/// A score file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreFileError {
    /// The file as such is unreadable.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No scores in it.
    #[error("{path}: no `conf` (or `score`) {what}; found: {found}")]
    NoScores {
        /// The file.
        path: PathBuf,
        /// Array or column.
        what: &'static str,
        /// What there is.
        found: String,
    },
    /// Arrays of different lengths or types.
    #[error("{path}: {name} has {found} entries but there are {scores} scores")]
    Length {
        /// The file.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// Its length.
        found: usize,
        /// Number of scores.
        scores: usize,
    },
    /// A CSV cell that is not a number.
    #[error("{path}, line {line}: {text:?} is not a number (column {column})")]
    Cell {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// Not one of the formats.
    #[error("{path}: scores are written as .npz, .safetensors or .csv")]
    Format {
        /// The file.
        path: PathBuf,
    },
}

impl ScoreTable {
    /// Reads a score file; `.csv` by name, the others by content. CSV columns: `conf` or `score`, and optionally
    /// `id`, `pred`, `label`; others are ignored.
    pub fn read(path: &Path) -> Result<Self, ScoreFileError> {
        if extension(path) == "csv" {
            return Self::from_csv(path, &fs_err::read_to_string(path)?);
        }
        let TensorFile { mut tensors, metadata } = TensorFile::read(path)?;
        let found = tensors.keys().cloned().collect::<Vec<_>>().join(", ");
        let conf = tensors.remove("conf").or_else(|| tensors.remove("score"));
        let scores: Vec<f64> = match conf {
            Some(Tensor::F64(array)) => array.into_iter().collect(),
            Some(Tensor::F32(array)) => array.into_iter().map(f64::from).collect(),
            _ => return Err(ScoreFileError::NoScores { path: path.into(), what: "array of floats", found }),
        };
        let mut integers = |name: &'static str| match tensors.remove(name) {
            Some(Tensor::I64(array)) => Some((name, array.into_iter().collect::<Vec<_>>())),
            Some(Tensor::F32(array)) => Some((name, array.into_iter().map(|value| value as i64).collect())),
            Some(Tensor::F64(array)) => Some((name, array.into_iter().map(|value| value as i64).collect())),
            None => None,
        };
        let (predictions, labels) = (integers("pred"), integers("label"));
        for (name, values) in [&predictions, &labels].into_iter().flatten() {
            let (name, found, scores) = (*name, values.len(), scores.len());
            if found != scores {
                return Err(ScoreFileError::Length { path: path.into(), name, found, scores });
            }
        }
        let ids = metadata.get("ids").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Ok(Self { ids, scores, predictions: predictions.map(|(_, p)| p), labels: labels.map(|(_, l)| l) })
    }

    fn from_csv(path: &Path, text: &str) -> Result<Self, ScoreFileError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let names: Vec<&str> =
            lines.next().map(|(_, line)| line.split(',').map(str::trim).collect()).unwrap_or_default();
        let column = |wanted: &str| names.iter().position(|name| *name == wanted);
        let Some(score) = column("conf").or_else(|| column("score")) else {
            return Err(ScoreFileError::NoScores { path: path.into(), what: "column", found: names.join(", ") });
        };
        let (id, prediction, label) = (column("id"), column("pred"), column("label"));
        let mut table = Self::default();
        for (index, line) in lines {
            let cells = split_csv(line);
            let cell = |column: usize| cells.get(column).map_or("", |cell| cell.trim());
            let bad = |column: usize| ScoreFileError::Cell {
                path: path.into(),
                line: index + 1,
                column: names[column].into(),
                text: cell(column).into(),
            };
            table.scores.push(cell(score).parse().map_err(|_| bad(score))?);
            for (column, values) in [(prediction, &mut table.predictions), (label, &mut table.labels)] {
                if let Some(column) = column {
                    let value = cell(column).parse().map_err(|_| bad(column))?;
                    values.get_or_insert_default().push(value);
                }
            }
            if let Some(column) = id {
                table.ids.push(cell(column).into());
            }
        }
        Ok(table)
    }

    /// Writes a score file of the kind its name says.
    pub fn write(&self, path: &Path) -> Result<(), ScoreFileError> {
        match extension(path).as_str() {
            "csv" => Ok(write_atomically(path, |out| self.write_csv(out))?),
            "npz" => Ok(write_atomically(path, |out| self.write_npz(out))?),
            "safetensors" => {
                let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
                tensors.insert("conf".into(), Array1::from(self.scores.clone()).into());
                for (name, values) in self.integers() {
                    tensors.insert(name.into(), Array1::from(values.clone()).into());
                }
                let ids = serde_json::json!(self.ids).to_string();
                let metadata = BTreeMap::from([("ids".to_owned(), ids)]);
                Ok(TensorFile { tensors, metadata }.write(path)?)
            }
            _ => Err(ScoreFileError::Format { path: path.into() }),
        }
    }

    fn integers(&self) -> impl Iterator<Item = (&'static str, &Vec<i64>)> {
        [("pred", &self.predictions), ("label", &self.labels)]
            .into_iter()
            .filter_map(|(name, values)| values.as_ref().map(|values| (name, values)))
    }

    fn write_csv(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut header = if self.ids.is_empty() { "conf".to_owned() } else { "id,conf".to_owned() };
        for (name, _) in self.integers() {
            header = format!("{header},{name}");
        }
        writeln!(out, "{header}")?;
        for (row, score) in self.scores.iter().enumerate() {
            if let Some(id) = self.ids.get(row) {
                write!(out, "{},", quote_csv(id))?;
            }
            write!(out, "{score}")?;
            self.integers().try_for_each(|(_, values)| write!(out, ",{}", values[row]))?;
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_npz(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut columns = vec![("conf", Tensor::from(Array1::from(self.scores.clone())))];
        columns.extend(self.integers().map(|(name, values)| (name, Tensor::from(Array1::from(values.clone())))));
        numpy::archive(out, columns.iter().map(|(name, column)| (*name, column)))
    }

    /// Share of rows whose label is a known class and whose prediction is that label.
    pub fn accuracy(&self) -> Option<f64> {
        let (predictions, labels) = (self.predictions.as_ref()?, self.labels.as_ref()?);
        let known: Vec<_> = labels.iter().zip(predictions).filter(|(label, _)| **label >= 0).collect();
        let right = known.iter().filter(|(label, prediction)| label == prediction).count();
        (!known.is_empty()).then(|| right as f64 / known.len() as f64)
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn quote_csv(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// The cells of a line; a quoted cell may hold commas and doubled quotes.
fn split_csv(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            _ => cell.push(character),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_back_what_was_written() {
        let table = ScoreTable {
            ids: vec!["a,\"b\"".into(), "c".into()],
            scores: vec![0.1 + 0.2, -1e-300],
            predictions: Some(vec![3, 0]),
            labels: Some(vec![-1, 0]),
        };
        let folder = tempfile::tempdir().unwrap();
        for name in ["s.csv", "s.safetensors", "s.npz"] {
            let path = folder.path().join(name);
            table.write(&path).unwrap();
            let mut read = ScoreTable::read(&path).unwrap();
            if name == "s.npz" {
                assert!(read.ids.is_empty(), "an npz has no place for text");
                read.ids.clone_from(&table.ids);
            }
            assert_eq!(read, table, "{name}");
        }
        assert_eq!(table.accuracy(), Some(1.0));
    }

    #[test]
    fn a_bad_cell_and_a_missing_column_are_named() {
        let path = Path::new("x.csv");
        let error = ScoreTable::from_csv(path, "id,score\na,1\nb,?\n").unwrap_err().to_string();
        assert_eq!(error, "x.csv, line 3: \"?\" is not a number (column score)");
        let error = ScoreTable::from_csv(path, "a,b\n1,2\n").unwrap_err().to_string();
        assert_eq!(error, "x.csv: no `conf` (or `score`) column; found: a, b");
    }
}
