//! Released weights on real photographs: the figures an independent computation gives.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::util::{run, shared_data, text};

/// The figures of one detector on one set.
type Figures = BTreeMap<(String, String), Value>;

fn figures(results: &Value) -> Figures {
    let rows = results["results"].as_array().unwrap().iter();
    rows.map(|row| ((row["detector"].to_string(), row["ood"].to_string()), row.clone())).collect()
}

#[test]
fn resnet20_on_cifar10_gives_the_expected_figures() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let expected: Value =
        serde_json::from_str(&fs_err::read_to_string(data.join("expected/resnet20-cifar10.json")).unwrap()).unwrap();
    let cifar = path("cifar10-lossless.zip");
    let (train, id) = (format!("zip:{cifar}#train"), format!("zip:{cifar}#test"));
    let sets = ["tiny-imagenet", "caltech101", "scenes", "textures", "mnist", "fashion-mnist"];
    let ood: Vec<String> = sets.iter().map(|set| format!("{set}=zip:{}", path(&format!("ood32/{set}.zip")))).collect();
    let bench = |weights: &str| {
        let weights = path(&format!("weights/{weights}"));
        let mut args = vec!["bench", "--backbone", "cifar-resnet20", "--weights", &weights];
        args.extend(["--train", &train, "--id", &id, "--json", "--quiet"]);
        args.extend(ood.iter().flat_map(|set| ["--ood", set.as_str()]));
        run(folder.path(), &args).json()
    };
    let results = bench("cifar10-resnet20.th");
    assert_eq!(results["id"]["accuracy"], 0.915);
    assert_eq!(results["id"]["n"], 1000);
    let found = figures(&results);
    for (key, expected) in figures(&expected) {
        let found = &found[&key];
        let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
        for name in ["auroc", "aupr_in", "aupr_out"] {
            let difference = (number(found, name) - number(&expected, name)).abs();
            assert!(difference <= 1e-4, "{key:?}: {name} differs by {difference}");
        }
        for (name, images) in [("fpr95", number(&expected, "n")), ("fpr95_ood_positive", 1000.0)] {
            let difference = (number(found, name) - number(&expected, name)).abs() * images;
            assert!(difference < 2.5, "{key:?}: {name} differs by {difference} images");
        }
    }
    // The same tensors in the other format are the same network: the cache is reused and every figure agrees.
    assert_eq!(bench("cifar10-resnet20.safetensors")["results"], results["results"]);

    // From feature files, the same numbers as from images.
    let features = |name: &str, reference: &str| {
        let out = folder.path().join(format!("{name}.safetensors"));
        let weights = path("weights/cifar10-resnet20.th");
        let args = ["extract", "--backbone", "cifar-resnet20", "--weights", &weights, "--data", reference];
        assert_eq!(run(folder.path(), &[&args[..], &["--out", text(&out)]].concat()).code, 0);
        text(&out).to_owned()
    };
    let textures = format!("textures={}", features("textures", &format!("zip:{}", path("ood32/textures.zip"))));
    let (train, id) = (features("train", &train), features("id", &id));
    let from_files =
        run(folder.path(), &["bench", "--train", &train, "--id", &id, "--ood", &textures, "--json"]).json();
    for (key, row) in figures(&from_files) {
        assert_eq!(row, found[&key]);
    }
}

/// The six released networks of outlier exposure's MNIST experiment: their published test errors, and the AUROC of the
/// maximum softmax probability against Fashion-MNIST as PyTorch and SciPy compute it. One file, chosen by prefix.
#[test]
fn mnist_networks_make_the_published_errors_and_outlier_exposure_helps() {
    let Some(data) = shared_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let images =
        |name: &str| format!("mnist:{}", data.join(format!("mnist/{name}-t10k-images-idx3-ubyte.gz")).display());
    let (mnist, fashion) = (images("mnist"), format!("fashion={}", images("fashion")));
    for (network, errors, auroc) in [
        ("baseline_epoch_9", 94.0, 0.993_005),
        ("calib_baseline_epoch_9", 96.0, 0.992_407),
        ("oe_tune_epoch_4", 92.0, 0.999_002),
        ("calib_oe_tune_epoch_4", 94.0, 0.999_077),
        ("oe_scratch_epoch_9", 103.0, 0.999_172),
        ("calib_oe_scratch_epoch_9", 117.0, 0.998_895),
    ] {
        let weights = data.join(format!("weights/mnist-oe-convnet.safetensors#{network}"));
        let mut args = vec!["bench", "--backbone", "mnist-convnet", "--weights", text(&weights), "--detectors", "msp"];
        args.extend(["--train", &mnist, "--id", &mnist, "--ood", &fashion, "--json", "--quiet"]);
        let results = run(folder.path(), &args).json();
        let accuracy = results["id"]["accuracy"].as_f64().unwrap();
        assert_eq!((1e4 * (1.0 - accuracy)).round(), errors, "{network}");
        let found = results["results"][0]["auroc"].as_f64().unwrap();
        assert!((found - auroc).abs() < 2e-6, "{network}: {found}");
    }
}
