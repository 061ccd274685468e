//! Feature files: [`Features`] as `.safetensors` or `.npz`.
//!
//! Arrays read: `embedding` [n,d], `patches` [n,P,d], `logits` [n,K], `rotations` [n,4,4], `labels` [n], `head.weight`
//! [K,d], `head.bias` [K], and of any name `prompts.NAME` [rows,d] and `parts.NAME` [rows,columns]. Others are ignored,
//! and named so that a caller can say so. A safetensors header may also hold `ids` (a JSON list) and `knownset` (origin,
//! class names, source), which NumPy files lack.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array1, Array2, Dimension};
use serde::{Deserialize, Serialize};

use crate::features::{Features, FeaturesError, Head, Origin};
use crate::tensor_file::{Tensor, TensorFile, TensorFileError};

/// A feature file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureFileError {
    /// The file as such is unreadable.
    #[error(transparent)]
    File(#[from] TensorFileError),
    /// An array of the wrong rank or element type.
    #[error("{path}: {name} should be {expected} but is {found}")]
    Array {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// Rank and type it should have.
        expected: &'static str,
        /// Its shape and type.
        found: String,
    },
    /// One of `head.weight`, `head.bias` without the other.
    #[error("{path}: {present} is there but {absent} is not")]
    HalfHead {
        /// The file.
        path: PathBuf,
        /// The half that is there.
        present: &'static str,
        /// The half that is not.
        absent: &'static str,
    },
    /// Header strings that are not what this project writes.
    #[error("{path}: bad header entry `{key}`")]
    Header {
        /// The file.
        path: PathBuf,
        /// The header key.
        key: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Arrays that contradict one another.
    #[error("{path}: {source}")]
    Features {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FeaturesError,
    },
}

/// Prefix of the arrays of text features.
const PROMPTS: &str = "prompts.";
/// Prefix of the arrays that a recipe trained.
const PARTS: &str = "parts.";

/// The header entry `knownset`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Header {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class_names: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Reads and checks a feature file; also returns the names of arrays it ignored.
pub fn read_features(path: &Path) -> Result<(Features, Vec<String>), FeatureFileError> {
    let TensorFile { mut tensors, metadata } = TensorFile::read(path)?;
    let parse = |key: &'static str, source| FeatureFileError::Header { path: path.into(), key, source };
    let ids = match metadata.get("ids") {
        Some(text) => serde_json::from_str(text).map_err(|error| parse("ids", error))?,
        None => Vec::new(),
    };
    let header: Header = match metadata.get("knownset") {
        Some(text) => serde_json::from_str(text).map_err(|error| parse("knownset", error))?,
        None => Header::default(),
    };
    let mut floats = |name| tensors.remove(name).map(|tensor| as_f32(path, name, tensor)).transpose();
    let embedding = floats("embedding")?;
    let logits = floats("logits")?;
    let weight = floats("head.weight")?;
    let patches = tensors.remove("patches").map(|tensor| as_f32(path, "patches", tensor)).transpose()?;
    let rotations = tensors.remove("rotations").map(|tensor| as_f32(path, "rotations", tensor)).transpose()?;
    let prompts = take_named(path, PROMPTS, &mut tensors)?;
    let parts = take_named(path, PARTS, &mut tensors)?;
    let bias = tensors.remove("head.bias").map(|tensor| as_f32(path, "head.bias", tensor)).transpose()?;
    let labels = tensors.remove("labels").map(|tensor| as_i64(path, tensor)).transpose()?;
    let half = |present, absent| FeatureFileError::HalfHead { path: path.into(), present, absent };
    let head = match (weight, bias) {
        (Some(weight), Some(bias)) => Some(Head { weight, bias }),
        (None, None) => None,
        (Some(_), None) => return Err(half("head.weight", "head.bias")),
        (None, Some(_)) => return Err(half("head.bias", "head.weight")),
    };
    let features = Features {
        ids,
        labels,
        logits,
        embedding,
        patches,
        head,
        prompts,
        parts,
        rotations,
        class_names: header.class_names,
        origin: header.origin,
        source: header.source,
    };
    features.check().map_err(|source| FeatureFileError::Features { path: path.into(), source })?;
    Ok((features, tensors.into_keys().collect()))
}

/// Writes features as `.safetensors`.
pub fn write_features(path: &Path, features: &Features) -> Result<(), FeatureFileError> {
    features.check().map_err(|source| FeatureFileError::Features { path: path.into(), source })?;
    let mut file = TensorFile::default();
    let mut put = |name: &str, tensor: Option<Tensor>| {
        tensor.map(|tensor| file.tensors.insert(name.into(), tensor));
    };
    put("embedding", features.embedding.clone().map(Into::into));
    put("patches", features.patches.clone().map(Into::into));
    put("rotations", features.rotations.clone().map(Into::into));
    put("logits", features.logits.clone().map(Into::into));
    put("labels", features.labels.clone().map(Into::into));
    put("head.weight", features.head.as_ref().map(|head| head.weight.clone().into()));
    put("head.bias", features.head.as_ref().map(|head| head.bias.clone().into()));
    for (prefix, arrays) in [(PROMPTS, &features.prompts), (PARTS, &features.parts)] {
        for (name, array) in arrays {
            put(&format!("{prefix}{name}"), Some(array.clone().into()));
        }
    }
    if !features.ids.is_empty() {
        file.metadata.insert("ids".into(), serde_json::json!(features.ids).to_string());
    }
    let header = Header {
        version: 1,
        origin: features.origin.clone(),
        class_names: features.class_names.clone(),
        source: features.source.clone(),
    };
    let header = serde_json::to_string(&header);
    file.metadata.insert(
        "knownset".into(),
        header.map_err(|source| FeatureFileError::Header { path: path.into(), key: "knownset", source })?,
    );
    Ok(file.write(path)?)
}

/// Every array of that prefix, by the name behind it.
fn take_named(
    path: &Path,
    prefix: &str,
    tensors: &mut BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Array2<f32>>, FeatureFileError> {
    let mut named = BTreeMap::new();
    for (key, tensor) in std::mem::take(tensors) {
        match key.strip_prefix(prefix) {
            Some(name) if !name.is_empty() => {
                named.insert(name.to_owned(), as_f32(path, &key, tensor)?);
            }
            _ => drop(tensors.insert(key, tensor)),
        }
    }
    Ok(named)
}

fn wrong(path: &Path, name: &str, expected: &'static str, tensor: &Tensor) -> FeatureFileError {
    let kind = match tensor {
        Tensor::F32(_) => "f32",
        Tensor::F64(_) => "f64",
        Tensor::I64(_) => "integer",
    };
    FeatureFileError::Array {
        path: path.into(),
        name: name.into(),
        expected,
        found: format!("{kind} {:?}", tensor.shape()),
    }
}

fn as_f32<D: Dimension>(path: &Path, name: &str, tensor: Tensor) -> Result<Array<f32, D>, FeatureFileError> {
    let expected = match D::NDIM {
        Some(1) => "floats [K]",
        Some(3) => "floats with three dimensions",
        _ => "floats with two dimensions",
    };
    let error = wrong(path, name, expected, &tensor);
    let array = match tensor {
        Tensor::F32(array) => array,
        Tensor::F64(array) => array.mapv(|value| value as f32),
        Tensor::I64(_) => return Err(error),
    };
    array.into_dimensionality().map_err(|_| error)
}

fn as_i64(path: &Path, tensor: Tensor) -> Result<Array1<i64>, FeatureFileError> {
    let error = wrong(path, "labels", "integers [n]", &tensor);
    match tensor {
        Tensor::I64(array) => array.into_dimensionality().map_err(|_| error),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ndarray::{Array3, array};

    use super::*;
    use crate::preprocess::{Filter, Preprocess, Resize};

    #[test]
    fn a_feature_file_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.safetensors");
        let features = Features {
            ids: vec!["dog/1.png".into(), "cat \"2\".png".into()],
            labels: Some(array![1, -1]),
            logits: Some(array![[0.5, 1.0], [2.0, -1.0]]),
            embedding: Some(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
            patches: Some(Array3::from_shape_fn((2, 2, 3), |(row, patch, d)| (row * 6 + patch * 3 + d) as f32)),
            head: Some(Head { weight: Array2::ones((2, 3)), bias: array![0.0, 1.0] }),
            prompts: BTreeMap::from([
                ("classes".into(), array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
                ("negatives".into(), Array2::zeros((0, 3))),
                ("a.b c".into(), array![[0.5, 0.5, 0.5]]),
            ]),
            parts: BTreeMap::from([("second.weight".into(), Array2::ones((2, 3))), ("groups".into(), array![[2.0]])]),
            rotations: Some(Array3::from_shape_fn((2, 4, 4), |(row, turn, class)| {
                (row * 16 + turn * 4 + class) as f32
            })),
            class_names: Some(vec!["cat".into(), "dog".into()]),
            origin: Some(Origin {
                backbone: "b".into(),
                weights_sha256: "00".into(),
                preprocess: Preprocess {
                    resize: Resize::Shorter { size: 256, filter: Filter::Bicubic },
                    size: 224,
                    mean: Preprocess::IMAGENET_MEAN,
                    std: Preprocess::IMAGENET_STD,
                },
                weights: None,
                head: None,
            }),
            source: Some("folder:x".into()),
        };
        write_features(&path, &features).unwrap();
        let first = fs_err::read(&path).unwrap();
        assert_eq!(read_features(&path).unwrap(), (features.clone(), vec![]));
        write_features(&path, &features).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), first);
    }

    /// An npz of f32 arrays, given as (name, shape, values).
    fn npz(path: &Path, arrays: &[(&str, &[u64], &[f32])]) {
        use npyz::WriterBuilder;
        let mut zip = zip::ZipWriter::new(fs_err::File::create(path).unwrap());
        for (name, shape, values) in arrays {
            let mut bytes = Vec::new();
            let options = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
            let mut writer = options.begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
            zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn an_npz_is_read_and_unknown_arrays_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.npz");
        npz(
            &path,
            &[("logits", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), ("extra", &[1], &[0.0]), ("parts.tau", &[1, 1], &[0.1])],
        );
        let (features, ignored) = read_features(&path).unwrap();
        assert_eq!(features.logits, Some(array![[1.0, 2.0], [3.0, 4.0]]));
        assert_eq!(features.parts["tau"], array![[0.1]]);
        assert_eq!(ignored, ["extra"]);
    }

    #[test]
    fn a_known_set_in_words_is_read_from_either_format() {
        let folder = tempfile::tempdir().unwrap();
        let (numpy, safe) = (folder.path().join("f.npz"), folder.path().join("f.safetensors"));
        npz(&numpy, &[("prompts.classes", &[1, 2], &[1.0, 2.0]), ("prompts.", &[1, 2], &[0.0, 0.0])]);
        let (words, ignored) = read_features(&numpy).unwrap();
        assert_eq!(words.prompts["classes"], array![[1.0, 2.0]]);
        assert_eq!(ignored, ["prompts."]);
        write_features(&safe, &words).unwrap();
        assert_eq!(read_features(&safe).unwrap(), (words, vec![]));
    }

    #[test]
    fn wrong_shapes_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.npz");
        npz(&path, &[("prompts.agents", &[4], &[1.0, 2.0, 3.0, 4.0])]);
        let error = read_features(&path).unwrap_err().to_string();
        assert!(error.ends_with("prompts.agents should be floats with two dimensions but is f32 [4]"), "{error}");
        npz(&path, &[("logits", &[1, 1], &[1.0]), ("patches", &[1, 2], &[1.0, 2.0])]);
        let error = read_features(&path).unwrap_err().to_string();
        assert!(error.ends_with("patches should be floats with three dimensions but is f32 [1, 2]"), "{error}");
        npz(&path, &[("logits", &[4], &[1.0, 2.0, 3.0, 4.0])]);
        let error = read_features(&path).unwrap_err().to_string();
        assert!(error.ends_with("logits should be floats with two dimensions but is f32 [4]"), "{error}");
        npz(&path, &[("embedding", &[1, 1], &[1.0]), ("head.bias", &[1], &[0.0])]);
        let error = read_features(&path).unwrap_err().to_string();
        assert!(error.ends_with("head.bias is there but head.weight is not"), "{error}");
    }
}
