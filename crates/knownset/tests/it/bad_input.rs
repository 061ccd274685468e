//! What must be refused: exit status 2, nothing on stdout, a message that names the thing and what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knownset_core::{Features, Filter, Origin, Preprocess, Resize};
use knownset_nn::{HostTensor, Weights};
use ndarray::{Array1, s};

use crate::util::{Ran, feature_file, features, image_folder, picture, run, text, weights};

fn extract(folder: &Path, weights: &Path, data: &str) -> Ran {
    let out = folder.join("out.safetensors");
    let args =
        ["extract", "--backbone", "cifar-resnet20", "--weights", text(weights), "--data", data, "--out", text(&out)];
    let ran = run(folder, &args);
    assert!(!out.exists() || ran.code == 0, "a refused extraction leaves no file");
    ran
}

fn tensors(path: &Path) -> BTreeMap<String, HostTensor> {
    Weights::open(path).unwrap().iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

#[test]
fn weights_that_do_not_fit_are_refused_tensor_by_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let good = tensors(&weights(folder.path(), 1));
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    let broken = |name: &str, change: &dyn Fn(&mut BTreeMap<String, HostTensor>)| -> PathBuf {
        let mut tensors = good.clone();
        change(&mut tensors);
        let path = folder.path().join(name);
        Weights::from_tensors(tensors).save(&path).unwrap();
        path
    };
    let missing = broken("missing.safetensors", &|tensors| {
        tensors.remove("layer1.0.conv1.weight").unwrap();
    });
    extract(folder.path(), &missing, &data).refused(&["missing.safetensors", "missing (1): layer1.0.conv1.weight"]);
    let extra = broken("extra.safetensors", &|tensors| {
        tensors.insert("layer9.weight".into(), HostTensor { shape: vec![1], values: vec![0.0] });
    });
    extract(folder.path(), &extra, &data).refused(&["extra.safetensors", "unexpected (1): layer9.weight"]);
    let shape = broken("shape.safetensors", &|tensors| {
        tensors.insert("bn1.weight".into(), HostTensor { shape: vec![5], values: vec![0.0; 5] });
    });
    extract(folder.path(), &shape, &data).refused(&["shape.safetensors", "bn1.weight (wants [16], has [5])"]);
}

/// A pickle that would call `os.system`; it creates no file because nothing in it is run.
#[test]
fn a_malicious_pickle_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("it-ran");
    // Protocol 2, global os.system, a string, a tuple of it, REDUCE, STOP, in the zip layout of torch.save.
    let command = format!("touch {}", text(&proof));
    let mut bytes = vec![0x80, 2];
    bytes.extend(b"cos\nsystem\nX");
    bytes.extend((command.len() as u32).to_le_bytes());
    bytes.extend(command.as_bytes());
    bytes.extend(b"\x85R.");
    let path = folder.path().join("evil.pth");
    let mut archive = zip::ZipWriter::new(fs_err::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", options).unwrap();
    std::io::Write::write_all(&mut archive, &bytes).unwrap();
    archive.finish().unwrap();
    let data = format!("folder:{}", text(&image_folder(folder.path(), "images", 1)));
    extract(folder.path(), &path, &data).refused(&["evil.pth", "os.system"]);
    assert!(!proof.exists(), "the pickle was executed");
}

#[test]
fn datasets_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 1);
    let empty = folder.path().join("empty");
    fs_err::create_dir_all(&empty).unwrap();
    let path = |path: &Path| format!("folder:{}", text(path));
    extract(folder.path(), &weights, &path(&empty)).refused(&["empty", "no images"]);
    extract(folder.path(), &weights, "foldr:x").refused(&["unknown dataset scheme `foldr:`", "folder:PATH"]);
    let nowhere = folder.path().join("nowhere");
    extract(folder.path(), &weights, &path(&nowhere)).refused(&["nowhere"]);

    // A PNG whose header claims 65,500 pixels a side, alone in its folder: refused before any pixel is made.
    let huge = folder.path().join("huge");
    fs_err::create_dir_all(&huge).unwrap();
    let real = huge.join("real.png");
    picture(1, 8).save(&real).unwrap();
    let mut bytes = fs_err::read(&real).unwrap();
    bytes[16..20].copy_from_slice(&65_500_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&65_500_u32.to_be_bytes());
    fs_err::write(&real, bytes).unwrap();
    extract(folder.path(), &weights, &path(&huge)).refused(&["real.png", "none of the 1 images could be read"]);
}

#[test]
fn a_zip_bomb_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = weights(folder.path(), 1);
    let path = folder.path().join("bomb.zip");
    let mut archive = zip::ZipWriter::new(fs_err::File::create(&path).unwrap());
    archive.start_file("a/0.png", zip::write::SimpleFileOptions::default()).unwrap();
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..300 {
        std::io::Write::write_all(&mut archive, &zeros).unwrap();
    }
    archive.finish().unwrap();
    extract(folder.path(), &weights, &format!("zip:{}", text(&path))).refused(&["bomb.zip", "a/0.png"]);
}

fn bench(folder: &Path, train: &Features, id: &Features) -> Ran {
    let train = feature_file(folder, "train", train);
    let id = feature_file(folder, "id", id);
    let ood = format!("far={}", text(&id));
    run(folder, &["bench", "--train", text(&train), "--id", text(&id), "--ood", &ood, "--detectors", "mds,openmax"])
}

#[test]
fn features_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = features(1, 60, 0.0);
    let path = folder.join("nan.npz");
    let mut values = good.embedding.clone().unwrap();
    values[[7, 2]] = f32::NAN;
    npz(&path, &values);
    let detector = folder.join("d.safetensors");
    let train = feature_file(folder, "train", &good);
    let fit = |name: &str, train: &Path| {
        run(folder, &["fit", "--detector", name, "--train", text(train), "--out", text(&detector)])
    };
    fit("mds", &path).refused(&["nan.npz", "NaN in row 7", "column 2"]);
    fit("mahalanobi", &train).refused(&["there is no detector `mahalanobi`", "mds"]);
    fit("knn:k=0", &train).refused(&["knn", "`k`"]);
    fit("mds,knn", &train).refused(&["`fit` takes one detector"]);

    // Another width than the detector was fitted on.
    assert_eq!(fit("mds", &train).code, 0);
    let mut narrow = features(2, 10, 0.0);
    narrow.embedding = narrow.embedding.map(|array| array.slice(s![.., ..5]).to_owned());
    narrow.head = None;
    let narrow = feature_file(folder, "narrow", &narrow);
    let score = |features: &Path| run(folder, &["score", "--detector", text(&detector), "--features", text(features)]);
    score(&narrow).refused(&["`embedding` has 5 columns", "fitted on 8"]);
    let lost = folder.join("lost.safetensors");
    score(&lost).refused(&["lost.safetensors"]);
    run(folder, &["score", "--detector", text(&train), "--features", text(&train)]).refused(&["not a detector file"]);
}

#[test]
fn a_detector_is_not_used_with_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let origin = |backbone: &str, weights: &str| Origin {
        backbone: backbone.into(),
        weights_sha256: weights.into(),
        preprocess: Preprocess {
            resize: Resize::Exact { size: 32, filter: Filter::Bilinear },
            size: 32,
            mean: [0.5; 3],
            std: [0.5; 3],
        },
        weights: None,
        head: None,
    };
    let with =
        |backbone: &str, weights: &str| Features { origin: Some(origin(backbone, weights)), ..features(1, 60, 0.0) };
    let train = feature_file(folder, "train", &with("resnet18", "aa"));
    let other = feature_file(folder, "other", &with("resnet34", "aa"));
    let retrained = feature_file(folder, "retrained", &with("resnet18", "bb"));
    let detector = folder.join("d.safetensors");
    assert_eq!(run(folder, &["fit", "--detector", "mds", "--train", text(&train), "--out", text(&detector)]).code, 0);
    let score = |features: &Path| run(folder, &["score", "--detector", text(&detector), "--features", text(features)]);
    score(&other).refused(&["backbone differs", "resnet18", "resnet34"]);
    score(&retrained).refused(&["weights differs", "aa", "bb"]);
    assert_eq!(score(&train).code, 0);
}

#[test]
fn a_class_with_one_image_is_named_by_the_detector_that_needs_more() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut train = features(1, 61, 0.0);
    let labels = Array1::from_shape_fn(61, |row| if row == 60 { 2 } else { (row % 2) as i64 });
    let rows: Vec<usize> = (0..61).map(|row| if row == 60 { 2 } else { row - row % 3 + row % 2 }).collect();
    train = train.select(&rows);
    train.labels = Some(labels);
    let path = feature_file(folder, "train", &train);
    let detector = folder.join("d.safetensors");
    let fit = |name: &str| run(folder, &["fit", "--detector", name, "--train", text(&path), "--out", text(&detector)]);
    fit("openmax").refused(&["openmax", "class 2 (cow)", "1 correctly classified"]);
    assert_eq!(fit("mds").code, 0, "Mahalanobis shares one covariance and can do with one image");
    let both = bench(folder, &train, &features(2, 30, 0.0));
    assert_eq!(both.code, 0, "{}", both.stderr);
    assert!(both.stdout.contains("skipped openmax: class 2 (cow)"), "{}", both.stdout);
}

#[test]
fn a_calibration_that_promises_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = feature_file(folder, "train", &features(1, 60, 0.0));
    let few = feature_file(folder, "few", &features(2, 18, 0.0));
    let detector = folder.join("d.safetensors");
    assert_eq!(run(folder, &["fit", "--detector", "msp", "--train", text(&train), "--out", text(&detector)]).code, 0);
    let calibrate = |alpha: &str| {
        run(
            folder,
            &[
                "calibrate",
                "--detector",
                text(&detector),
                "--id",
                text(&few),
                "--alpha",
                alpha,
                "--out",
                text(&detector),
            ],
        )
    };
    calibrate("0.05").refused(&["18 calibration images", "at least 19 are needed"]);
    calibrate("1.5").refused(&["alpha must be between 0 and 1"]);
}

/// An npz with one array, `embedding`.
fn npz(path: &Path, values: &ndarray::Array2<f32>) {
    use npyz::WriterBuilder;
    let mut bytes = Vec::new();
    let shape = [values.nrows() as u64, values.ncols() as u64];
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    let mut archive = zip::ZipWriter::new(fs_err::File::create(path).unwrap());
    archive.start_file("embedding.npy", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut archive, &bytes).unwrap();
    archive.finish().unwrap();
}
